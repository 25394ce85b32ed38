"""One network against its reference, given the very same weights, inputs and random draws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from archgraph.module import compile, draw
from archgraph.spec import load
from tests.parity.cases import Case

__all__ = ["TOLERANCE", "Parity", "compare", "different_keys", "shake"]

TOLERANCE: Final = 1e-6
"""For float32, relative: rounding, where the reference multiplies in another order. Where the ops
are the same in the same order, the difference is 0."""

_FLOOR: Final = 1e-4
"""A parameter's gradient counts as zero below this share of the largest: that of a bias before a
batch normalisation is zero but for rounding, of which nothing relative can be said."""

_SEED: Final = 0
_BATCH: Final = 2


@dataclass(frozen=True)
class Parity:
    """How far a network is from its reference."""

    name: str
    keys: int
    """How many entries the state has, in both; 0 if they differ."""
    first_difference: str | None
    """The first key that differs in name, place or shape."""
    output: float = float("nan")
    """max |Δ output|, over max |output|, in training and in evaluation."""
    buffers: float = float("nan")
    """max |Δ| of the running statistics after the step, relative to each one's largest."""
    gradient: float = float("nan")
    """The largest max |Δ gradient| of a parameter, relative to its own largest."""

    @property
    def ok(self) -> bool:
        """Whether all keys are equal and all differences rounding."""
        measured = (self.output, self.buffers, self.gradient)
        return self.first_difference is None and all(value <= TOLERANCE for value in measured)


def compare(case: Case) -> Parity:
    """Compare keys, outputs in training and evaluation, running statistics, and gradients."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return _compare(case)


def _compare(case: Case) -> Parity:
    graph = load(case.spec, **case.params)
    ours = compile(graph)
    reference = case.reference()
    shake(reference)
    state = case.state(reference.state_dict())
    difference = different_keys(ours.state_dict(), state)
    if difference is not None:
        return Parity(case.name, 0, difference)
    ours.load_state_dict(state)
    x = draw(graph, batch=_BATCH, seed=_SEED, dtype=torch.float32).inputs[0]
    evaluated = _evaluate(case, ours, reference, x)
    trained, gradient = _train(case, ours, reference, x)
    buffers = _worst(dict(ours.named_buffers()), case.state(dict(reference.named_buffers())), 0.0)
    return Parity(case.name, len(state), None, _largest(evaluated, trained), buffers, gradient)


def different_keys(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str | None:
    """Return the first entry that is not the same in name, place and shape, or None."""
    for (a, x), (b, y) in zip(ours.items(), theirs.items(), strict=False):
        if (a, x.shape) != (b, y.shape):
            return f"{a} {tuple(x.shape)}, reference {b} {tuple(y.shape)}"
    longer = max(ours, theirs, key=len)
    return next(iter(list(longer)[min(len(ours), len(theirs)) :]), None)


@torch.no_grad()
def shake(network: nn.Module) -> None:
    """Move every parameter and running statistic that is constant.

    Fresh networks hide mistakes: biases are all 0, LayerScale switches its branch off, the vision
    transformer's zero head lets no gradient through.
    """
    generator = torch.Generator().manual_seed(_SEED)
    entries = [*network.parameters(), *network.buffers()]
    for value in entries:
        if value.is_floating_point() and value.std(correction=0) < 1e-3:
            value *= torch.empty(value.shape).uniform_(0.8, 1.25, generator=generator)
            value += torch.empty(value.shape).normal_(0, 0.05, generator=generator).abs_()


def _evaluate(case: Case, ours: nn.Module, reference: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        return _difference(ours.eval()(x), case.output(reference.eval()(x)))


def _train(case: Case, ours: nn.Module, reference: nn.Module, x: Tensor) -> tuple[float, float]:
    """Return max |Δ output| of one step, and the worst relative Δ gradient."""
    outputs, gradients = [], []
    for network in (reference.train(), ours.train()):
        torch.manual_seed(_SEED)  # the same dropout
        value = network(x)
        outputs.append(case.output(value) if network is reference else value)
        readout = torch.randn(outputs[-1].shape, generator=torch.Generator().manual_seed(_SEED))
        (outputs[-1] * readout).sum().backward()
        gradients.append({name: p.grad for name, p in network.named_parameters()})
    difference = _difference(outputs[1].detach(), outputs[0].detach())
    return difference, _worst(gradients[1], case.state(gradients[0]), _FLOOR)


def _difference(ours: Tensor, reference: Tensor) -> float:
    return float((ours - reference).abs().max() / reference.abs().max())


def _worst(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], floor: float) -> float:
    """Return the largest difference of two tensors of one name, relative to the reference's."""
    assert ours.keys() == theirs.keys()
    sizes = {name: float(value.abs().max()) for name, value in theirs.items()}
    smallest = floor * max(sizes.values(), default=0.0)
    return _largest(
        *(
            float((ours[name] - theirs[name]).abs().max()) / max(size, smallest)
            for name, size in sizes.items()
            if size > 0 or float(ours[name].abs().max()) > 0
        )
    )


def _largest(*values: float) -> float:
    """Return the largest; NaN, which `max` may pass over, if there is one."""
    return next((value for value in values if math.isnan(value)), max(values, default=0.0))
