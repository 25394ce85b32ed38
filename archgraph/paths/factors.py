"""The multiplicative factor along a path, hop by hop, in symbols and where possible as a number.

A hop into node w by the edge e = (u → w) multiplies by ``J_op(w) · λ_e · (slice | the other factors
of a product)``; factors are written from L back to the target.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from archgraph.errors import UsageError, suggest
from archgraph.expression import ExpressionError, Number, as_number, evaluate
from archgraph.graph import LOSS, Edge, Graph, Node, Scale
from archgraph.ops.op import Op
from archgraph.ops.symbols import jacobian_symbol
from archgraph.paths.algebra import ONE, Atom, Expression, literal, multiply, write
from archgraph.paths.notation import Names, Written, write_expression, write_name
from archgraph.paths.target import resolve

__all__ = ["Assumption", "Factors", "parse_assumption", "path_factor"]

_DERIVATIVES: Final = {
    "ReLU": "1[z > 0]",
    "Sigmoid": "σ(z)·(1 − σ(z))",
    "Tanh": "1 − tanh²(z)",
}


@dataclass(frozen=True, slots=True)
class Assumption:
    """A number in the place of Jacobians: of the nodes that match, or of one edge's whole hop."""

    pattern: str
    """A node's name with `*`, `?` and `[…]` as in file names, or an edge's id."""
    value: Number


def parse_assumption(text: str) -> Assumption:
    """Read `pattern=number`, the number exact.

    Raises:
        UsageError: there is no `=`, or what follows it is not a number.

    Example:
        >>> parse_assumption("F*=0.25")
        Assumption(pattern='F*', value=Fraction(1, 4))
    """
    pattern, equals, number = text.rpartition("=")
    if not equals or not pattern.strip():
        raise UsageError(f"an assumption reads PATTERN=NUMBER, as in 'F*=0.25', not {text!r}")
    try:
        value = as_number(evaluate(number, {}))
    except ExpressionError as error:
        raise UsageError(f"in the assumption {text!r}: {error.message}") from None
    if value is None:
        raise UsageError(f"in the assumption {text!r}: {number.strip()!r} is not a number")
    return Assumption(pattern.strip(), value)


