"""Sizes as expressions of a network's params, carried through the graph and verified.

The spec's own text of an argument is used where it has the value that the network really has; a
size that nothing explains is written as a number.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from archgraph.expression import ExpressionError, as_number, evaluate, parse
from archgraph.graph import Graph, Node
from archgraph.module import text as python
from archgraph.module.names import RESERVED, is_plain
from archgraph.module.values import Shape, Shapes, Value

__all__ = ["SizeTexts", "python_expression"]

_OUTPUT_SIZE: Final = ("out_features", "out_channels", "embedding_dim", "hidden_size")
"""Arguments that are the size of the output's channel axis."""

Texts = tuple[str, ...]


def python_expression(source: str, value: Any, params: Mapping[str, Any]) -> str | None:
    """Return a spec's expression as Python that has this value, or None if there is no such text.

    Exact division of a spec is `//` in Python where the value is whole.

    Example:
        >>> python_expression("4*w/2", 8, {"w": 4})
        '4 * w // 2'
    """
    try:
        parse(source)  # bounds its size
        tree = ast.parse(f"({source}\n)", mode="eval").body
        if isinstance(value, int):
            tree = _WholeDivision().visit(tree)
        result = python.unparse(tree)
        found = evaluate(result, params)
    except (ExpressionError, SyntaxError):
        return None
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if names & (RESERVED | {"sqrt", "super"}):
        return None
    if isinstance(value, bool) or isinstance(found, bool):
        return result if found is value else None
    if as_number(found) is None or as_number(value) is None:
        return result if found == value else None
    return result if float(found) == float(value) else None


class _WholeDivision(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.BinOp:
        self.generic_visit(node)
        if isinstance(node.op, ast.Div):
            node.op = ast.FloorDiv()
        return node


class SizeTexts:
    """For every node of a graph the texts of its sizes."""

    def __init__(self, graph: Graph, shapes: Shapes) -> None:
        self._graph, self._shapes = graph, shapes
        self.params: dict[str, Any] = {
            name: value for name, value in graph.params.items() if is_plain(name)
        }
        self._axes: dict[str, Texts] = {}
        self._merged: dict[tuple[str, str], Texts] = {}
        for node in graph.nodes:
            if node.kind != "loss":
                self._axes[node.name] = self._visit(node)

    def argument(self, node: Node, name: str, value: Any) -> str:
        """Return the text of a constructor's argument."""
        assert node.op is not None
        given = dict(node.op.expressions).get(name)
        if given is None and dict(node.op.arguments).get(name) is not None:
            given = str(dict(node.op.arguments)[name])
        if given is not None:
            found = self._checked(self._without_cin(node, given), value)
            if found is not None and found.strip():
                return found if not found.isdigit() else python.literal(value)
            return python.literal(value)
        axis = self._inferred_axis(node, name)
        if axis is None:
            return python.literal(value)
        port, index = axis
        return self._merged[node.name, port][index]

    def channels(self, node: str, axis: int) -> str:
        """Return the text of the size of an axis, batch counted."""
        return self._axes[node][axis - 1]

    # --- one node -------------------------------------------------------------------------------

    def _visit(self, node: Node) -> Texts:
        if node.kind == "input":
            assert node.shape is not None
            texts = node.shape_texts or tuple(map(str, node.shape))
            pairs = zip(texts, node.shape, strict=True)
            return tuple(self._pick([text], size) for text, size in pairs)
        for port in self._graph.ports(node.name):
            self._merged[node.name, port] = self._merge(node, port)
        if node.op is None:
            return next(texts for (name, _), texts in self._merged.items() if name == node.name)
        value = self._shapes.elements[node.name][0]
        assert value is not None
        return self._output(node, value)

    def _merge(self, node: Node, port: str) -> Texts:
        value = self._shapes.merged[node.name, port]
        edges = self._graph.ports(node.name)[port]
        terms = [self._axes[edge.source] if edge.element == 0 else () for edge in edges]
        axis = self._shapes.dims.get((node.name, port))
        texts = []
        for i, size in enumerate(value.shape):
            columns = [term[i] for term in terms if len(term) == len(value.shape)]
            if axis == i + 1 and len(columns) == len(terms):
                columns = [self._sum(columns)]
            texts.append(self._pick(columns, size))
        return tuple(texts)

    def _pick(self, candidates: list[str], size: int) -> str:
        """Return the first text of this size that is more than a number."""
        right = [found for text in candidates if (found := self._checked(text, size))]
        return next((text for text in right if not text.isdigit()), str(size))

    def _sum(self, texts: list[str]) -> str:
        """Return a sum with equal terms collected: `24 + 4 * k`."""
        constant = sum(int(text) for text in texts if text.isdigit())
        counts = Counter(text for text in texts if not text.isdigit())
        terms = [str(constant)] if constant else []
        for text, count in counts.items():
            factor = python.bracket(text, python.PRODUCT)
            terms.append(text if count == 1 else f"{count} * {factor}")
        return " + ".join(terms) or "0"

    def _output(self, node: Node, value: Value) -> Texts:
        assert node.op is not None
        arguments = self._shapes.arguments[node.name]
        texts = [str(size) for size in value.shape]
        before, shape = self._first_port(node)
        name = next((name for name in _OUTPUT_SIZE if name in arguments), None)
        last = value.channel_axis == len(value.shape)
        if value.shape == shape and name is None:
            texts = list(before)
        elif last and shape[: len(texts) - 1] == value.shape[:-1]:
            texts[:-1] = before[: len(texts) - 1]
        if value.channel_axis is not None:
            place = value.channel_axis - 1
            carried = before[place] if place < len(before) else texts[place]
            own = carried if name is None else self.argument(node, name, arguments[name])
            texts[place] = self._pick([own], value.shape[place])
        return tuple(texts)

    def _first_port(self, node: Node) -> tuple[Texts, Shape]:
        port = next(iter(self._graph.ports(node.name)), None)
        if port is None:
            return (), ()
        return self._merged[node.name, port], self._shapes.merged[node.name, port].shape

    # --- texts ----------------------------------------------------------------------------------

    def _checked(self, text: str, value: Any) -> str | None:
        if isinstance(value, Fraction):
            value = float(value)
        return python_expression(text, value, self.params)

    def _inferred_axis(self, node: Node, name: str) -> tuple[str, int] | None:
        """Return the port and position of the axis whose size an inferred argument is."""
        assert node.op is not None
        op = node.op.op
        rule = op.inferred.get(name)
        if rule is None or rule == "axis":
            return None
        kind, _, port = rule.partition(":")
        port = port or next(iter(self._graph.ports(node.name)))
        value = self._shapes.merged[node.name, port]
        axis = len(value.shape) if kind == "last" else op.channel_axis or value.channel_axis
        return None if axis is None else (port, axis - 1)

    def _without_cin(self, node: Node, text: str) -> str:
        """Put the text of the input's channels in the place of `cin`."""
        if "cin" not in text:
            return text
        assert node.op is not None
        axes = [found for name in node.op.op.inferred if (found := self._inferred_axis(node, name))]
        if axes:
            port, index = axes[0]
        else:
            port = next(iter(self._graph.ports(node.name)))
            index = (self._shapes.merged[node.name, port].channel_axis or 1) - 1
        size = ast.parse(self._merged[node.name, port][index], mode="eval").body
        tree = ast.parse(text.strip(), mode="eval").body
        return ast.unparse(_Substitution({"cin": size}).visit(tree))


class _Substitution(ast.NodeTransformer):
    def __init__(self, replacements: Mapping[str, ast.expr]) -> None:
        self._replacements = replacements

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._replacements.get(node.id, node)
