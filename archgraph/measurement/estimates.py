"""Means, ratios of means, and how sure they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Estimate", "log_mean", "mean", "ratio", "root_mean"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its standard error, None where it has none."""

    value: float
    standard_error: float | None


def mean(sample: Tensor) -> Estimate:
    """Return the mean of independent values, shape (networks,)."""
    return Estimate(float(sample.mean()), _error(sample))


def ratio(numerator: Tensor, denominator: Tensor) -> Estimate:
    """Return E[numerator] / E[denominator] of pairs, shape (networks,) each.

    The standard error is that of the residuals numerator − ratio·denominator (delta method), so
    that what both have in common does not count.
    """
    base = float(denominator.mean())
    if base == 0:
        return Estimate(math.nan, None)
    value = float(numerator.mean()) / base
    return Estimate(value, _error(numerator / base - value * (denominator / base)))


def log_mean(numerator: Tensor, denominator: Tensor) -> Estimate:
    """Return E ln(numerator / denominator), −∞ if a value is zero."""
    logs = (numerator / denominator).log()
    return Estimate(float(logs.mean()), _error(logs))


def root_mean(sample: Tensor, count: int) -> Estimate:
    """Return √(E[sample] / count), the root-mean-square per element of `count` elements."""
    square = float(sample.mean())
    error = _error(sample)
    root = math.sqrt(square / count)
    if error is None or square == 0:
        return Estimate(root, error)
    return Estimate(root, error / (2 * math.sqrt(square * count)))


def _error(sample: Tensor) -> float | None:
    if len(sample) < 2:
        return None
    error = float(sample.std() / math.sqrt(len(sample)))
    return error if math.isfinite(error) else None
