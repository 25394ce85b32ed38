"""The gradient at one place of the graph, and norms and shares that do not underflow.

A node's value may be a tuple, and an edge reads one element of it. So a cotangent is a *bundle*:
element → tensor, `{0: tensor}` nearly always; an element that is left out is zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

__all__ = [
    "Bundle",
    "accumulate",
    "difference",
    "differentiable",
    "inner",
    "is_finite",
    "norm",
    "relative_share",
]

Bundle: TypeAlias = Mapping[int, Tensor]


def differentiable(tensor: Tensor) -> bool:
    """Whether a gradient can flow through it: integers and booleans have none."""
    return tensor.is_floating_point() or tensor.is_complex()


def accumulate(total: dict[int, Tensor], element: int, term: Tensor) -> None:
    """Add `term` to one element of `total`."""
    known = total.get(element)
    # Not in place: the first term is often a tensor that autograd also gave to someone else.
    total[element] = term if known is None else known + term


def difference(left: Bundle, right: Bundle) -> dict[int, Tensor]:
    """Return left − right."""
    result = dict(left)
    for element, tensor in right.items():
        accumulate(result, element, -tensor)
    return result


def norm(bundle: Bundle) -> float:
    """Return the Euclidean norm ‖bundle‖.

    Each tensor is divided by its largest element before it is squared, in float64, so that a
    gradient of size 1e-200, or 1e-45 in float32, has its true norm and not zero.

    Example:
        >>> norm({0: torch.full((4,), 1e-200, dtype=torch.float64)})
        2e-200
    """
    parts, largest = _scaled(bundle)
    return largest * math.sqrt(sum(float(part.square().sum()) for part in parts.values()))


def relative_share(part: Bundle, whole: Bundle) -> float | None:
    """Return ⟨part, whole⟩ / ⟨whole, whole⟩, the signed share of ‖whole‖²; None if whole is zero.

    Scaled as in `norm`.
    """
    parts, largest = _scaled(part)
    wholes, reference = _scaled(whole)
    if reference == 0:
        return None
    square = sum(float(tensor.square().sum()) for tensor in wholes.values())
    return largest / reference * (_dot(parts, wholes) / square)


def inner(left: Bundle, right: Bundle) -> float:
    """Return ⟨left, right⟩ in float64; elements that one of them lacks count nothing."""
    lefts, left_largest = _scaled(left)
    rights, right_largest = _scaled(right)
    return left_largest * (right_largest * _dot(lefts, rights))


def is_finite(bundle: Bundle) -> bool:
    """Whether no element is infinite or NaN."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in bundle.values())


def _scaled(bundle: Bundle) -> tuple[dict[int, Tensor], float]:
    """Return the bundle in real float64 over its largest absolute value, and that value."""
    real = {
        element: (torch.view_as_real(t) if t.is_complex() else t).detach().double().flatten()
        for element, t in bundle.items()
    }
    largest = max((float(t.abs().max()) for t in real.values() if t.numel()), default=0.0)
    if largest == 0:
        return real, 0.0
    return {element: t / largest for element, t in real.items()}, largest


def _dot(left: Bundle, right: Bundle) -> float:
    return sum(float(torch.dot(left[k], right[k])) for k in left.keys() & right.keys())
