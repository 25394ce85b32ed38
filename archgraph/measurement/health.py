"""Is a gradient too small, too large, or none at all? By node and by parameter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["DEFAULT_THRESHOLDS", "Fault", "Health", "Thresholds", "faults_of"]

Fault: TypeAlias = Literal["nan", "inf", "zero", "vanishing", "exploding", "dead", "saturated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From where on something is wrong."""

    vanishing: float = 1e-7
    """Norms below."""
    exploding: float = 1e3
    """Norms above."""
    relative_vanishing: float = 1e-3
    """Root-mean-squares per element below this part of the reference's."""
    relative_exploding: float = 1e3
    """Root-mean-squares per element above this multiple of the reference's."""
    dead: float = 0.9
    """Fraction of the units of an activation from which on it is called dead."""
    saturated: float = 0.5
    """Fraction of its elements from which on it is called saturated."""


DEFAULT_THRESHOLDS: Final = Thresholds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the gradient at one node or parameter looks, over all networks."""

    norm: float
    """√E‖∂L/∂V‖²."""
    rms: float
    """The same per element."""
    relative: float | None
    """`rms` over that of the reference: of nodes the reference output, of parameters the weight
    that is used last."""
    mean: float
    """Of all elements of all networks."""
    max: float
    """Largest absolute value of an element in any network."""
    dead: float | None = None
    """Activations: fraction of the units whose slope is exactly zero for the whole batch."""
    saturated: float | None = None
    """Activations bounded on both sides: fraction of the elements whose slope is below 5 % of the
    largest."""
    faults: tuple[Fault, ...] = ()
    """What is wrong, worst first."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def faults_of(
    thresholds: Thresholds,
    *,
    norm: float,
    relative: float | None,
    dead: float | None = None,
    saturated: float | None = None,
) -> tuple[Fault, ...]:
    """Return what is wrong with a gradient, worst first.

    Args:
        thresholds: From where on something is.
        norm: Of the gradient; NaN or infinite if one of its elements was.
        relative: Its root-mean-square per element over that of the reference, if there is one.
        dead: Fraction of dead units.
        saturated: Fraction of saturated elements.

    Example:
        >>> faults_of(DEFAULT_THRESHOLDS, norm=1e-9, relative=0.5)
        ('vanishing',)
    """
    found: list[Fault] = []
    if math.isnan(norm):
        found.append("nan")
    elif math.isinf(norm):
        found.append("inf")
    elif norm == 0:
        found.append("zero")
    elif norm < thresholds.vanishing or _below(relative, thresholds.relative_vanishing):
        found.append("vanishing")
    elif norm > thresholds.exploding or _above(relative, thresholds.relative_exploding):
        found.append("exploding")
    if dead is not None and dead >= thresholds.dead:
        found.append("dead")
    if saturated is not None and saturated >= thresholds.saturated:
        found.append("saturated")
    return tuple(found)


def _below(value: float | None, threshold: float) -> bool:
    return value is not None and value < threshold


def _above(value: float | None, threshold: float) -> bool:
    return value is not None and value > threshold
