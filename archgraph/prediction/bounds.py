"""An upper bound of every gradient, from operator norms: one linear pass, nothing sampled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import nn

from archgraph.graph import Edge, Graph, Node
from archgraph.module.instances import instantiate
from archgraph.module.shapes import Shapes
from archgraph.prediction.families import treatment
from archgraph.prediction.plan import Plan
from archgraph.prediction.ranges import Range, value_ranges

__all__ = ["Bounds", "bound_gradients"]

RISK: Final = 1e-3
"""Probability that a random matrix is larger than its bound, anywhere in the network."""
_NONNEGATIVE: Final = frozenset({"padding", "pooling", "reshaping", "resampling"})
_UNBOUNDED: Final = {
    "attention": "softmax weighs values that have no bound",
    "coupling": "softmax and its like are not bounded here",
    "normalization": "a norm divides by what it reads, which may be small",
}


@dataclass(frozen=True)
class Bounds:
    """Bounds of ‖∂L/∂V‖ relative to that at the reference output."""

    norms: Mapping[str, float | None]
    """By node; None where there is none."""
    reasons: Mapping[str, str]
    """By node without a bound: why."""

    def energy(self, node: str) -> float | None:
        """Return the bound of ‖∂L/∂V‖², None where there is none or it is no finite number."""
        norm = self.norms.get(node)
        if norm is None:
            return None
        square = norm * norm
        return square if math.isfinite(square) else None


def bound_gradients(plan: Plan, reference: str, *, train: bool) -> Bounds:
    """Bound every gradient by the sum over paths of products of operator norms.

    ‖x̄_v‖ ≤ Σ_p ∏ ‖J‖, summed in one pass from L backwards. A matrix of independent entries of
    standard deviation σ has a norm below σ(√fan_in + √fan_out + t) but for a chance of e^(−t²/2);
    t is such that all matrices hold together with probability 0.999. An activation counts with
    sup|φ'|, a gate with the bound of its other factors.

    Args:
        plan: The graph.
        reference: The output whose gradient has norm 1.
        train: Whether dropout is active and norms use the statistics of the batch.

    Cost: O(edges).
    """
    return _Bounding(plan, reference, train).run()


@dataclass
class _Bounding:
    plan: Plan
    reference: str
    train: bool
    norms: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    slopes: dict[str, float] = field(default_factory=dict)

    @property
    def graph(self) -> Graph:
        return self.plan.graph

    @property
    def shapes(self) -> Shapes:
        return self.plan.shapes

    def run(self) -> Bounds:
        self.ranges: Mapping[str, Range] = value_ranges(self.plan, train=self.train)
        matrices = sum(w.matrix.groups for w in self.plan.weights.values())
        self.excess = math.sqrt(2 * math.log(max(1, matrices) / RISK))
        gains: dict[tuple[str, str], float | str] = {}
        for node in reversed(self.graph.nodes):
            if node.kind == "loss":
                self.norms[node.name] = 1.0
                continue
            total: float | None = 0.0
            for index in self.graph.gradient_out_of[self.graph.positions[node.name]]:
                edge = self.graph.edges[index]
                key = edge.target, edge.port
                if key not in gains:
                    gains[key] = self.gain(self.graph.node(edge.target), edge.port)
                part = self.through(edge, gains[key], node)
                total = None if part is None or total is None else total + part
            self.norms[node.name] = total
        return Bounds(self.norms, self.reasons)

    def through(self, edge: Edge, gain: float | str, node: Node) -> float | None:
        """Return the bound of what an edge delivers; note why there is none."""
        if edge.target == "L":
            return self.seed(edge, node)
        behind = self.norms[edge.target]
        if behind == 0:
            return 0.0
        factor = self.factor(edge)
        reason = gain if isinstance(gain, str) else factor if isinstance(factor, str) else None
        if behind is None:
            self.reasons.setdefault(node.name, self.reasons[edge.target])
            return None
        if reason is not None:
            self.reasons.setdefault(node.name, f"'{edge.target}': {reason}")
            return None
        return float(factor) * float(gain) * behind

    def seed(self, edge: Edge, node: Node) -> float | None:
        terms = self.graph.loss
        scale = abs(float(edge.scale.value))
        if len(terms) == 1:
            return 1.0
        if node.name == self.reference:
            return 1.0
        if any(term.op is not None for term in terms):
            self.reasons.setdefault(node.name, "how the losses' gradients compare is not known")
            return None
        sizes = [math.prod(self.shapes[name].shape) for name in (node.name, self.reference)]
        return scale * math.sqrt(sizes[0] / sizes[1])

    def factor(self, edge: Edge) -> float | str:
        """Return |λ| and, in a product, the bound of the other factors."""
        factor = abs(float(edge.scale.value))
        if edge.kind != "multiply":
            return factor
        others = list(self.graph.ports(edge.target)[edge.port])
        for other in others:
            if other.index == edge.index:
                continue
            reach = self.ranges.get(other.source)
            if reach is None:
                return f"its factor '{other.source}' has no bound"
            factor *= abs(float(other.scale.value)) * max(abs(reach[0]), abs(reach[1]))
        return factor

    # --- operator norms -------------------------------------------------------------------------

    def gain(self, node: Node, port: str) -> float | str:
        """Return a bound of the op's Jacobian by one port, or why there is none."""
        if node.op is None:
            return 1.0
        op = node.op.op
        kind = treatment(node)
        if kind == "weights":
            return self.matrix(node)
        if kind == "prelu":
            law = self.plan.laws[f"{node.module}.weight"]
            return max(1.0, abs(law.mean)) if law.kind == "constant" else "its slopes are random"
        if kind == "loop":
            return f"nothing is known of {op.name}"
        if op.family == "activation":
            return self.slope(node)
        if op.family == "normalization" and not self.train and op.name.startswith("BatchNorm"):
            return 1.0
        if op.family == "affine":
            return abs(float(node.op.get("scale", 1)))
        if op.family == "dropout":
            return self.dropout(node)
        if op.family in _NONNEGATIVE and node.op.get("mode") != "bicubic":
            return self.moving(node)
        return _UNBOUNDED.get(op.family, f"{op.name} has no bound here")

    def layer(self, node: Node) -> nn.Module:
        assert node.op is not None
        arguments = dict(self.shapes.arguments[node.name])
        arguments.pop("inplace", None)
        layer = instantiate(node.op, arguments)
        assert isinstance(layer, nn.Module)
        return layer.double()

    def slope(self, node: Node) -> float:
        key = str(node.op)
        if key not in self.slopes:
            self.slopes[key] = slope_bound(self.layer(node))
        return self.slopes[key]

    def matrix(self, node: Node) -> float | str:
        weights = self.plan.weights[node.name]
        matrix, law = weights.matrix, weights.law
        sizes = math.sqrt(matrix.fan_in), math.sqrt(matrix.fan_out)
        if law.kind == "orthogonal":
            norm = law.std * max(math.sqrt(law.shape[0]), math.sqrt(math.prod(law.shape[1:])))
        elif law.is_independent:
            spread = law.std * (sum(sizes) + self.excess) if law.std else 0.0
            norm = spread + abs(law.mean) * math.prod(sizes)
        else:
            return "its initialiser has no bound here"
        return norm * math.sqrt(matrix.overlap)

    def dropout(self, node: Node) -> float | str:
        assert node.op is not None
        if not self.train:
            return 1.0
        if node.op.name not in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "DropPath"):
            return f"{node.op.name} has no bound here"
        rate = float(node.op.get("p", 0.5))
        return 1 / (1 - rate) if rate < 1 else 0.0

    def moving(self, node: Node) -> float | str:
        """Bound a matrix without negative entries: ‖J‖² ≤ largest row sum · largest column sum."""
        assert node.op is not None
        if not (node.op.op.linear or "MaxPool" in node.op.name or node.op.op.family != "pooling"):
            return f"{node.op.name} has no bound here"
        (value,) = [v for (name, _), v in self.shapes.merged.items() if name == node.name]
        ones = torch.ones(1, *value.shape, dtype=torch.float64, requires_grad=True)
        layer = self.layer(node)
        result = layer(ones)
        result = result[0] if isinstance(result, tuple) else result
        (columns,) = torch.autograd.grad(result.sum(), ones)
        if "Max" in node.op.name:
            # Every window may choose the same element.
            matrix = node.op.get("kernel_size"), node.op.get("stride")
            return _max_overlap(matrix[0], matrix[1], len(value.shape) - 1)
        rows = (result - layer(torch.zeros_like(ones))).abs().max()
        return math.sqrt(float(rows.detach() * columns.abs().max()))