class Factors:
    """The factors of a graph's edges, made once and used for any number of paths."""

    def __init__(self, graph: Graph, assumptions: Iterable[Assumption | str] = ()) -> None:
        """Check the assumptions against the graph.

        Raises:
            UsageError: an assumption cannot be read, or matches no node and no edge.
        """
        self.graph = graph
        self.names = Names(graph)
        self._edge_numbers: dict[str, Number] = {}
        self._node_numbers: dict[str, Number] = {}
        for item in assumptions:
            self._assume(parse_assumption(item) if isinstance(item, str) else item)

    def _assume(self, assumption: Assumption) -> None:
        if assumption.pattern in self.graph.edge_positions:
            self._edge_numbers[assumption.pattern] = assumption.value
            return
        layers = [node.name for node in self.graph.nodes if node.kind != "input"]
        matches = [name for name in layers if fnmatchcase(name, assumption.pattern)]
        if not matches:
            close = suggest(assumption.pattern, [*layers, *self.graph.edge_positions])
            hint = f"; did you mean {close!r}?" if close else ""
            raise UsageError(f"no layer and no edge is called {assumption.pattern!r}{hint}")
        self._node_numbers.update(dict.fromkeys(matches, assumption.value))

    # --- numbers ------------------------------------------------------------------------------

    def number(self, edges: Sequence[Edge]) -> Number | None:
        """Return the factor of a path where λ and the assumptions make it one, exact if they are.

        A learnable λ counts with its start value. Merges, slices and `Affine` need no assumption.

        Args:
            edges: The path from its target to its end, as `Path.edges`.
        """
        product: Number = 1
        for edge in edges:
            number = self._hop_number(edge)
            if number is None:
                return None
            product = product * number
        # A product that is whole is an int, as everywhere else.
        return (
            int(product) if not isinstance(product, float) and product == int(product) else product
        )

    def _hop_number(self, edge: Edge) -> Number | None:
        if edge.id in self._edge_numbers:
            return self._edge_numbers[edge.id]
        if edge.index >= len(self.graph.edges) or edge.kind == "multiply":
            return None
        assumed = self._node_numbers.get(edge.target)
        jacobian = _known_jacobian(self.graph.node(edge.target)) if assumed is None else assumed
        return None if jacobian is None else jacobian * edge.scale.value

    # --- symbols ------------------------------------------------------------------------------

    def symbol(self, edges: Sequence[Edge]) -> Expression:
        """Return the factor of a path in symbols, from its end back to its target.

        Args:
            edges: The path from its target to its end, as `Path.edges`.
        """
        return multiply(*(self.hop(edge) for edge in reversed(edges)))

    def hop(self, edge: Edge) -> Expression:
        """Return the factor of one edge, or of a parameter's own step into a layer."""
        if edge.index >= len(self.graph.edges):
            return self._parameter_hop(edge)
        if edge.target == LOSS:
            return self._loss_hop(edge)
        return multiply(
            self._jacobian(edge),
            self.scale(edge.scale),
            self._share_of_merge(edge),
            _picked(edge, self.graph.node(edge.source)),
        )

    def scale(self, scale: Scale) -> Expression:
        """Return λ: by its name if it is learnable or spelt by a param, else as a number."""
        if scale.learn is not None:
            written = self.names(scale.learn.name)
            greek = write_expression(scale.learn.name)
            text = greek.text if greek else written.text
            meaning = f"learnable, {write(literal(scale.value)).text} at the start"
            if scale.learn.per == "channel":
                diagonal = rf"\operatorname{{diag}}({written.latex})"
                return Atom(f"diag({text})", diagonal, f"{meaning}, one for each channel")
            return Atom(text, written.latex, meaning, scalar=True)
        spelt = write_expression(scale.text) if scale.text else None
        if spelt is None:
            return literal(scale.value)
        return Atom(spelt.text, spelt.latex, f"= {write(literal(scale.value)).text}", scalar=True)

    def partial(self, top: str, bottom: str, *, total: bool = False, tag: str = "") -> Atom:
        """Return the derivative of one thing by another: direct (∂⁺), or total (∂)."""
        a, b = self.names(top), self.names(bottom)
        plus, raised = ("", "") if total else ("⁺", "^{+}")
        latex = rf"\frac{{\partial{raised} {a.latex}}}{{\partial {b.latex}}}"
        if tag:
            latex = rf"\left.{latex}\right|_{{{write_name(tag)}}}"
        return Atom(f"∂{plus}{a.text}/∂{b.text}" + (f"|{tag}" if tag else ""), latex)

    def _loss_hop(self, edge: Edge) -> Expression:
        graph = self.graph
        readers = graph.gradient_out_of[graph.positions[edge.source]]
        live = [i for i in readers if graph.reaches_loss(graph.edges[i].target)]
        term = graph.loss[edge.slot]
        picked = _picked(edge, graph.node(edge.source))
        scale = self.scale(edge.scale)
        if scale == ONE:
            twice = sum(graph.edges[i].target == LOSS for i in live) > 1
            tag = term.name if twice else ""
            return multiply(self.partial(LOSS, edge.source, total=len(live) == 1, tag=tag), picked)
        source = self.names(edge.source)
        below = f"_{{{write_name(term.name)}}}" if len(graph.loss) > 1 else ""
        text = f"∂ℓ_{term.name}/∂{source.text}" if below else f"∂ℓ/∂{source.text}"
        latex = rf"\frac{{\partial \ell{below}}}{{\partial {source.latex}}}"
        return multiply(scale, Atom(text, latex, "a summand of L, without its λ"), picked)

    def _parameter_hop(self, edge: Edge) -> Expression:
        entries = resolve(self.graph, edge.source).entries
        scaled = next(scaled for edge_id, _, scaled in entries if edge_id == edge.id)
        if scaled is None:
            return self.partial(edge.target, edge.source)
        term = self.graph.edges[scaled]
        value = self._value(term)
        atom = Atom(value.text, value.latex, f"the value of {term.source}, which λ multiplies")
        return multiply(self._jacobian(term), self._share_of_merge(term), atom)

    def _jacobian(self, edge: Edge) -> Expression:
        node = self.graph.node(edge.target)
        known = _known_jacobian(node)
        if known is not None or node.op is None:
            return literal(1 if known is None else known)
        name = self.names(node.name)
        letter = _letter(node.op.op)
        if letter == "φ'":
            return self._slope(node, name)
        several = len(self.graph.ports(node.name)) > 1
        port = f"[{edge.port}]" if several else ""
        raised = rf"^{{{write_name(edge.port)}}}" if several else ""
        what = "the matrix" if node.op.name == "Linear" else "the linear map"
        meaning = f"{what if letter == 'W' else 'the Jacobian'} of {node.name} = {node.op}"
        meaning += f" by its input {edge.port}" if several else ""
        return Atom(f"{letter}_{name.text}{port}", f"{letter}_{{{name.latex}}}{raised}", meaning)

    def _slope(self, node: Node, name: Written) -> Atom:
        assert node.op is not None
        formula = _DERIVATIVES.get(node.op.name)
        formula = f"φ'(z) = {formula}, on the diagonal; " if formula else ""
        meaning = f"φ = {node.op.name}: {formula}z_{name.text} = {self._merge(node)}"
        return Atom(f"φ'(z_{name.text})", rf"\varphi'(z_{{{name.latex}}})", meaning)

    def _merge(self, node: Node) -> str:
        edges = self.graph.edges_into(node.name)
        terms = [write(multiply(self.scale(e.scale), self._atom(e))).text for e in edges]
        kind = edges[0].kind
        if kind == "concat":
            return f"[{', '.join(terms)}]"
        return "·".join(terms) if kind == "multiply" else " + ".join(terms).replace("+ −", "− ")

    def _share_of_merge(self, edge: Edge) -> Expression:
        """Return what the merge itself does to a term: nothing to that of a sum."""
        peers = self.graph.ports(edge.target)[edge.port]
        if edge.kind == "concat":
            source = self._value(edge)
            same = [peer for peer in peers if peer.source == edge.source]
            nth = f",{same.index(edge) + 1}" if len(same) > 1 else ""
            meaning = f"puts {edge.source} in its place, {edge.slot + 1} of {len(peers)}, "
            meaning += "of the concatenation"
            return Atom(f"S_{source.text}{nth}", f"S_{{{source.latex}{nth}}}", meaning)
        if edge.kind == "multiply":
            return self._gate([peer for peer in peers if peer.index != edge.index])
        return ONE

    def _gate(self, others: list[Edge]) -> Expression:
        scales = [self.scale(other.scale) for other in others]
        values = multiply(*(self._atom(other) for other in others))
        inner = write(values)
        text = f"diag({inner.text})"
        latex = rf"\operatorname{{diag}}({inner.latex})"
        meaning = "the rest of the product, on the diagonal"
        return multiply(*scales, Atom(text, latex, meaning))

    def _value(self, edge: Edge) -> Written:
        name = self.names(edge.source)
        if not edge.element:
            return name
        return Written(f"{name.text}[{edge.element}]", f"{name.latex}[{edge.element}]")

    def _atom(self, edge: Edge) -> Atom:
        value = self._value(edge)
        return Atom(value.text, value.latex)


