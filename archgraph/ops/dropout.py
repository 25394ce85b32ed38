"""Dropout: for a given mask, a diagonal affine map."""

from archgraph.ops.family import Facts, Family

__all__ = ["FAMILY"]

FAMILY = Family(
    "dropout",
    dict.fromkeys(
        (
            "AlphaDropout",
            "DropPath",
            "Dropout",
            "Dropout1d",
            "Dropout2d",
            "Dropout3d",
            "FeatureAlphaDropout",
        ),
        Facts(linear=True, elementwise=True),
    ),
)
