"""Read a call of an op from text, for the Python API."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from archgraph.errors import UsageError, suggest
from archgraph.expression import ExpressionError, evaluate_node, parse
from archgraph.ops import catalogue
from archgraph.ops.arguments import ArgumentProblem, bind
from archgraph.ops.op import Op, OpCall, SizeExpression

__all__ = ["parse_call"]


def parse_call(text: str, plugins: Mapping[str, Op] | None = None) -> OpCall:
    """Read an op with its arguments, written as in a spec.

    Args:
        text: `Linear(64, bias=False)`, or a bare name such as `ReLU`. Arguments are literals and
            arithmetic; they may use `cin`, the size of the input's channel axis.
        plugins: The user's own ops by name, from `load_plugins`.

    Raises:
        UsageError: it is no such call, the op is unknown, or arguments are wrong (all are named).

    Example:
        >>> parse_call("Conv2d(2 * cin, 3, padding=1)").get("padding")
        1
    """
    try:
        node = parse(text)
        function = node.func if isinstance(node, ast.Call) else node
        if not isinstance(function, ast.Name):
            raise UsageError(f"{text!r} is not a call of an op, such as Linear(64)")
        op = _find(function.id, plugins or {})
        if not isinstance(node, ast.Call):
            return _checked(op, [], {})
        keywords: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg in keywords:
                what = f"{keyword.arg} is given twice" if keyword.arg else "'**' is not allowed"
                raise UsageError(f"{text!r}: {what}")
            keywords[keyword.arg] = _value(keyword.value, text)
        return _checked(op, [_value(item, text) for item in node.args], keywords)
    except ExpressionError as error:
        hint = f" ({error.help})" if error.help else ""
        raise UsageError(f"{text!r}: {error.message}{hint}") from None


def _find(name: str, plugins: Mapping[str, Op]) -> Op:
    op = plugins.get(name) or catalogue.get(name)
    if op is None:
        close = suggest(name, [*plugins, *catalogue.names()])
        raise UsageError(f"unknown op {name!r}" + (f"; did you mean {close!r}?" if close else ""))
    return op


def _value(node: ast.expr, text: str) -> Any:
    if any(isinstance(part, ast.Name) and part.id == "cin" for part in ast.walk(node)):
        evaluate_node(node, {"cin": 1})  # whether it is an expression at all
        return SizeExpression(" ".join(text[node.col_offset : node.end_col_offset].split()))
    return evaluate_node(node, {})


def _checked(op: Op, positional: list[Any], keywords: dict[str, Any]) -> OpCall:
    call, problems = bind(op, positional, keywords)
    if call is None:
        raise UsageError("\n".join(map(_line, problems)))
    return call


def _line(problem: ArgumentProblem) -> str:
    return problem.message + (f"; {problem.help}" if problem.help else "")
