"""Values of params: of a spec, and of each call of a block."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from archgraph.errors import Problem, suggest
from archgraph.expression import ExpressionError, evaluate_node, parse
from archgraph.numbers import as_number, format_number, is_finite
from archgraph.ops import catalogue
from archgraph.ops.arguments import bind
from archgraph.ops.op import Op
from archgraph.spec.document import Document
from archgraph.spec.template import REQUIRED
from archgraph.spec.tree import Scalar

__all__ = ["choose", "named_op", "param_texts", "param_values"]

Find = Callable[[str], Any]


def param_values(
    document: Document,
    path: tuple[str | int, ...],
    declared: Mapping[str, Any],
    given: Mapping[str, Any],
    outer: Mapping[str, Any],
    find: Find,
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the values of params, each an expression of outer and of earlier ones.

    Args:
        document: Where they stand.
        path: Where in it.
        declared: Their defaults.
        given: Values from outside that replace defaults; a string is an expression.
        outer: Numbers that they may use.
        find: Returns the op or block of a name, or None.

    Returns:
        The values, and every problem found.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, default in declared.items():
        raw = given.get(name, default)
        try:
            values[name] = _value(raw, {**outer, **values}, find)
        except ExpressionError as error:
            tree = document.tree((*path, name))
            own = isinstance(tree, Scalar) and name not in given
            mark = tree.at(error.offset, error.length) if own else tree.mark  # type: ignore[union-attr]
            text = error.message.replace("there is no '", "there is no param '")
            text = text if name not in given else f"{name}={raw}: {text}"
            why = "a param reads only the params above it" if error.code == "unknown-name" else None
            problems.append(Problem(error.code, text, mark, why=why, help=error.help))
            # Something that lets its readers go on, so that one mistake is told once.
            values[name] = find("Identity") if str(raw)[:1].isupper() else 1
    return values, problems


def _value(raw: Any, earlier: Mapping[str, Any], find: Find) -> Any:
    if isinstance(raw, list):
        return [_value(item, earlier, find) for item in raw]
    if not isinstance(raw, str):
        number = raw if isinstance(raw, bool) else as_number(raw)
        if number is None:
            raise ExpressionError("a param is a number, a list, an op or an expression")
        if not is_finite(number):
            raise ExpressionError(f"a param is a finite number, not {format_number(number)}")
        return number
    node = choose(parse(raw), earlier)
    found = named_op(node, earlier, find)
    return evaluate_node(node, earlier) if found is None else found


def named_op(node: ast.expr, numbers: Mapping[str, Any], find: Find) -> Any:
    """Return the op or block that an expression names, or the call of an op: `LeakyReLU(0.1)`.

    Returns None for an expression that is no op.

    Raises:
        ExpressionError: the op does not take these arguments.
    """
    name = node.func if isinstance(node, ast.Call) else node
    if not isinstance(name, ast.Name) or name.id in numbers:
        return None
    found = find(name.id)
    if found is None and name.id[:1].isupper():
        close = suggest(name.id, [*numbers, *catalogue.names()])
        hint = f"did you mean '{close}'?" if close else None
        message = f"there is no op or param '{name.id}'"
        raise ExpressionError.at(name, message, help=hint, code="unknown-op")
    if not isinstance(node, ast.Call):
        return found
    if not isinstance(found, Op):
        return None
    keywords = {k.arg: evaluate_node(k.value, numbers) for k in node.keywords if k.arg is not None}
    call, problems = bind(found, [evaluate_node(a, numbers) for a in node.args], keywords)
    if problems:
        (first, *_) = problems
        raise ExpressionError.at(node, first.message, help=first.help, code=first.code)
    return call


def param_texts(declared: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the text of each param that has a value, as an expression."""
    return [(name, _text(raw)) for name, raw in declared.items() if raw != REQUIRED]


def _text(raw: Any) -> str:
    if isinstance(raw, list):
        return f"[{', '.join(map(_text, raw))}]"
    return str(raw)


def choose(node: ast.expr, numbers: Mapping[str, Any]) -> ast.expr:
    """Return the arm of `a if condition else b` that holds, so that an op can be chosen."""
    while isinstance(node, ast.IfExp):
        node = node.body if evaluate_node(node.test, numbers) else node.orelse
    return node
