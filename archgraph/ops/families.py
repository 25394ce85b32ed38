"""All op families, in one list."""

from __future__ import annotations

from typing import Final

from archgraph.ops import (
    activation,
    affine,
    attention,
    convolution,
    coupling,
    dropout,
    embedding,
    linear,
    loss,
    merging,
    normalization,
    padding,
    pooling,
    recurrent,
    resampling,
    reshaping,
)
from archgraph.ops.family import Facts, Family

__all__ = ["FACTS", "FAMILIES", "UNKNOWN"]

FAMILIES: Final[tuple[Family, ...]] = (
    activation.FAMILY,
    affine.FAMILY,
    attention.FAMILY,
    convolution.FAMILY,
    coupling.FAMILY,
    dropout.FAMILY,
    embedding.FAMILY,
    linear.FAMILY,
    loss.FAMILY,
    merging.FAMILY,
    normalization.FAMILY,
    padding.FAMILY,
    pooling.FAMILY,
    recurrent.FAMILY,
    resampling.FAMILY,
    reshaping.FAMILY,
)

FACTS: Final[dict[str, tuple[str, Facts]]] = {
    name: (family.name, facts) for family in FAMILIES for name, facts in family.ops.items()
}
"""For each op its family's name and what the family knows of it."""

UNKNOWN: Final = ("unknown", Facts())
"""For a torch class that no family names: it is called like any other, and nothing is assumed."""
