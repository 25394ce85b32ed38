"""A derivation in numbers: every term at one recorded pass, and for scalars every factor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archgraph.errors import GradientError
from archgraph.gradient.bundle import Bundle, accumulate, difference, norm, relative_share
from archgraph.gradient.recording import autograd
from archgraph.gradient.routes import own_hops, received, uncancelled
from archgraph.gradient.tape import Tape
from archgraph.gradient.tolerance import tolerance_of
from archgraph.paths.algebra import write
from archgraph.paths.equations import Derivation, Term, format_numbers
from archgraph.paths.view import Hop, View

__all__ = ["Numbers", "TermNumbers", "evaluate"]


@dataclass(frozen=True)
class TermNumbers:
    """One term of a derivation at a recorded pass."""

    gradient: Bundle
    """The term, shaped like the target: the seed through the transposed Jacobians."""
    norm: float
    share: float | None
    """Signed fraction of the whole derivative's squared norm; None if that is zero."""
    factors: tuple[tuple[str, float], ...] | None
    """(symbol, number) of every factor in order, where all of them are numbers."""


@dataclass(frozen=True)
class Numbers:
    """A derivation at a recorded pass; it was checked that the terms add up."""

    derivation: Derivation
    terms: tuple[TermNumbers, ...]
    total: Bundle | None
    """The sum of the terms; None if some were left out of the derivation."""
    autograd: Bundle
    """The derivative by ordinary autograd."""
    seeded: bool
    """Whether `of` has several elements, so that this is the derivative of their sum."""

    @property
    def scalar(self) -> bool:
        """Whether every factor is a number, so that a person can multiply them."""
        return all(term.factors is not None for term in self.terms)

    @property
    def text(self) -> str:
        """The terms in numbers, their sum, and autograd's value beside it."""
        if not self.scalar:
            return self._table()
        values = [term.factors or () for term in self.terms]
        reference = sum(float(tensor) for tensor in self.autograd.values())
        return format_numbers(self.derivation, values, reference=reference)

    def _table(self) -> str:
        names = [write(term.partial).text for term in self.derivation.terms]
        width = max(map(len, [*names, "autograd"]))
        rows = [f"{'term'.ljust(width)}  {'norm':>12}  {'share':>9}"]
        for name, term in zip(names, self.terms, strict=True):
            share = "–" if term.share is None else f"{100 * term.share:.4g} %"
            rows.append(f"{name.ljust(width)}  {term.norm:>12.6g}  {share:>9}")
        if self.total is not None:
            rows.append(f"{'sum'.ljust(width)}  {norm(self.total):>12.6g}")
        rows.append(f"{'autograd'.ljust(width)}  {norm(self.autograd):>12.6g}")
        if self.total is None:
            rows.append(f"{self.derivation.hidden} more terms are left out")
        if self.seeded:
            rows.append(f"all of the sum of the elements of {self.derivation.of}")
        return "\n".join(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; tensors as nested lists."""
        return {
            "terms": [
                {
                    "norm": term.norm,
                    "share": term.share,
                    "value": _nested(term.gradient),
                    "factors": None
                    if term.factors is None
                    else [{"symbol": symbol, "value": value} for symbol, value in term.factors],
                }
                for term in self.terms
            ],
            "sum": None if self.total is None else _nested(self.total),
            "autograd": _nested(self.autograd),
        }


def evaluate(derivation: Derivation, tape: Tape, *, seed: Tensor | None = None) -> Numbers:
    """Evaluate a derivation at one recorded pass, term by term.

    Each hop of a term pulls the cotangent back through the nodes that the view hides, along the
    ways that make up the hop and no others.

    Args:
        derivation: Of the tape's graph.
        tape: A recorded pass.
        seed: The cotangent at `of` with which the terms are multiplied; default ones.

    Returns:
        The terms; with the number of every factor where all values on the way are single numbers,
        as in a network of width 1 with a batch of 1.

    Raises:
        GradientError: an op cannot be differentiated, or the terms do not add up to autograd's
            value.

    Cost: for each term one vector–Jacobian product of each node on its ways.
    """
    evaluation = _Evaluation(derivation.view, tape)
    expected = autograd(tape, derivation.wrt, of=derivation.of, seed=seed)
    start = tape.seed(derivation.of, seed)
    gradients = [evaluation.pull_term(term, start) for term in derivation.terms]
    terms = tuple(
        TermNumbers(g, norm(g), relative_share(g, expected), evaluation.numbers(term, start))
        for term, g in zip(derivation.terms, gradients, strict=True)
    )
    total = None if derivation.hidden else _sum(gradients)
    if total is not None:
        error, size = norm(difference(total, expected)), sum(term.norm for term in terms)
        allowed = tolerance_of(tape.dtype).algebra
        if error > allowed * size:
            size = max(size, uncancelled(tape, derivation.wrt, derivation.of, seed))
        if not error <= allowed * size:
            raise GradientError(
                f"the {len(terms)} terms of ∂{derivation.of}/∂{derivation.wrt} do not add up to "
                f"autograd's value (off by {error:.3g}), so they are not shown"
            )
    seeded = seed is None and start[0].numel() > 1
    return Numbers(derivation, terms, total, expected, seeded)


class _Evaluation:
    """Pulls cotangents back along the hops of a view."""

    def __init__(self, view: View, tape: Tape) -> None:
        self.view = view
        self.tape = tape
        self.own = own_hops(tape.graph, view.wrt)
        self.known: dict[int, float | None] = {}

    def pull_term(self, term: Term, cotangent: Bundle) -> Bundle:
        for factor in term.factors:
            cotangent = self._pull_hop(factor.hop, cotangent)
        return cotangent

    def numbers(self, term: Term, start: Bundle) -> tuple[tuple[str, float], ...] | None:
        """Return the number of every factor, or None if one of them is no single number."""
        if start[0].numel() != 1 or float(start[0].sum()) != 1:
            return None  # another seed than 1 would have to be shown as a factor
        found = []
        for factor in term.factors:
            number = self._number(factor.hop)
            if number is None:
                return None
            found.append((factor.symbol.text, number))
        return tuple(found)

    def _number(self, hop: Hop) -> float | None:
        """Return the derivative of a hop's target by its source, if both are single numbers."""
        if hop.index not in self.known:
            value = self.tape.values[self.tape.graph.position(hop.target)]
            self.known[hop.index] = None
            if len(value) == 1 and value[0].numel() == 1:
                pulled = list(self._pull_hop(hop, {0: torch.ones_like(value[0])}).values())
                if len(pulled) == 1 and pulled[0].numel() == 1:
                    self.known[hop.index] = float(pulled[0])
        return self.known[hop.index]

    def _pull_hop(self, hop: Hop, cotangent: Bundle) -> Bundle:
        arrived: dict[str, dict[int, Tensor]] = {hop.source: {}}
        self._pull(hop.target, cotangent, (hop.last,), arrived)
        for name, edges in reversed(self.view.between(hop).items()):
            self._pull(name, arrived.get(name, {}), edges, arrived)
        return arrived[hop.source]

    def _pull(
        self,
        name: str,
        cotangent: Bundle,
        hops: Sequence[int],
        arrived: dict[str, dict[int, Tensor]],
    ) -> None:
        """Pull back through one node, along some of the hops into it."""
        graph = self.tape.graph
        uses = {hop: self.own[hop] for hop in hops if hop in self.own}
        edges = [hop for hop in hops if hop not in uses]
        parameters = tuple(use for given in uses.values() for use in given.values() if use)
        pull = self.tape.pull(graph.position(name), cotangent, edges=edges, parameters=parameters)
        for given in uses.values():
            for element, gradient in received(given, cotangent, pull).items():
                accumulate(arrived[self.view.wrt], element, gradient)
        for edge, gradient in pull.edges.items():
            source = arrived.setdefault(graph.nodes[graph.sources[edge]].name, {})
            accumulate(source, graph.edges[edge].element, gradient)


def _sum(gradients: Sequence[Bundle]) -> Bundle:
    total: dict[int, Tensor] = {}
    for gradient in gradients:
        for element, tensor in gradient.items():
            accumulate(total, element, tensor)
    return total


def _nested(bundle: Bundle) -> Any:
    """Return a bundle as nested lists: of element 0 alone if there is no other."""
    lists = {element: tensor.tolist() for element, tensor in sorted(bundle.items())}
    return lists.get(0) if lists.keys() <= {0} else {str(k): v for k, v in lists.items()}
