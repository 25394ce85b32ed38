"""Nodes and edges: the frozen records that a graph is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, Literal, TypeAlias

from archgraph.errors import Mark
from archgraph.numbers import Number, format_number
from archgraph.ops.op import OpCall

__all__ = [
    "LOSS",
    "ONE",
    "Edge",
    "EdgeKind",
    "Learnable",
    "LossTerm",
    "Node",
    "Role",
    "Scale",
]

LOSS: Final = "L"
"""The name of the loss node of every graph."""

EdgeKind: TypeAlias = Literal["sequential", "add", "concat", "multiply", "loss"]
Role: TypeAlias = Literal["skip", "branch", "none"]


@dataclass(frozen=True, slots=True)
class Learnable:
    """A learnable multiplier: an `nn.Parameter` of the graph's module under `name`."""

    name: str
    """Path of the parameter: `alpha`, `body.0.alpha`, `h_scale.3` (an element of a
    `ParameterList`)."""
    per: Literal["all", "channel"] = "all"
    """One number for all, or one per element of the channel axis."""
    index: int | None = None
    """Where the parameter is one vector for all terms of a `mix`: the element that is this λ."""
    count: int | None = None
    """Length of that vector."""

    def __str__(self) -> str:
        return self.name if self.index is None else f"{self.name}[{self.index}]"


@dataclass(frozen=True, slots=True)
class Scale:
    """The multiplier λ of an edge: an exact number where it can be, and how the spec spells it."""

    value: Number = 1
    """The number; of a learnable λ its start value."""
    learn: Learnable | None = None
    text: str | None = field(default=None, compare=False)
    """The spec's own expression, over `params`, if it was more than a literal."""

    @property
    def is_one(self) -> bool:
        """Whether the edge multiplies by one, for certain."""
        return self.learn is None and self.value == 1

    @property
    def exact(self) -> bool:
        """Whether the number is rational, so that products of it are exact."""
        return not isinstance(self.value, float)

    def __str__(self) -> str:
        number = format_number(self.value)
        return f"{self.learn}={number}" if self.learn else number


ONE: Final = Scale()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A vertex: an input, a layer (a merge of its in-edges, then an op), or the loss."""

    name: str
    kind: Literal["input", "layer", "loss"] = "layer"
    op: OpCall | None = None
    """None for inputs, the loss, and layers that only merge."""
    dims: tuple[tuple[str, int | None], ...] = ()
    """For each port whose in-edges are concatenated: the axis, batch counted; None is the channel
    axis."""
    module: str | None = None
    """Path of the submodule that does the op; None where there is none. Shared weights share it."""
    block: tuple[str, ...] = field(default=(), compare=False)
    """Paths of the `Instance`s that enclose the node, outermost first: `layer1`, `layer1.0`."""
    shape: tuple[int, ...] | None = None
    """Inputs only: shape without the batch axis."""
    shape_texts: tuple[str, ...] | None = field(default=None, compare=False)
    """Inputs only: the spec's own text of each size, for the source (`width`, `3`)."""
    dtype: str = "float"
    """Inputs only: `float`, or a torch integer type's name."""
    below: int | None = None
    """Integer inputs only: values are drawn from 0 … below − 1."""
    init: tuple[tuple[str, Any], ...] = ()
    """This layer's own initialisers: parameter name → OpCall-like text or number."""
    label: str | None = field(default=None, compare=False)
    symbol: str | None = field(default=None, compare=False)
    about: str | None = field(default=None, compare=False)
    mark: Mark | None = field(default=None, compare=False, repr=False)

    def dim(self, port: str) -> int | None:
        """Return the concat axis of `port`; None means the channel axis."""
        return dict(self.dims).get(port)

    @property
    def is_integer(self) -> bool:
        """Whether it is an input of integers, through which no gradient flows."""
        return self.kind == "input" and self.dtype != "float"

    @property
    def is_merge(self) -> bool:
        """Whether it only merges: a layer without an op."""
        return self.kind == "layer" and self.op is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A directed edge, from the value that is read to the layer that reads it."""

    source: str
    target: str
    kind: EdgeKind = "sequential"
    role: Role = "none"
    scale: Scale = ONE
    port: str = "input"
    slot: int = 0
    """Position among the terms merged at the same port."""
    element: int = 0
    """Which element of a tuple-returning op is read."""
    forced: bool | None = field(default=None, compare=False)
    """Whether the spec forces the role: True a skip, False none, None by rule."""
    gradient: bool = True
    """Whether a gradient flows back along it (none out of integers)."""
    id: str = ""
    """`x1->x3`, `q->sdpa[query]` with a port, `#1` appended for the second of parallel edges."""
    index: int = -1
    """Position in `Graph.edges`."""
    mark: Mark | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LossTerm:
    """A summand of L: `scale · op(of, target)`; without an op a fixed random linear readout."""

    name: str
    of: str
    """The node that is read, which is an output."""
    op: OpCall | None = None
    scale: Scale = ONE
    element: int = 0


def exact_product(scales: list[Scale]) -> Number:
    """Return the product of the numbers of `scales`, a `Fraction` as long as all are exact."""
    product: Number = 1
    for scale in scales:
        product = product * scale.value
    if isinstance(product, Fraction) and product.denominator == 1:
        return product.numerator
    return product