def _max_overlap(kernel: object, stride: object, count: int) -> float:
    sizes = [kernel] * count if isinstance(kernel, int) else kernel
    steps = sizes if stride is None else [stride] * count if isinstance(stride, int) else stride
    if sizes is None or steps is None:
        return math.sqrt(2**count)  # adaptive windows overlap in one element at most
    pairs = zip(sizes, steps, strict=True)  # type: ignore[call-overload]
    return math.sqrt(math.prod(math.ceil(k / s) for k, s in pairs))


def slope_bound(layer: nn.Module, reach: float = 40.0) -> float:
    """Return sup|φ'| of an elementwise function, as autograd differentiates it.

    Found on a grid from −`reach` to `reach` and refined around the largest slope.

    Example:
        >>> slope_bound(nn.Sigmoid()), slope_bound(nn.Tanh()), slope_bound(nn.LeakyReLU(0.1))
        (0.25, 1.0, 1.0)
    """
    if isinstance(layer, nn.RReLU):
        return max(1.0, abs(layer.upper))
    centre, step, largest = 0.0, reach, 0.0
    for _ in range(3):
        grid = torch.linspace(centre - step, centre + step, 40_001, dtype=torch.float64)
        grid.requires_grad_(True)
        (slopes,) = torch.autograd.grad(layer(grid).sum(), grid)
        index = int(slopes.abs().argmax())
        largest = max(largest, float(slopes.abs()[index]))
        centre, step = float(grid.detach()[index]), step / 10_000
    return largest
