"""How far apart two computations of one gradient may be: the one table of tolerances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch

from archgraph.errors import UsageError

__all__ = ["TOLERANCES", "Tolerance", "as_dtype", "tolerance_of"]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest errors that are still rounding, each relative to what its field says."""

    algebra: float
    """Path sum against autograd, relative to Σ‖g_p‖: both are the same products of the same
    Jacobians in another order of summation, so a few thousand roundings at most."""
    module: float
    """The tape against the compiled module, relative to the norm of either: the same kernels in
    another order of summation, but errors made near the loss are carried down the whole network."""
    conservation: float
    """Shares of edges, relative to max(1, Σ|share|): a VJP and a JVP sweep meet at every node,
    each with the rounding of the whole network in it."""
    cancelled: float
    """The tape against the compiled module where terms cancel, relative to the gradient that would
    be there if nothing cancelled: rounding alone, since what is left of a sum is noise."""


TOLERANCES: Final[Mapping[torch.dtype, Tolerance]] = {
    torch.float64: Tolerance(algebra=1e-12, module=1e-10, conservation=1e-9, cancelled=1e-14),
    torch.float32: Tolerance(algebra=1e-4, module=1e-3, conservation=1e-3, cancelled=1e-5),
}


def as_dtype(name: str | torch.dtype) -> torch.dtype:
    """Return the dtype called `name`, for which there are tolerances.

    Raises:
        UsageError: there are none: a gradient in fewer bits cannot be told from a wrong one.

    Example:
        >>> as_dtype("float64")
        torch.float64
    """
    dtype = getattr(torch, name, None) if isinstance(name, str) else name
    if dtype not in TOLERANCES:
        raise UsageError(f"the precision is float64 or float32, not {str(name)!r}")
    assert isinstance(dtype, torch.dtype)
    return dtype


def tolerance_of(dtype: torch.dtype) -> Tolerance:
    """Return the tolerances of a dtype, or raise `UsageError`; see `as_dtype`."""
    return TOLERANCES[as_dtype(dtype)]
