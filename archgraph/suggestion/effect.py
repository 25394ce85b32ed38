"""What a prediction says of a network in a few numbers: how flat its gradient is, end to end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from archgraph.errors import UsageError
from archgraph.graph import Graph, Node
from archgraph.module import Shapes, infer
from archgraph.prediction import Prediction

__all__ = ["FLAT", "Effect", "effect_of", "weight_layers"]

FLAT: Final = 10.0
"""The first layer's gradient, per element, is that of the last within this factor: it is flat."""
_SANE: Final = 100.0
"""Values whose mean square is within this factor of 1 are of a sane size."""
_WILD: Final = 1e6
"""Values whose mean square is beyond this factor of 1 are in trouble, in float16 too; and so is a
network of which one end's values have a gradient larger than the other's by its square root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How the gradient at the first weight layer compares with that at the last, predicted."""

    first: str
    last: str
    """The first and the last weight layer on the way to the loss."""
    ratio: float
    """Root-mean-square of an element of ∂L/∂weight, the first layer's over the last's. Where
    weights get none at all because they stand behind a learnable λ that starts at 0, instead of an
    element of the gradient that arrives at what the two layers read."""
    standard_error: float | None
    values: float | None
    """The same of what the two layers give, where both give equally many positions."""
    start: str
    """Where the gradient ends: what the first weight layer reads; its output if that has none."""
    energy: float
    """E‖∂L/∂start‖² over that at the reference output."""
    energy_error: float | None
    smallest: float
    largest: float
    """Mean squares of the outputs of the weight layers, the smallest above 0 and the largest."""
    method: str
    batch: int
    samples: int
    closed: str | None = None
    """The weight layer whose weights all start at 0, by which no gradient arrives at the first
    step; None where one does."""
    overflow: bool = False
    """Whether the gradient of some weight is infinite or NaN, so that nothing can be compared."""

    @property
    def flat(self) -> bool:
        """Whether nothing needs mending: see `trouble`."""
        return self.trouble is None

    @property
    def trouble(self) -> str | None:
        """What needs mending, in words; None where nothing does.

        Mostly that the weights' gradients are not within a factor of ten. In a chain without
        biases they are even where all vanishes or explodes, as ∂L/∂W is the product of a gradient
        and a value, of which one grows as the other shrinks; so both are looked at too.
        """
        if self.overflow:
            return "values or gradients overflow: they are infinite or NaN"
        if not 1 / FLAT <= self.ratio <= FLAT:
            return "the gradients of the weights differ by more than a factor of 10"
        if self.values is not None and not _WILD**-0.5 <= self.values <= _WILD**0.5:
            return f"an element of ∂L/∂output is {self.values:.2g} times as large"
        for moment in (self.smallest, self.largest):
            if not 1 / _WILD <= moment <= _WILD:
                return f"the outputs of some layers have a mean square of {moment:.2g}"
        return None

    @property
    def distance(self) -> float:
        """Powers of ten between this network and a flat one; ∞ where no gradient arrives.

        ∞ too where one overflows, so that whatever makes it finite comes first.
        The worse of weights and values; and half of what the values' own sizes are beyond sane.
        """
        if self.overflow:
            return math.inf
        ratios = [self.ratio] if self.values is None else [self.ratio, self.values]
        away = max(_decades(ratio) for ratio in ratios)
        beyond = max(_decades(self.smallest), _decades(self.largest)) - math.log10(_SANE)
        return away + max(0.0, beyond) / 2

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; numbers that are not finite are null."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in {**fields, "flat": self.flat, "trouble": self.trouble}.items()
        }


