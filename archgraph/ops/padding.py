"""Padding of the trailing axes."""

from archgraph.ops.family import Facts, Family

__all__ = ["FAMILY"]

FAMILY = Family(
    "padding",
    {
        f"{kind}Pad{n}d": Facts(linear=True)
        for kind in ("Circular", "Constant", "Reflection", "Replication", "Zero")
        for n in (1, 2, 3)
    },
)
