"""Values of params: of a spec, and of each call of a block."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from archgraph.errors import Problem
from archgraph.expression import ExpressionError, as_number, evaluate_node, parse
from archgraph.spec.document import Document, Scalar
from archgraph.spec.template import REQUIRED

__all__ = ["choose", "param_texts", "param_values"]

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
            values[name] = 1
    return values, problems


def _value(raw: Any, earlier: Mapping[str, Any], find: Find) -> Any:
    if isinstance(raw, list):
        return [_value(item, earlier, find) for item in raw]
    if not isinstance(raw, str):
        number = raw if isinstance(raw, bool) else as_number(raw)
        if number is None:
            raise ExpressionError("a param is a number, a list, an op or an expression")
        return number
    node = choose(parse(raw), earlier)
    if isinstance(node, ast.Name) and node.id not in earlier:
        found = find(node.id)
        if found is not None:
            return found
    return evaluate_node(node, earlier)


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