def effect_of(prediction: Prediction) -> Effect:
    """Return what a prediction says of the two ends of its network.

    Raises:
        UsageError: the network has fewer than two weight layers, or its prediction is of bounds
            alone, which say nothing of a typical size.
    """
    graph = prediction.graph
    layers = weight_layers(graph)
    if len(layers) < 2:
        raise UsageError(f"{graph.name!r} has fewer than two weight layers to compare")
    if not prediction.parameters:
        raise UsageError(f"{graph.name!r} is too large: {prediction.reason}")
    shapes = infer(graph)
    first, last = layers[0], layers[-1]
    ratio, error = _divided(_weight_rms(prediction, first), _weight_rms(prediction, last))
    if not (ratio > 0 and math.isfinite(ratio)) and _starts_closed(graph):
        ratio, error = _divided(
            _value_rms(prediction, _read(graph, first), shapes),
            _value_rms(prediction, _read(graph, last), shapes),
        )
    values = None
    if _positions(shapes, first.name) == _positions(shapes, last.name):
        values, _ = _divided(
            _value_rms(prediction, first.name, shapes), _value_rms(prediction, last.name, shapes)
        )
        values = values if values > 0 else None
    start = _read(graph, first)
    end = prediction.nodes[start]
    overflow = any(not math.isfinite(item.rms) for item in prediction.parameters.values())
    found = [prediction.nodes[node.name].second_moment for node in layers]
    moments = [moment for moment in found if moment] or [1.0]
    return Effect(
        first=first.name,
        last=last.name,
        ratio=ratio,
        standard_error=error,
        values=values,
        start=start,
        energy=math.nan if end.energy is None else end.energy,
        energy_error=end.standard_error,
        smallest=min(moments),
        largest=max(moments),
        method=prediction.method,
        closed=None if end.energy or overflow else _closed(graph, layers),
        batch=prediction.batch,
        samples=prediction.samples,
        overflow=overflow,
    )


def weight_layers(graph: Graph) -> list[Node]:
    """Return the weight layers that send a gradient back, in the graph's order."""
    return [
        node
        for node in graph.nodes
        if node.op is not None and node.op.op.weight_layer and graph.reaches_loss(node.name)
    ]


def _decades(ratio: float) -> float:
    return abs(math.log10(ratio)) if 0 < ratio < math.inf else math.inf


_Estimate = tuple[float, float | None]
"""A number and its standard error."""


def _divided(above: _Estimate, below: _Estimate) -> _Estimate:
    """Return a quotient; its error is that of independent numbers, which is on the safe side."""
    if not (below[0] > 0 and math.isfinite(above[0])):
        return math.nan, None
    ratio = above[0] / below[0]
    if above[1] is None or below[1] is None or not above[0]:
        return ratio, None
    return ratio, ratio * math.hypot(above[1] / above[0], below[1] / below[0])


def _weight_rms(prediction: Prediction, node: Node) -> _Estimate:
    """Return the root-mean-square over all weights of a layer (a recurrent one has several)."""
    prefix = f"{node.module}."
    found = [
        item
        for name, item in prediction.parameters.items()
        if name.startswith(prefix) and "weight" in name[len(prefix) :]
    ]
    alive = [item for item in found if item.rms > 0]
    if not alive:
        return 0.0, None
    energy = sum(item.norm**2 for item in found)
    count = sum((item.norm / item.rms) ** 2 for item in alive)
    errors = [item.standard_error or 0.0 for item in alive]
    rms = math.sqrt(energy / count)
    return rms, rms * max(e / item.rms for e, item in zip(errors, alive, strict=True))


def _value_rms(prediction: Prediction, name: str, shapes: Shapes) -> _Estimate:
    found = prediction.nodes.get(name)
    if found is None or not found.energy:
        return 0.0, None
    rms = math.sqrt(found.energy / math.prod(shapes[name].shape))
    error = found.standard_error
    return rms, None if error is None else rms * error / (2 * found.energy)


def _positions(shapes: Shapes, name: str) -> int:
    value = shapes[name]
    axis = value.channel_axis
    sizes = (1, *value.shape)
    return math.prod(sizes) // (sizes[axis] if axis is not None else 1)


def _read(graph: Graph, node: Node) -> str:
    """Return the value that a layer reads first, or itself if no gradient goes further."""
    carrying = [e.source for e in graph.edges_into(node.name) if e.gradient]
    return carrying[0] if carrying else node.name


def _closed(graph: Graph, layers: Sequence[Node]) -> str | None:
    """Return the last weight layer whose weights start at 0."""
    everywhere = dict(graph.init).get("weight")
    closed = [n.name for n in layers if dict(n.init).get("weight", everywhere) == 0]
    return closed[-1] if closed else None


def _starts_closed(graph: Graph) -> bool:
    return any(edge.scale.learn is not None and edge.scale.value == 0 for edge in graph.edges)
