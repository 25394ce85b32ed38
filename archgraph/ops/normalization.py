"""Normalisations. The weights of a norm are a gain and a shift, so it is no weight layer."""

from archgraph.ops.family import Facts, Family
from archgraph.ops.op import Argument

__all__ = ["FAMILY"]

_GAIN_AND_SHIFT = (("weight", "affine"), ("bias", "affine bias"))

_PER_CHANNEL = Facts(
    inferred={"num_features": "channels"}, channel_axis=1, parameters=_GAIN_AND_SHIFT
)
# torch means the last axes, as many as it has; None is the last one.
_SHAPE = Argument("normalized_shape", "size?", None, positive=True, keyword_only=True)

FAMILY = Family(
    "normalization",
    {
        **dict.fromkeys(
            (
                "BatchNorm1d",
                "BatchNorm2d",
                "BatchNorm3d",
                "SyncBatchNorm",
                "InstanceNorm1d",
                "InstanceNorm2d",
                "InstanceNorm3d",
            ),
            _PER_CHANNEL,
        ),
        "GroupNorm": Facts(
            inferred={"num_channels": "channels"}, channel_axis=1, parameters=_GAIN_AND_SHIFT
        ),
        "LayerNorm": Facts(
            inferred={"normalized_shape": "last"},
            arguments=(_SHAPE,),
            channel_axis=-1,
            parameters=(("weight", "elementwise_affine"), ("bias", "elementwise_affine bias")),
        ),
        "LayerNorm2d": Facts(
            inferred={"num_channels": "channels"},
            channel_axis=1,
            parameters=(("weight", "elementwise_affine"), ("bias", "elementwise_affine bias")),
        ),
        "RMSNorm": Facts(
            inferred={"normalized_shape": "last"},
            arguments=(_SHAPE,),
            channel_axis=-1,
            parameters=(("weight", "elementwise_affine"),),
        ),
        "LocalResponseNorm": Facts(channel_axis=1),
        "CrossMapLRN2d": Facts(channel_axis=1),
    },
)
