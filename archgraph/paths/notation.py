"""How names and multipliers are written, in plain text and in LaTeX."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from archgraph.expression import ExpressionError, parse
from archgraph.graph import Graph, Node
from archgraph.numbers import Number, as_number, format_number

__all__ = ["Names", "Written", "write_expression", "write_name", "write_number"]

_LETTERS: Final = (
    "alpha:α beta:β gamma:γ delta:δ epsilon:ε zeta:ζ eta:η theta:θ iota:ι kappa:κ lambda:λ mu:μ "
    "nu:ν xi:ξ pi:π rho:ρ sigma:σ tau:τ phi:φ chi:χ psi:ψ omega:ω"
)
_GREEK: Final = dict(pair.split(":") for pair in _LETTERS.split()) | {"lam": "λ"}
_COMMAND: Final = {letter: f"\\{name}" for name, letter in _GREEK.items() if name != "lam"}
_TEXT_ESCAPES: Final = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    **{character: f"\\{character}" for character in "_{}$&%#"},
}
_SUBSCRIPTED: Final = re.compile(r"([A-Za-z]+)(?:(\d+)|_([A-Za-z0-9]+))?")
_SUPERSCRIPTS: Final = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Written:
    """The same thing twice: for a terminal and for a typesetter."""

    text: str
    latex: str


def _upright(word: str) -> str:
    """Return a word or a number as LaTeX: Greek by its command, one letter in italics."""
    if word in _GREEK:
        return _COMMAND[_GREEK[word]]
    return word if len(word) == 1 or word.isdigit() else rf"\mathrm{{{word}}}"


def _literal(name: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9.]+", name):
        return rf"\mathrm{{{name}}}"
    return r"\text{" + "".join(_TEXT_ESCAPES.get(c, c) for c in name) + "}"


def write_name(name: str) -> str:
    r"""Return a name in LaTeX: trailing digits become a subscript, special characters are escaped.

    Example:
        >>> write_name("x3"), write_name("relu"), write_name("alpha_t"), write_name("b.0.y~1")
        ('x_{3}', '\\mathrm{relu}', '\\alpha_{t}', '\\text{b.0.y\\textasciitilde{}1}')
    """
    match = _SUBSCRIPTED.fullmatch(name)
    if match is None:
        return _literal(name)
    below = match[2] or match[3]
    return _upright(match[1]) + (f"_{{{_upright(below)}}}" if below else "")


class Names:
    """How each node of a graph is written; two nodes that would look alike are spelt out."""

    def __init__(self, graph: Graph) -> None:
        self._nodes = graph.positions
        self._symbols = {n.name: n for n in graph.nodes if n.symbol}
        self._latex = {node.name: write_name(node.name) for node in graph.nodes}
        counts = Counter(self._latex.values())
        self._alike = {name for name, latex in self._latex.items() if counts[latex] > 1}

    def __call__(self, name: str) -> Written:
        """Return how the node or parameter `name` is written."""
        if name in self._symbols:
            return _write_symbol(self._symbols[name])
        if name in self._alike:
            return Written(name, _literal(name))
        layer, _, parameter = name.rpartition(".")
        if name not in self._nodes and layer in self._nodes and parameter in ("weight", "bias"):
            letter = "W" if parameter == "weight" else "b"
            return Written(name, f"{letter}_{{{self(layer).latex}}}")
        if name in self._latex:
            return Written(name, self._latex[name])
        return Written(_greek(name), write_name(name))


def _greek(name: str) -> str:
    """Return a name with its first word, if it is a Greek letter's, as that letter."""
    stem = re.match("[A-Za-z]+", name)
    letter = _GREEK.get(stem[0]) if stem else None
    return letter + name[len(stem[0]) :] if stem and letter else name


def _write_symbol(node: Node) -> Written:
    """Return a user's symbol: LaTeX as it stands if it can be, and readable text."""
    symbol = node.symbol or node.name
    balanced = symbol.count("{") == symbol.count("}") and not re.search(r"[$%#&]|\\\\", symbol)
    latex = symbol if balanced else _literal(symbol)
    if _SUBSCRIPTED.fullmatch(symbol):
        latex = write_name(symbol)
    text = re.sub(r"\\([a-z]+) ?", lambda m: _GREEK.get(m[1], m[0]), symbol)
    text = re.sub(r"[{}]", "", text)
    return Written(node.name if "\\" in text else text, latex)


