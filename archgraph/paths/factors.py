"""The multiplicative factor along a path, hop by hop, in symbols and where possible as a number.

A hop into node w by the edge e = (u → w) multiplies by ``J_op(w) · λ_e · (slice | the other factors
of a product)``; factors are written from L back to the target.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Final

from archgraph.errors import UsageError, suggest
from archgraph.expression import ExpressionError, evaluate
from archgraph.graph import LOSS, Edge, Graph, Learnable, Node, Scale
from archgraph.numbers import Number, as_number
from archgraph.ops.op import Op
from archgraph.ops.symbols import jacobian_symbol
from archgraph.paths.algebra import ONE, Atom, Expression, add, literal, multiply, write
from archgraph.paths.notation import Names, Written, write_expression, write_name
from archgraph.paths.target import resolve

__all__ = ["Assumption", "Factors", "parse_assumption", "path_factor"]

_IMPLIED: Final = re.compile(r"~\d+$")
_MAX_FORMULA_DEPTH: Final = 8
_SLOPES: Final = {"ReLU": "1[z > 0]", "Sigmoid": "σ(z)·(1 − σ(z))", "Tanh": "1 − tanh²(z)"}


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

    def __init__(
        self,
        graph: Graph,
        assumptions: Iterable[Assumption | str] = (),
        *,
        explain: bool = True,
    ) -> None:
        """Check the assumptions against the graph.

        Args:
            graph: The graph.
            assumptions: Numbers for Jacobians; of those that match a node the last one counts.
            explain: Whether Jacobians say what they mean, which takes longer than to write them.

        Raises:
            UsageError: an assumption cannot be read, or matches no node and no edge.
        """
        self.graph = graph
        self.names = Names(graph)
        self._explain = explain
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
        return _whole(product)

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
        scaled = [self.scale(edge.scale), self._share_of_merge(edge)]
        if edge.kind == "concat" and edge.scale.learn is not None:
            # It may be one λ for each channel of the term; the concatenation has more channels.
            scaled.reverse()
        picked = _picked(edge, self.graph.node(edge.source))
        return multiply(self._jacobian(edge), *scaled, picked)

    def scale(self, scale: Scale) -> Expression:
        """Return λ: by its name if it is learnable or spelt by a param, else as a number."""
        if scale.learn is not None:
            written = self._written(scale.learn)
            meaning = f"learnable, {write(literal(scale.value)).text} at the start"
            if scale.learn.per == "channel":
                diagonal = rf"\mathrm{{diag}}({written.latex})"
                return Atom(f"diag({written.text})", diagonal, f"{meaning}, one for each channel")
            return Atom(written.text, written.latex, meaning, scalar=True)
        spelt = write_expression(scale.text) if scale.text else None
        if spelt is None:
            return literal(scale.value)
        return Atom(spelt.text, spelt.latex, f"= {write(literal(scale.value)).text}", scalar=True)

    def _written(self, learn: Learnable) -> Written:
        written = self.names(learn.name)
        if learn.index is None:
            return written
        return Written(f"{written.text}[{learn.index}]", f"{{{written.latex}}}_{{{learn.index}}}")

    def partial(
        self, top: str, bottom: str, *, total: bool = False, tag: Written | None = None
    ) -> Atom:
        """Return the derivative of one thing by another: direct (∂⁺), or total (∂).

        Args:
            top: What is derived.
            bottom: What it is derived by.
            total: Whether it is the total derivative.
            tag: The term through which the direct one goes, where there are several.
        """
        a, b = self.names(top), self.names(bottom)
        plus, raised = ("", "") if total else ("⁺", "^{+}")
        latex = rf"\frac{{\partial{raised} {a.latex}}}{{\partial {b.latex}}}"
        text = f"∂{plus}{a.text}/∂{b.text}"
        if tag is None:
            return Atom(text, latex)
        return Atom(f"{text}|{tag.text}", rf"\left.{latex}\right|_{{{tag.latex}}}")

    def _loss_hop(self, edge: Edge) -> Expression:
        graph = self.graph
        readers = graph.gradient_out_of[graph.positions[edge.source]]
        live = [i for i in readers if graph.reaches_loss(graph.edges[i].target)]
        term = graph.loss[edge.slot]
        picked = _picked(edge, graph.node(edge.source))
        scale = self.scale(edge.scale)
        if scale == ONE:
            twice = sum(graph.edges[i].target == LOSS for i in live) > 1
            tag = Written(term.name, write_name(term.name)) if twice else None
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
        value = write(self.value(term))
        text, latex = value.text, value.latex
        learn = term.scale.learn
        if learn is not None and learn.per == "channel":
            text, latex = f"diag({text})", rf"\mathrm{{diag}}({latex})"
        meaning = f"the value of {term.source}, which λ multiplies"
        if learn is not None and (i := learn.index) is not None:
            text, latex = f"{text}·e{i}ᵀ", rf"{latex}\, e_{{{i}}}^{{\top}}"
            meaning = f"{meaning}, at element {i}"
        atom = Atom(text, latex, meaning)
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
        what = (
            "weight" if node.op.name == "Linear" else "linear map" if letter == "W" else "Jacobian"
        )
        meaning = ""
        if self._explain:
            meaning = f"the {what} of {node.name}, {node.op}"
            meaning += f" by its input {edge.port}" if several else ""
        return Atom(f"{letter}_{name.text}{port}", f"{letter}_{{{name.latex}}}{raised}", meaning)

    def _slope(self, node: Node, name: Written) -> Atom:
        assert node.op is not None
        slope = _SLOPES.get(node.op.name, f"{node.op.name}'(z)")
        meaning = ""
        if self._explain:
            formula = write(self._formula(node)).text
            meaning = f"diag({slope}) at z = {formula}, the slope of {node.op.name}"
        return Atom(f"φ'(z_{name.text})", rf"\varphi'(z_{{{name.latex}}})", meaning)

    def _share_of_merge(self, edge: Edge) -> Expression:
        """Return what the merge itself does to a term: nothing to that of a sum."""
        peers = self.graph.ports(edge.target)[edge.port]
        if edge.kind == "concat":
            name = self.names(edge.source)
            same = [peer for peer in peers if peer.source == edge.source]
            nth = f",{same.index(edge) + 1}" if len(same) > 1 else ""
            meaning = f"puts {edge.source} in its rows of the concatenation"
            return Atom(f"S_{name.text}{nth}", f"S_{{{name.latex}{nth}}}", meaning)
        if edge.kind == "multiply":
            return self._gate([peer for peer in peers if peer.index != edge.index])
        return ONE

    def _gate(self, others: list[Edge]) -> Expression:
        scales = [self.scale(other.scale) for other in others]
        inner = write(multiply(*(self.value(other) for other in others)))
        latex = rf"\mathrm{{diag}}({inner.latex})"
        return multiply(*scales, Atom(f"diag({inner.text})", latex))

    # --- values -------------------------------------------------------------------------------

    def value(self, edge: Edge, depth: int = 0) -> Expression:
        """Return what an edge reads: a name, or the formula of a merge that no one named."""
        if _IMPLIED.search(edge.source) and depth < _MAX_FORMULA_DEPTH:
            return self._formula(self.graph.node(edge.source), depth + 1)
        name = self.names(edge.source)
        element = f"[{edge.element}]" if edge.element else ""
        # Values add and multiply element by element, as numbers do.
        return Atom(name.text + element, name.latex + element, scalar=True)

    def _formula(self, node: Node, depth: int = 0) -> Expression:
        """Return the merge of a node, and of an `Affine` what it makes of it."""
        edges = self.graph.edges_into(node.name)
        if not edges or (node.op and _IMPLIED.search(node.name) and node.op.name != "Affine"):
            name = self.names(node.name)
            return Atom(name.text, name.latex, scalar=True)
        terms = [multiply(self.scale(e.scale), self.value(e, depth)) for e in edges]
        if edges[0].kind == "concat":
            parts = [write(term) for term in terms]
            text, latex = ", ".join(p.text for p in parts), ", ".join(p.latex for p in parts)
            merged: Expression = Atom(f"[{text}]", f"[{latex}]", scalar=True)
        else:
            merged = multiply(*terms) if edges[0].kind == "multiply" else add(terms)
        if node.op is None or node.op.name != "Affine":
            return merged
        shift = as_number(node.op.get("shift")) or 0
        scaled = multiply(literal(_known_jacobian(node) or 0), merged)
        return add([literal(_exact(shift)), scaled]) if shift else scaled


def _whole(value: Number) -> Number:
    """Return an exact number that is whole as an int, as everywhere else."""
    if isinstance(value, Fraction) and value.denominator == 1:
        return value.numerator
    return value


def _exact(value: Number) -> Number:
    """Return an op's argument, a float by its signature, as an int if it is whole."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
            return _exact(scale)
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
