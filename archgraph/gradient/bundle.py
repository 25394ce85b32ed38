"""The gradient at one place of the graph, and norms and shares that do not underflow.

A node's value may be a tuple, and an edge reads one element of it. So a cotangent is a *bundle*:
element → tensor, `{0: tensor}` nearly always; an element that is left out is zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Final, TypeAlias

import torch
from torch import Tensor

__all__ = [
    "Bundle",
    "accumulate",
    "difference",
    "differentiable",
    "fingerprint",
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
        known = result.get(element)
        result[element] = -tensor if known is None else known - tensor
    return result


def norm(bundle: Bundle) -> float:
    """Return the Euclidean norm ‖bundle‖.

    A gradient of size 1e-200, or 1e-45 in float32, has its true norm and not zero: where squares
    could underflow or overflow, each tensor is divided by its largest element first, in float64.

    Example:
        >>> norm({0: torch.full((4,), 1e-200, dtype=torch.float64)})
        2e-200
    """
    square = _plain(bundle, bundle)
    if _in_range(square, bundle):
        return math.sqrt(square)
    parts, largest = _scaled(bundle)
    return largest * math.sqrt(_plain(parts, parts))


def relative_share(part: Bundle, whole: Bundle) -> float | None:
    """Return ⟨part, whole⟩ / ⟨whole, whole⟩, the signed share of ‖whole‖²; None if whole is zero.

    Scaled as in `norm`.
    """
    square = _plain(whole, whole)
    if _in_range(square, whole) and _in_range(_plain(part, part), part):
        return _plain(part, whole) / square
    parts, largest = _scaled(part)
    wholes, reference = _scaled(whole)
    if reference == 0:
        return None
    return largest / reference * (_plain(parts, wholes) / _plain(wholes, wholes))


def inner(left: Bundle, right: Bundle, norms: tuple[float, float] | None = None) -> float:
    """Return ⟨left, right⟩, scaled as in `norm`; elements that one of them lacks count nothing.

    Args:
        left: The one.
        right: The other.
        norms: Theirs, if known.
    """
    sizes = norms or (norm(left), norm(right))
    if 0.0 in sizes:
        return 0.0
    if _in_range(sizes[0] ** 2, left) and _in_range(sizes[1] ** 2, right):
        return _plain(left, right)
    lefts, left_largest = _scaled(left)
    rights, right_largest = _scaled(right)
    return left_largest * (right_largest * _plain(lefts, rights))


def fingerprint(tensor: Tensor) -> tuple[float, float]:
    """Return a tensor's norm and its product with fixed random signs.

    Two tensors that differ by δ differ in the second by about ‖δ‖, so that one can be held against
    the other without keeping both.
    """
    flat = _flat(tensor)
    signs = _signs(flat.dtype, flat.device)
    runs = torch.split(flat, len(signs))
    product = sum(float(torch.dot(run, signs[: len(run)])) for run in runs)
    return norm({0: tensor}), product


@cache
def _signs(dtype: torch.dtype, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(2, (1 << 16,), generator=generator)
    return (2 * drawn - 1).to(device, dtype)


def is_finite(bundle: Bundle) -> bool:
    """Whether no element is infinite or NaN."""
    # A sum is finite only if its terms are, and takes a pass less than looking at each.
    return all(
        math.isfinite(_plain({0: t}, {0: t})) or bool(torch.isfinite(t).all())
        for t in bundle.values()
        if differentiable(t)
    )


def _in_range(square: float, bundle: Bundle) -> bool:
    """Whether a sum of squares is so far from the ends of its type that no term of it matters."""
    safe = _SAFE[False]
    for tensor in bundle.values():
        if tensor.dtype in _SINGLE:
            safe = _SAFE[True]
    return safe[0] < square < safe[1]


_SINGLE: Final = (torch.float32, torch.complex64)
_SAFE: Final = {True: (1e-20, 1e30), False: (1e-270, 1e300)}
"""By whether it is single precision: the sums of squares of up to 1e10 terms to be trusted."""
_RUN: Final = 1 << 22
"""Longest run that is added up in its own precision; runs are added in float64."""


def _plain(left: Bundle, right: Bundle) -> float:
    """Return ⟨left, right⟩ as the tensors stand."""
    total = 0.0
    for element, tensor in left.items():
        other = right.get(element)
        if other is not None:
            total += _dot(tensor, other)
    return total


def _dot(left: Tensor, right: Tensor) -> float:
    first = _flat(left)
    second = first if right is left else _flat(right)
    if first.dtype != second.dtype:
        first, second = first.double(), second.double()
    if first.numel() <= _RUN:
        return float(torch.dot(first, second))
    runs = zip(torch.split(first, _RUN), torch.split(second, _RUN), strict=True)
    return sum(float(torch.dot(a, b)) for a, b in runs)


def _flat(tensor: Tensor) -> Tensor:
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return real.detach().reshape(-1)


def _scaled(bundle: Bundle) -> tuple[dict[int, Tensor], float]:
    """Return the bundle in real float64 over its largest absolute value, and that value."""
    real = {element: _flat(t).double() for element, t in bundle.items()}
    largest = max((float(t.abs().max()) for t in real.values() if t.numel()), default=0.0)
    if largest == 0:
        return real, 0.0
    return {element: t / largest for element, t in real.items()}, largest
