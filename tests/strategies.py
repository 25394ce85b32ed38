"""Random graphs for property tests and benchmarks: small, and with every awkward thing in them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import TypeVar

from hypothesis import note
from hypothesis import strategies as st

from archgraph.graph import Graph, GraphBuilder, Scale, Term, learnable
from archgraph.graph.records import ONE, EdgeKind
from archgraph.numbers import Number
from archgraph.ops import OpCall, parse_call

__all__ = ["describe", "graphs", "random_graph", "residual_graph", "target_names"]

WIDTH = 3
MAX_CONCAT = 12
# Simplest first, because shrinking moves towards the front.
# No few of these add up to nothing but 1 - 1, which is exact: a sum that cancels to rounding would
# leave a ReLU on its kink, where the derivative hangs on the order in which terms were added.
EXACT: Sequence[Number] = (1, 1, 2, -1, Fraction(1, 2), Fraction(-13, 8), 0)
FLOATS: Sequence[float] = (0.3, -1.7)
ACTIVATIONS = ("ReLU()", "Tanh()", "Sigmoid()")

T = TypeVar("T")


@cache
def _call(text: str) -> OpCall:
    return parse_call(text)


@dataclass
class _Sampler:
    """Draws one graph; `widths` holds the size of every value made so far."""

    rng: random.Random
    learn: bool
    floats: bool
    vectors: bool
    products: int
    """How many products may still be made: a product of products grows doubly fast with depth."""
    builder: GraphBuilder = field(default_factory=lambda: GraphBuilder("random"))
    widths: dict[str, int] = field(default_factory=dict)
    learnt: int = 0

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.rng.randint(0, len(choices) - 1)]

    def chance(self, one_in: int) -> bool:
        return self.rng.randint(1, one_in) == one_in

    def number(self) -> Number:
        if self.floats and self.chance(8):
            return self.pick(FLOATS)
        return self.pick(EXACT)

    def scale(self) -> Scale:
        if self.learn and self.chance(10):
            self.learnt += 1
            return learnable(f"alpha{self.learnt}", self.number(), per_channel=self.chance(2))
        value = self.number() if self.chance(2) else 1
        return ONE if value == 1 else Scale(value)

    def terms(self, width: int | None, count: int) -> list[Term]:
        """`count` terms, drawn with repetition so that parallel edges occur."""
        names = [name for name, size in self.widths.items() if width in (None, size)]
        recent = names[-4:]
        vector = self.vector(count) if self.vectors and count > 1 and self.chance(5) else []
        return [
            Term(
                self.pick(names if self.chance(3) else recent),
                vector[i] if vector else self.scale(),
            )
            for i in range(count)
        ]

    def vector(self, count: int) -> list[Scale]:
        """The elements of one learnable vector."""
        self.learnt += 1
        name = f"alpha{self.learnt}"
        return [learnable(name, self.number(), index=i, count=count) for i in range(count)]

    def layer(self, index: int) -> str:
        merges: tuple[EdgeKind, ...] = ("add", "add", "concat", "multiply")
        merge = self.pick(merges)
        if merge == "multiply" and not self.products:
            merge = "add"
        self.products -= merge == "multiply"
        count = self.rng.randint(1, 3)
        if merge == "concat":
            terms = self.terms(None, count)
            width = sum(self.widths[term.source] for term in terms)
        else:
            width = self.widths[self.pick(list(self.widths)[-4:])]
            terms = self.terms(width, count)
        # A merge of one term with no op is no layer at all, so it is not offered.
        ops = [f"Linear({WIDTH})", *ACTIVATIONS, *([""] if count > 1 else [])]
        text = ops[0] if width > MAX_CONCAT else self.pick(ops)
        call = _call(text) if text else None
        stem = text.partition("(")[0].lower() or merge
        name = self.builder.layer(f"{stem}{index}", call, terms, merge=merge)
        self.widths[name] = WIDTH if text == ops[0] else width
        return name

    def finish(self, layers: Sequence[str], outputs: int) -> Graph:
        chosen = sorted({layers[-1] if i == 0 else self.pick(layers) for i in range(outputs)})
        for name in chosen:
            self.builder.output(name)
        if self.chance(2):
            for i in range(self.rng.randint(1, len(chosen) + 1)):
                op: OpCall | None = _call("MSELoss()") if self.chance(2) else None
                self.builder.loss(self.pick(chosen), op, scale=self.number(), name=f"loss{i}")
        return self.builder.build()


def random_graph(
    rng: random.Random,
    *,
    max_layers: int = 8,
    max_inputs: int = 2,
    max_outputs: int = 3,
    learn: bool = True,
    vectors: bool = False,
    floats: bool = True,
    max_products: int = 2,
) -> Graph:
    """Return a random graph of 1 … `max_layers` layers over inputs of shape (3,).

    It may have parallel edges, merges of every kind, scales that are exact, zero, negative, float
    or learnable, unused layers and inputs, several outputs and several loss terms, with the random
    readout or MSELoss.

    Args:
        rng: The only source of chance: the same state gives the same graph.
        max_layers: Most layers.
        max_inputs: Most inputs.
        max_outputs: Most outputs.
        learn: Whether scales may be learnable, one for all elements or one per channel.
        vectors: Whether the scales of a merge may be the elements of one learnable vector.
        floats: Whether scales may be floats; without them every product of scales is exact.
        max_products: Most layers that multiply their inputs.
    """
    sampler = _Sampler(rng, learn, floats, vectors, max_products)
    for i in range(rng.randint(1, max_inputs)):
        sampler.widths[sampler.builder.input(f"x{i}", (WIDTH,))] = WIDTH
    layers = [sampler.layer(i) for i in range(rng.randint(1, max_layers))]
    return sampler.finish(layers, rng.randint(1, max_outputs))


@st.composite
def graphs(
    draw: st.DrawFn,
    *,
    max_layers: int = 8,
    max_inputs: int = 2,
    max_outputs: int = 3,
    learn: bool = True,
    vectors: bool = False,
    floats: bool = True,
    max_products: int = 2,
) -> Graph:
    """Graphs of `random_graph`, which shrink to few layers and scales of 1."""
    graph = random_graph(
        draw(st.randoms(use_true_random=False)),
        max_layers=max_layers,
        max_inputs=max_inputs,
        max_outputs=max_outputs,
        learn=learn,
        vectors=vectors,
        floats=floats,
        max_products=max_products,
    )
    note(describe(graph))
    return graph


def target_names(graph: Graph) -> list[str]:
    """Return everything that a gradient can be asked for: inputs, layers, then parameters."""
    nodes = [node.name for node in graph.nodes if node.kind != "loss" and not node.is_integer]
    return [*nodes, *graph.parameter_users]


def describe(graph: Graph) -> str:
    """Return the graph as text, an edge a line, for the report of a failing example."""
    lines = [f"{e.id}  {e.kind}  scale {e.scale}" for e in graph.edges]
    ops = [f"{n.name}: {n.op}" for n in graph.nodes if n.op is not None]
    losses = [f"L += {t.scale} * {t.op or 'readout'}({t.of})" for t in graph.loss]
    return "\n".join([*ops, *lines, *losses])


def residual_graph(blocks: int, scale: Number = 1, *, depth: int = 1) -> Graph:
    """Return `blocks` residual blocks x ← scale·x + F(x), F of `depth` Linear–ReLU pairs.

    2^blocks paths lead from the input `x` to L. Nodes are `fc.0.0`, `relu.0.0`, …, `out.0`, …
    """
    builder = GraphBuilder("residual")
    linear, relu = _call(f"Linear({WIDTH})"), _call("ReLU()")
    state = builder.input("x", (WIDTH,))
    for i in range(blocks):
        value = state
        for j in range(depth):
            value = builder.layer(f"fc.{i}.{j}", linear, [value])
            value = builder.layer(f"relu.{i}.{j}", relu, [value])
        skip = Term(state, ONE if scale == 1 else Scale(scale), forced=True)
        state = builder.layer(f"out.{i}", None, [value, skip])
    builder.output(state)
    return builder.build()
