"""What a population remembers of one node: how to pull cotangents back through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, final

import torch
from torch import Tensor

from archgraph.prediction.population import LEADING, Bundle, Segment, split_axis
from archgraph.prediction.weights import Core

__all__ = ["Cell", "CoreCell", "EdgeBundle", "LocalCell", "LoopCell", "Uses", "total_of"]

K = TypeVar("K", bound=Hashable)
EdgeBundle = dict[int, Tensor]


@dataclass
class Uses:
    """The gradients of parameters, gathered while a sweep goes backwards."""

    replicas: int
    names: Mapping[str, str]
    """For a tied parameter the name that it is gathered under."""
    tensors: dict[str, Tensor] = field(default_factory=dict)
    """∂L/∂ parameter, shape (networks, replicas, …)."""
    known: dict[str, Tensor] = field(default_factory=dict)
    """‖∂L/∂P‖² by parameter, where nothing else is known of it."""
    factors: dict[str, list[tuple[Tensor, Tensor, bool]]] = field(default_factory=dict)
    """Of weights that are never made: inputs, cotangents, whether replicas are one layer."""

    def add(self, name: str, gradient: Tensor) -> None:
        """Add the gradient of one use."""
        name = self.names.get(name, name)
        known = self.tensors.get(name)
        self.tensors[name] = gradient if known is None else known + gradient

    def add_factors(self, name: str, inputs: Tensor, cotangents: Tensor, *, limit: bool) -> None:
        """Add the gradient Σ z̄·hᵀ of one use, by its factors."""
        self.factors.setdefault(self.names.get(name, name), []).append((inputs, cotangents, limit))

    def energies(self) -> dict[str, Tensor]:
        """Return ‖∂L/∂P‖² by parameter, shape (networks,); over replicas their mean."""
        found = {
            name: self._square(gradient)
            for name, gradient in self.tensors.items()
            if name not in self.factors
        }
        for name, uses in self.factors.items():
            found[name] = self._outer(name, uses)
        return found | self.known

    def _square(self, gradient: Tensor) -> Tensor:
        # One tensor for all replicas has the sum of their gradients, which are not aligned.
        shared = self.replicas / gradient.shape[1]
        rows = gradient.reshape(*gradient.shape[:2], -1)
        norms: Tensor = torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64)
        return norms.square().mean(1) / shared

    def _outer(self, name: str, uses: list[tuple[Tensor, Tensor, bool]]) -> Tensor:
        if uses[0][2]:
            return sum(_population_outer(h, z) for h, z, _ in uses)  # type: ignore[return-value]
        if name in self.tensors and self.replicas > 1:
            # In the limit a row that is looked up and a matrix do not interfere.
            apart = {k: v for k, v in self.tensors.items() if k != name}
            return self._square(self.tensors[name]) + Uses(1, {}, apart)._outer(name, uses)
        h = torch.cat([h for h, *_ in uses], -2)
        z = torch.cat([z for _, z, _ in uses], -2)
        if name in self.tensors:  # also used where it is differentiated as a tensor
            extra = split_axis(self.tensors[name], 2, (h.shape[2], -1)).flatten(4)
            return (z.mT @ h + extra).square().flatten(2).sum(-1).mean(1)
        vectors, fan_in, fan_out = h.shape[-2], h.shape[-1], z.shape[-1]
        if vectors * (fan_in + fan_out) > fan_in * fan_out:
            return (z.mT @ h).double().square().flatten(2).sum(-1).mean(1)
        return ((h @ h.mT) * (z @ z.mT).double()).flatten(2).sum(-1).mean(1)


def _population_outer(h: Tensor, z: Tensor) -> Tensor:
    """Return ‖Σ z̄·hᵀ‖² of a layer whose inputs' second moments are those of all replicas."""
    grams = [(x @ x.mT).mean(1).double() for x in (h, z)]
    return (grams[0] * grams[1]).flatten(1).sum(-1)


class Cell(ABC):
    """One node of one sweep."""

    values: Bundle
    """What it gives, by element, without history."""

    @abstractmethod
    def pull(self, cotangents: Sequence[Bundle], uses: Uses) -> list[EdgeBundle]:
        """Pull cotangents back to the in-edges, and note the gradients of parameters.

        Args:
            cotangents: Of the node's elements, one bundle per grade.
            uses: Where the gradient of parameters goes, summed over the grades.

        Returns:
            By in-edge, for each of the cotangents.
        """


def total_of(cotangents: Sequence[Bundle]) -> Bundle:
    """Return the sum of bundles, element by element."""
    total = dict(cotangents[0])
    for bundle in cotangents[1:]:
        for element, tensor in bundle.items():
            total[element] = total[element] + tensor if element in total else tensor
    return total


