"""What of a gradient half precision would lose."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

__all__ = ["FORMATS", "Precision", "lose"]

FORMATS: Final = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Precision:
    """The elements of a gradient that a format rounds to zero or to infinity."""

    flushed: float
    """Share of the elements, those that are zero left out, that become zero."""
    overflown: float
    """Share of them that become infinite."""
    scale: int | None
    """The smallest power of two that the loss must be multiplied by for less than a thousandth to
    become zero; None where none does so without an overflow."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"flushed": self.flushed, "overflown": self.overflown, "loss_scale": self.scale}


def lose(gradients: Iterable[Tensor], dtype: torch.dtype) -> Precision:
    """Return what is lost of gradients when they are held in `dtype`.

    A number below half of the format's smallest one is rounded to zero: 2⁻²⁵ in float16, 2⁻¹³⁴ in
    bfloat16 (IEEE 754, rounding to nearest).

    Args:
        gradients: Of any shape.
        dtype: A floating type of 16 bits.
    """
    found = [tensor.detach().double().abs().flatten() for tensor in gradients]
    whole = torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)
    whole = whole[whole > 0]
    if not len(whole):
        return Precision(0.0, 0.0, None)
    info = torch.finfo(dtype)
    least = info.smallest_normal * info.eps / 2
    flushed = float((whole <= least).double().mean())
    overflown = float((whole > info.max).double().mean())
    small, largest = float(whole.kthvalue(1 + len(whole) // 1000).values), float(whole.max())
    exponent = max(0, math.floor(math.log2(least) - math.log2(small)) + 1)
    fits = math.log2(largest) + exponent < math.log2(info.max)
    return Precision(flushed, overflown, exponent if fits else None)