def write_number(value: Number) -> Written:
    """Return a number as a person writes it: a fraction where decimals would not be exact.

    Example:
        >>> write_number(Fraction(1, 3)).text, write_number(Fraction(-1, 2)).text
        ('1/3', '−0.5')
    """
    sign = "−" if value < 0 else ""
    size = -value if value < 0 else value
    short = format_number(size)
    if isinstance(size, Fraction) and Fraction(short) != size and size.denominator < 1000:
        top, bottom = size.numerator, size.denominator
        return Written(f"{sign}{top}/{bottom}", rf"{sign and '-'}\tfrac{{{top}}}{{{bottom}}}")
    mantissa, _, exponent = short.partition("e")
    latex = rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa
    return Written(sign + short, (sign and "-") + latex)


_SUM, _PRODUCT, _POWER, _WHOLE = range(4)


def write_expression(text: str) -> Written | None:
    r"""Return a multiplier as the spec spells it, with Greek letters; a sum comes in brackets.

    Returns:
        None for an expression without a name, or with more in it than arithmetic; its number
        says more then.

    Example:
        >>> write_expression("1 - lam").text, write_expression("alpha**2").latex
        ('(1 − λ)', '\\alpha^{2}')
    """
    try:
        tree = parse(text)
    except ExpressionError:
        return None
    if not any(isinstance(node, ast.Name) for node in ast.walk(tree)):
        return None
    written = _write_tree(tree)
    if written is None:
        return None
    return _bracketed(written, _PRODUCT)


def _bracketed(part: tuple[Written, int], least: int) -> Written:
    written, level = part
    if level >= least:
        return written
    return Written(f"({written.text})", rf"\left({written.latex}\right)")


def _write_tree(node: ast.expr) -> tuple[Written, int] | None:
    match node:
        case ast.Name(id=name):
            return Written(_greek(name), write_name(name)), _WHOLE
        case ast.Constant(value=value) if (number := as_number(value)) is not None:
            return write_number(number), _WHOLE
        case ast.UnaryOp(op=ast.USub()):
            inner = _write_tree(node.operand)
            if inner is None:
                return None
            operand = _bracketed(inner, _PRODUCT)
            return Written(f"−{operand.text}", f"-{operand.latex}"), _SUM
        case ast.BinOp():
            left, right = _write_tree(node.left), _write_tree(node.right)
            return None if left is None or right is None else _write_binary(node.op, left, right)
    return None


def _write_binary(
    op: ast.operator, left: tuple[Written, int], right: tuple[Written, int]
) -> tuple[Written, int] | None:
    if isinstance(op, ast.Add | ast.Sub):
        a, b = left[0], _bracketed(right, _PRODUCT)
        sign, plain = ("+", "+") if isinstance(op, ast.Add) else ("−", "-")
        return Written(f"{a.text} {sign} {b.text}", f"{a.latex} {plain} {b.latex}"), _SUM
    if isinstance(op, ast.Mult):
        a, b = _bracketed(left, _PRODUCT), _bracketed(right, _POWER)
        return Written(f"{a.text}·{b.text}", rf"{a.latex} \cdot {b.latex}"), _PRODUCT
    if isinstance(op, ast.Div):
        a, b = _bracketed(left, _PRODUCT), _bracketed(right, _POWER)
        return Written(f"{a.text}/{b.text}", rf"\tfrac{{{left[0].latex}}}{{{right[0].latex}}}"), (
            _PRODUCT
        )
    if isinstance(op, ast.Pow):
        a, b = _bracketed(left, _WHOLE), right[0]
        raised = b.text.translate(_SUPERSCRIPTS) if b.text.isdigit() else f"^({b.text})"
        return Written(f"{a.text}{raised}", f"{a.latex}^{{{b.latex}}}"), _POWER
    return None