@final
class LocalCell(Cell):
    """A node that autograd differentiates as it is."""

    def __init__(self, segment: Segment[int], names: Mapping[str, str]) -> None:
        """Keep the piece; `names` are the parameters that its own stand for."""
        self.segment, self.names = segment, names
        self.values = segment.values

    def pull(self, cotangents: Sequence[Bundle], uses: Uses) -> list[EdgeBundle]:
        """See `Cell`."""
        if self.segment.parameters:
            for key, gradient in self.segment.pull_parameters(total_of(cotangents)).items():
                uses.add(self.names[key], gradient)
        return self.segment.pull(cotangents)


@final
class CoreCell(Cell):
    """A weight layer: what comes before its matrix, the matrix, and what comes after."""

    def __init__(
        self,
        name: str,
        core: Core,
        before: Segment[int],
        after: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Bundle],
        bias: Mapping[str, Tensor],
        scales: Mapping[str, str],
        *,
        limit: bool,
    ) -> None:
        self.name, self.core, self.before, self.limit = name, core, before, limit
        self.scales = scales
        product = core.forward(before.values[0])
        self.after = Segment[str].run(after, {"product": product}, bias)
        self.values = self.after.values

    def pull(self, cotangents: Sequence[Bundle], uses: Uses) -> list[EdgeBundle]:
        """See `Cell`."""
        if self.after.parameters:
            for name, gradient in self.after.pull_parameters(total_of(cotangents)).items():
                uses.add(name, gradient)
        pulled = [found["product"] for found in self.after.pull(cotangents)]
        inputs = self.before.values[0]
        uses.add_factors(self.name, inputs, sum(pulled), limit=self.limit)  # type: ignore[arg-type]
        if not (self.before.outputs[0].requires_grad):
            return [{} for _ in cotangents]
        # All grades meet the same matrix, so they go through it side by side.
        back = self.core.backward(torch.cat(pulled, -2)).chunk(len(pulled), -2)
        bundles: list[Bundle] = [{0: part} for part in back]
        if self.before.parameters:
            for key, gradient in self.before.pull_parameters(total_of(bundles)).items():
                uses.add(self.scales[key], gradient)
        return self.before.pull(bundles)


@final
class LoopCell(Cell):
    """A node whose op is run for one network after another, each with weights of its own."""

    def __init__(
        self,
        merge: Segment[int],
        calls: Sequence[Segment[int]],
        leading: tuple[int, int],
        names: Mapping[str, str],
    ) -> None:
        """Keep the calls.

        Args:
            merge: Gives what the i-th port reads as element i.
            calls: For every network, or for every replica of every network.
            leading: (networks, replicas).
            names: Full names of the parameters, learnable λ included.
        """
        self.merge, self.calls, self.names, self.leading = merge, calls, names, leading
        self.values = {
            element: self._join([call.values[element] for call in calls])
            for element in calls[0].outputs
        }

    def pull(self, cotangents: Sequence[Bundle], uses: Uses) -> list[EdgeBundle]:
        """See `Cell`."""
        if self.calls[0].parameters:
            self._add_parameters(self._split(total_of(cotangents)), uses)
        bundles = [self._pull(bundle) for bundle in cotangents]
        if self.merge.parameters:
            for key, gradient in self.merge.pull_parameters(total_of(bundles)).items():
                uses.add(self.names[key], gradient)
        return self.merge.pull(bundles)

    def _add_parameters(self, cotangents: list[Bundle], uses: Uses) -> None:
        pulled = [
            call.pull_parameters(bundle)
            for call, bundle in zip(self.calls, cotangents, strict=True)
        ]
        for key in self.calls[0].parameters:
            gradient = torch.stack([found[key] for found in pulled])
            uses.add(self.names[key], split_axis(gradient, 0, (self.leading[0], -1)))

    def _pull(self, bundle: Bundle) -> Bundle:
        pulled = [
            call.pull([part])[0] for call, part in zip(self.calls, self._split(bundle), strict=True)
        ]
        return {port: self._join([found[port] for found in pulled]) for port in pulled[0]}

    def _split(self, bundle: Bundle) -> list[Bundle]:
        """Return a bundle of (networks, replicas, batch, …) for each call."""
        count = len(self.calls)
        return [
            {element: t.reshape(count, -1, *t.shape[LEADING:])[i] for element, t in bundle.items()}
            for i in range(count)
        ]

    def _join(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(parts)).reshape(*self.leading, -1, *parts[0].shape[1:])
