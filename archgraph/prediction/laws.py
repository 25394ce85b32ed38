"""How parameters start: the law of every tensor's entries, and draws of many tensors at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from archgraph.graph import Graph, Node
from archgraph.module.initialisers import matching_parameters
from archgraph.module.shapes import Shapes
from archgraph.ops import OpCall

__all__ = ["Law", "chosen_starts", "parameter_laws"]

Kind = Literal["gaussian", "uniform", "truncated", "constant", "orthogonal", "other"]

_INDEPENDENT: Final = frozenset({"gaussian", "uniform", "truncated", "constant"})


@dataclass(frozen=True)
class Law:
    """The distribution that a parameter is drawn from."""

    shape: tuple[int, ...]
    kind: Kind
    mean: float = 0.0
    """Of an entry."""
    std: float = 0.0
    """Of an entry; of an orthogonal matrix that of a Gaussian one of the same energy."""
    bounds: tuple[float, float] = (-math.inf, math.inf)
    """Truncated: where."""
    untruncated: tuple[float, float] = (0.0, 1.0)
    """Truncated: mean and standard deviation of the Gaussian that is cut."""
    call: OpCall | None = field(default=None, compare=False)

    @property
    def is_gaussian(self) -> bool:
        """Whether the entries are independent and Gaussian; a constant is that too."""
        return self.kind in ("gaussian", "constant")

    @property
    def is_independent(self) -> bool:
        """Whether the entries are independent and alike, so that any part can be drawn alone."""
        return self.kind in _INDEPENDENT

    def draw(self, *leading: int, shape: tuple[int, ...] | None = None) -> Tensor:
        """Draw `leading` tensors of this law, of torch's default type and from its random state.

        Args:
            leading: How many: the leading axes of the result.
            shape: Of each, where only a part is wanted; default the parameter's own.
        """
        full = (*leading, *(self.shape if shape is None else shape))
        if self.kind == "constant":
            return torch.full(full, self.mean)
        if self.kind == "gaussian":
            return self.mean + self.std * torch.randn(full)
        if self.kind == "uniform":
            reach = math.sqrt(3) * self.std
            return self.mean + reach * (2 * torch.rand(full) - 1)
        if self.kind == "truncated":
            tensor = torch.empty(full)
            nn.init.trunc_normal_(tensor, *self.untruncated, *self.bounds)
            return tensor
        if self.kind == "orthogonal":
            return self._draw_orthogonal(leading)
        return self._draw_each(leading)

    def _draw_orthogonal(self, leading: tuple[int, ...]) -> Tensor:
        rows, columns = self.shape[0], math.prod(self.shape[1:])
        long, short = max(rows, columns), min(rows, columns)
        normal = torch.randn(*leading, long, short)
        basis, upper = torch.linalg.qr(normal)
        basis = basis * upper.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
        matrix: Tensor = basis if rows >= columns else basis.mT
        return matrix.reshape(*leading, *self.shape) * (self.std * math.sqrt(long))

    def _draw_each(self, leading: tuple[int, ...]) -> Tensor:
        assert self.call is not None
        many = torch.empty(math.prod(leading), *self.shape)
        for tensor in many:
            getattr(nn.init, f"{self.call.name}_")(tensor, **_plain(self.call))
        return many.reshape(*leading, *self.shape)


def _plain(call: OpCall) -> dict[str, Any]:
    return {name: v if isinstance(v, str | int) else float(v) for name, v in call.arguments}


def chosen_starts(graph: Graph, shapes: Shapes) -> dict[str, Any]:
    """Return, for each parameter that the spec initialises, the initialiser's call or number."""
    chosen: dict[str, Any] = {}
    for node in graph.nodes:
        if node.op is None or node.module is None:
            continue
        spec_wide = graph.init if node.op.op.weight_layer else ()
        for name, value in (*spec_wide, *node.init):
            for parameter in matching_parameters(shapes.parameters, node, name):
                chosen[parameter] = value
    return chosen


def parameter_laws(graph: Graph, shapes: Shapes) -> dict[str, Law]:
    """Return the law of every parameter whose start archgraph knows, learnable λ included.

    Parameters that are tied have one law, under each of their names. The parameters of recurrent
    nets, attention modules and a user's own classes are not among them.
    """
    chosen = chosen_starts(graph, shapes)
    found: dict[str, Law] = {}
    for node in graph.nodes:
        if node.op is None or node.module is None:
            continue
        for name in node.op.parameter_paths(node.module):
            shape = shapes.parameters.get(name)
            if shape is None:
                continue
            law = start_law(chosen[name], shape) if name in chosen else _default(node, name, shapes)
            if law is not None:
                found[name] = law
    for name, shared in graph.ties:
        known = [n for n in (shared, name) if n in found]
        explicit = [n for n in known if n in chosen]
        for tied in (name, shared):
            if known:
                found[tied] = found[(explicit or known)[-1 if explicit else 0]]
    return found


