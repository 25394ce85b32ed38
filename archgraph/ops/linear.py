"""Affine maps of the last axis."""

from archgraph.ops.family import Facts, Family

__all__ = ["FAMILY"]

_PARAMETERS = (("weight", None), ("bias", "bias"))

FAMILY = Family(
    "linear",
    {
        "Linear": Facts(
            inferred={"in_features": "last"},
            weight_layer=True,
            linear=True,
            channel_axis=-1,
            parameters=_PARAMETERS,
        ),
        # Linear in each input, but not in both together.
        "Bilinear": Facts(
            inferred={"in1_features": "last:input1", "in2_features": "last:input2"},
            weight_layer=True,
            channel_axis=-1,
            parameters=_PARAMETERS,
        ),
    },
)
