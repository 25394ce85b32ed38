"""Upsampling, shuffles and patches: linear maps without weights, channels on axis 1."""

from archgraph.ops.family import Facts, Family
from archgraph.ops.op import Argument

__all__ = ["FAMILY"]

_LINEAR = Facts(linear=True, channel_axis=1)
_MODES = ("nearest", "linear", "bilinear", "bicubic", "trilinear", "nearest-exact")

FAMILY = Family(
    "resampling",
    {
        "Upsample": Facts(
            arguments=(Argument("mode", "str", "nearest", choices=_MODES),),
            linear=True,
            channel_axis=1,
        ),
        **dict.fromkeys(
            (
                "ChannelShuffle",
                "Fold",
                "PixelShuffle",
                "PixelUnshuffle",
                "Unfold",
                "UpsamplingBilinear2d",
                "UpsamplingNearest2d",
            ),
            _LINEAR,
        ),
    },
)