def start_law(start: Any, shape: tuple[int, ...]) -> Law:
    """Return the law of a tensor that an initialiser, or a number, starts.

    Args:
        start: A number, or a call of a `torch.nn.init` function.
        shape: Of the parameter.
    """
    if not isinstance(start, OpCall):
        return Law(shape, "constant", float(start))
    get = {name: start.get(name) for name in (a.name for a in start.op.arguments)}
    match start.name:
        case "zeros" | "ones":
            return Law(shape, "constant", float(start.name == "ones"))
        case "constant":
            return Law(shape, "constant", float(start.get("val")))
        case "normal":
            return Law(shape, "gaussian", float(get["mean"]), float(get["std"]))
        case "uniform":
            low, high = float(get["a"]), float(get["b"])
            return Law(shape, "uniform", (low + high) / 2, (high - low) / math.sqrt(12))
        case "trunc_normal":
            return _truncated(shape, *(float(get[name]) for name in ("mean", "std", "a", "b")))
        case "xavier_normal" | "xavier_uniform":
            fan_in, fan_out = _fans(shape)
            std = float(get["gain"]) * math.sqrt(2 / (fan_in + fan_out))
            return Law(shape, "gaussian" if start.name == "xavier_normal" else "uniform", std=std)
        case "kaiming_normal" | "kaiming_uniform":
            fan = _fans(shape)[get["mode"] == "fan_out"]
            init_gain = nn.init.calculate_gain(get["nonlinearity"], float(get["a"]))
            kind: Kind = "gaussian" if start.name == "kaiming_normal" else "uniform"
            return Law(shape, kind, std=init_gain / math.sqrt(fan))
        case "orthogonal":
            longer = max(shape[0], math.prod(shape[1:]))
            return Law(shape, "orthogonal", std=float(get["gain"]) / math.sqrt(longer))
    return Law(shape, "other", *_moments(start, shape), call=start)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    field_size = math.prod(shape[2:])
    return shape[1] * field_size, shape[0] * field_size


def _truncated(shape: tuple[int, ...], mean: float, std: float, low: float, high: float) -> Law:
    """Return the law of N(mean, std²) cut to low … high, with its true moments."""
    a, b = (low - mean) / std, (high - mean) / std
    density = [math.exp(-z * z / 2) / math.sqrt(2 * math.pi) for z in (a, b)]
    inside = (math.erf(b / math.sqrt(2)) - math.erf(a / math.sqrt(2))) / 2
    shift = (density[0] - density[1]) / inside
    variance = 1 + (a * density[0] - b * density[1]) / inside - shift * shift
    return Law(
        shape,
        "truncated",
        mean + std * shift,
        std * math.sqrt(variance),
        bounds=(low, high),
        untruncated=(mean, std),
    )


def _moments(start: OpCall, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return mean and standard deviation of an entry, of an initialiser without a formula here."""
    if start.name == "sparse":
        kept = 1 - math.ceil(float(start.get("sparsity")) * shape[0]) / shape[0]
        return 0.0, float(start.get("std")) * math.sqrt(kept)
    ones = min(shape[0], shape[1]) / math.prod(shape)
    return ones, math.sqrt(ones * (1 - ones))


def _default(node: Node, name: str, shapes: Shapes) -> Law | None:
    """Return the law that torch gives a parameter by itself."""
    assert node.op is not None
    shape, op = shapes.parameters[name], node.op.op
    last = name.rpartition(".")[2]
    arguments = shapes.arguments[node.name]
    if op.name == "Linear" or op.family == "convolution":
        fan_in = _fans(shapes.parameters[f"{node.module}.weight"])[0]
        return Law(shape, "uniform", std=1 / math.sqrt(3 * fan_in))
    if op.family == "normalization":
        return Law(shape, "constant", float(last == "weight"))
    if op.name == "PReLU":
        return Law(shape, "constant", float(arguments.get("init", 0.25)))
    if op.name in ("Embedding", "EmbeddingBag"):
        return Law(shape, "gaussian", std=1.0)
    if op.is_parameter:
        return _parameter_start(arguments.get("init", node.op.get("init")), shape)
    return None


def _parameter_start(init: float | str, shape: tuple[int, ...]) -> Law:
    match init:
        case "normal":
            return Law(shape, "gaussian", std=1.0)
        case "uniform":
            return Law(shape, "uniform", 0.5, 1 / math.sqrt(12))
        case "trunc_normal":
            return _truncated(shape, 0.0, 1.0, -2.0, 2.0)
        case "zeros" | "ones":
            return Law(shape, "constant", float(init == "ones"))
    return Law(shape, "constant", float(init))


def canonical_names(ties: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """Return for each tied parameter the name under which its gradient is gathered."""
    names: dict[str, str] = {}
    for name, shared in ties:
        names[name] = names.get(shared, shared)
    return names
