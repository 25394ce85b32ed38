"""Products and sums of symbols: the little algebra that equations are written in.

Factors do not commute (they are Jacobians), so only a common *left* factor is ever taken out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from archgraph.numbers import Number
from archgraph.paths.notation import Written, write_number

__all__ = [
    "ONE",
    "Atom",
    "Expression",
    "Literal",
    "Product",
    "Sum",
    "add",
    "atoms",
    "literal",
    "multiply",
    "write",
    "write_factors",
    "write_terms",
]


@dataclass(frozen=True, slots=True)
class Atom:
    """A symbol."""

    text: str
    latex: str
    meaning: str = field(default="", compare=False)
    """In words, where the symbol alone does not say it."""
    scalar: bool = field(default=False, compare=False)
    """Whether it is one number, so that alone in a sum of maps it multiplies the identity."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A number."""

    value: Number


@dataclass(frozen=True, slots=True)
class Product:
    """Factors from left to right; none at all is the identity."""

    factors: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """Terms in order, at least two."""

    terms: tuple[Expression, ...]


Expression: TypeAlias = Atom | Literal | Product | Sum
ONE: Final = Product(())


def literal(value: Number) -> Expression:
    """Return a number; one is the empty product."""
    return ONE if value == 1 else Literal(value)


def factors_of(expression: Expression) -> tuple[Expression, ...]:
    """Return the factors of a product, or the expression as the only one."""
    return expression.factors if isinstance(expression, Product) else (expression,)


def multiply(*expressions: Expression) -> Expression:
    """Return the product, flat and without ones."""
    factors = tuple(f for expression in expressions for f in factors_of(expression))
    return factors[0] if len(factors) == 1 else Product(factors)


def add(expressions: Sequence[Expression]) -> Expression:
    """Return the sum of at least one expression, common left factors taken out.

    Example:
        >>> w, v, x = Atom("w", "w"), Atom("v", "v"), Atom("x", "x")
        >>> write(add([multiply(w, v, x), multiply(w, x)])).text
        'w·(v·x + x)'
    """
    terms = [t for e in expressions for t in (e.terms if isinstance(e, Sum) else (e,))]
    if len(terms) == 1:
        return terms[0]
    split = [factors_of(term) for term in terms]
    shared = 0
    while all(len(factors) > shared for factors in split) and all(
        factors[shared] == split[0][shared] for factors in split
    ):
        shared += 1
    rest = Sum(tuple(multiply(*factors[shared:]) for factors in split))
    return multiply(*split[0][:shared], rest)


def atoms(expression: Expression) -> Iterator[Atom]:
    """Yield the symbols of an expression from left to right, as often as they occur."""
    match expression:
        case Atom():
            yield expression
        case Product(parts) | Sum(parts):
            for part in parts:
                yield from atoms(part)


def write(expression: Expression) -> Written:
    """Return an expression in text and in LaTeX."""
    sign, written = _signed(expression)
    return Written(("−" if sign else "") + written.text, ("-" if sign else "") + written.latex)


def write_terms(terms: Iterable[Expression]) -> list[tuple[str, Written]]:
    """Return each term with the sign that stands before it, `+` or `−`."""
    return [("−" if sign else "+", written) for sign, written in map(_signed, terms)]


def _signed(expression: Expression) -> tuple[bool, Written]:
    """Return (is negative, what to write behind the sign)."""
    match expression:
        case Atom(text, latex):
            return False, Written(text, latex)
        case Literal(value):
            return value < 0, write_number(-value if value < 0 else value)
        case Sum():
            return False, _write_sum(expression)
        case Product():
            return _write_product(expression)


def write_factors(expression: Expression) -> tuple[bool, list[Written]]:
    """Return whether a product is negative, and its factors; signs and ones are left out."""
    negative = False
    parts: list[Written] = []
    for factor in factors_of(expression):
        if isinstance(factor, Sum):
            inner = _write_sum(factor)
            parts.append(Written(f"({inner.text})", rf"\left({inner.latex}\right)"))
            continue
        sign, written = _signed(factor)
        negative ^= sign
        if not (isinstance(factor, Literal) and abs(factor.value) == 1):
            parts.append(written)
    return negative, parts


def _write_product(product: Product) -> tuple[bool, Written]:
    negative, parts = write_factors(product)
    if not parts:
        return negative, Written("1", "1")
    text, latex = "·".join(p.text for p in parts), r" \cdot ".join(p.latex for p in parts)
    return negative, Written(text, latex)


def _write_sum(total: Sum) -> Written:
    """Write a sum; among maps, a bare multiplier is that multiple of the identity."""
    mixed = not all(map(_is_scalar, total.terms))
    text = latex = ""
    for term in total.terms:
        sign, written = _signed(term)
        if mixed and _is_scalar(term):
            one = written.text == "1"
            written = (
                Written("I", "I") if one else Written(f"{written.text}I", f"{written.latex} I")
            )
        if text:
            text, latex = f"{text} {'−' if sign else '+'} ", f"{latex} {'-' if sign else '+'} "
        elif sign:
            text, latex = "−", "-"
        text, latex = text + written.text, latex + written.latex
    return Written(text, latex)


def _is_scalar(term: Expression) -> bool:
    match term:
        case Atom(scalar=scalar):
            return scalar
        case Product(parts) | Sum(parts):
            return all(map(_is_scalar, parts))
    return True
