"""Convolutions of infinitely many channels over many positions.

Between what stands at two places of a field only two covariances are kept: the average one at the
same place, and the average one of two places. How covariance falls with distance is lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from archgraph.prediction.cells import Cell, EdgeBundle, Uses, total_of
from archgraph.prediction.population import LEADING, Bundle, Segment, split_axis
from archgraph.prediction.weights import roots

__all__ = ["AveragedCell", "Windows"]


@dataclass(frozen=True)
class Windows:
    """What a convolution's kernel sees."""

    view: Callable[[Tensor], Tensor]
    """(long batch, channels, …) → (long batch, channels, *out, *kernel), padded, not copied."""
    groups: int
    shape: tuple[int, ...]
    """Of what is read: channels first."""
    out: tuple[int, ...]
    kernel: tuple[int, ...]

    @property
    def places(self) -> int:
        """Positions of the result."""
        return math.prod(self.out)

    def taps(self) -> Tensor:
        """Return by tap of the kernel how often it sees each position, (taps, positions)."""
        ones = torch.ones(1, 1, *self.shape[1:], requires_grad=True)
        with torch.enable_grad():
            seen = self.view(ones).flatten(-len(self.kernel)).flatten(0, -2).sum(0)
        rows = [torch.autograd.grad(tap, ones, retain_graph=True)[0].flatten() for tap in seen]
        return torch.stack(rows)

    def covariances(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ over a row's inputs, at one place and between two, (networks, groups, b, b)."""
        networks, replicas, batch = x.shape[:LEADING]
        seen = self.view(x.flatten(0, LEADING - 1)).flatten(-len(self.kernel))
        same = mean = torch.zeros(())
        for tap in seen.unbind(-1):
            parts = tap.reshape(networks, replicas, batch, self.groups, -1, self.places)
            rows = parts.permute(0, 3, 2, 1, 4, 5).flatten(3)
            means = parts.mean(-1).permute(0, 3, 2, 1, 4).flatten(3)
            same = same + rows @ rows.mT / (self.places * replicas)
            mean = mean + means @ means.mT / replicas
        return same, _between(same, mean, self.places)


def _between(same: Tensor, mean: Tensor, places: int) -> Tensor:
    """Return the average covariance of two different places, from that of their mean."""
    return (places * mean - same) / (places - 1) if places > 1 else torch.zeros_like(same)


def _field_covariances(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return Σ over channels, of fields (networks, replicas, groups, b, channels, places)."""
    replicas, places = z.shape[1], z.shape[-1]
    rows = z.permute(0, 2, 3, 1, 4, 5).flatten(3)
    means = z.mean(-1).permute(0, 2, 3, 1, 4).flatten(3)
    same = rows @ rows.mT / (places * replicas)
    return same, _between(same, means @ means.mT / replicas, places)


def _mixed(covariance: Tensor, replicas: int, size: int) -> Tensor:
    """Return Gaussians of a covariance: (networks, replicas, groups, b, size)."""
    root = roots(covariance)[0].unsqueeze(1).expand(-1, replicas, -1, -1, -1)
    return root @ torch.randn(*root.shape[:-1], size)


@final
class AveragedCell(Cell):
    """A convolution of Gaussian kernels, none of which is made."""

    def __init__(
        self,
        name: str,
        windows: Windows,
        std: float,
        channels: int,
        before: Segment[int],
        after: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Bundle],
        bias: Mapping[str, Tensor],
        scales: Mapping[str, str],
    ) -> None:
        """Convolve.

        Args:
            name: Of the weights.
            windows: What the kernel sees.
            std: Of an entry of the kernels.
            channels: Of the result.
            before: Merges what the layer reads.
            after: Adds the bias to the element `product`.
            bias: The bias, if there is one.
            scales: Parameters that stand for those of `before`.
        """
        self.name, self.windows, self.std, self.before = name, windows, std, before
        self.scales = scales
        x = before.values[0]
        self.read = windows.covariances(x)
        self.after = Segment[str].run(after, {"product": self._forward(x, channels)}, bias)
        self.values = self.after.values

    def _forward(self, x: Tensor, channels: int) -> Tensor:
        same, between = self.read
        replicas, places = x.shape[1], self.windows.places
        size = channels // self.windows.groups
        own = split_axis(_mixed(same - between, replicas, size * places), -1, (size, places))
        z = own + _mixed(between, replicas, size).unsqueeze(-1)
        # (networks, replicas, groups, b, channels, places) → (networks, replicas, b, C, *out)
        fields = z.transpose(2, 3).flatten(3, 4)
        return self.std * split_axis(fields, -1, self.windows.out)

    def pull(self, cotangents: Sequence[Bundle], uses: Uses) -> list[EdgeBundle]:
        """See `Cell`."""
        if self.after.parameters:
            for name, gradient in self.after.pull_parameters(total_of(cotangents)).items():
                uses.add(name, gradient)
        pulled = [self._fields(found["product"]) for found in self.after.pull(cotangents)]
        self._note_weights(torch.stack(pulled).sum(0), uses)
        if not self.before.outputs[0].requires_grad:
            return [{} for _ in cotangents]
        # All grades meet the same kernels, so they go through them side by side.
        back = self._backward(torch.cat(pulled, 3)).chunk(len(pulled), 2)
        bundles: list[Bundle] = [{0: part} for part in back]
        if self.before.parameters:
            for key, gradient in self.before.pull_parameters(total_of(bundles)).items():
                uses.add(self.scales[key], gradient)
        return self.before.pull(bundles)

    def _fields(self, cotangent: Tensor) -> Tensor:
        """Return (networks, replicas, b, C, *out) as (…, groups, b, channels, places)."""
        split = split_axis(cotangent.flatten(4), 3, (self.windows.groups, -1))
        return split.transpose(2, 3)

    def _note_weights(self, z: Tensor, uses: Uses) -> None:
        (h_same, h_between), (z_same, z_between) = self.read, _field_covariances(z)
        places = self.windows.places
        pairs = h_same * z_same + (places - 1) * h_between * z_between
        uses.known[self.name] = places * pairs.double().flatten(1).sum(-1)

    def _backward(self, z: Tensor) -> Tensor:
        same, between = _field_covariances(z)
        windows, replicas = self.windows, z.shape[1]
        taps = windows.taps()
        size, positions = windows.shape[0] // windows.groups, taps.shape[1]
        own = split_axis(_mixed(same - between, replicas, size * positions), -1, (size, positions))
        own = own * taps.sum(0).sqrt()
        # What is the same at all places comes back once for every tap that reaches a position.
        common = split_axis(_mixed(between, replicas, size * len(taps)), -1, (size, len(taps)))
        fields = (own + common @ taps).transpose(2, 3).flatten(3, 4)
        return self.std * split_axis(fields, -1, windows.shape[1:])