def _letter(op: Op) -> str:
    letter = jacobian_symbol(op)
    # The Jacobian of a recurrent layer or of attention is no matrix of weights.
    return "J" if letter == "W" and not op.linear else letter


def _known_jacobian(node: Node) -> Number | None:
    """Return the Jacobian of a merge, an identity or a fixed multiple, else None."""
    if node.kind == "layer" and node.op is None:
        return 1
    if node.op is not None and node.op.op.origin in ("archgraph", "torch.nn"):
        if node.op.name == "Identity":
            return 1
        scale = as_number(node.op.get("scale")) if node.op.name == "Affine" else None
        if scale is not None:
            return int(scale) if scale == int(scale) else scale
    return None


def _picked(edge: Edge, source: Node) -> Expression:
    """Return the choice of one element, where the source returns several."""
    if not edge.element and not (source.op and source.op.op.tuple_output):
        return ONE
    meaning = f"picks element {edge.element} of what the layer returns"
    return Atom(f"E_{edge.element}", f"E_{{{edge.element}}}", meaning)


def path_factor(
    graph: Graph, path_edges: Sequence[Edge], assumptions: Iterable[Assumption | str] = ()
) -> tuple[Number | None, str]:
    """Return the factor along a path as a number, where it is one, and in symbols.

    Args:
        graph: The graph.
        path_edges: The edges from the target to the end, as `Path.edges`.
        assumptions: Numbers for Jacobians; of those that match a node the last one counts, and an
            edge's id gives the whole hop, its λ included.

    Returns:
        (number or None, symbols from L back to the target), the number exact if all in it are.

    Raises:
        UsageError: an assumption cannot be read, or matches no node and no edge.
    """
    factors = Factors(graph, assumptions)
    return factors.number(path_edges), write(factors.symbol(path_edges)).text
