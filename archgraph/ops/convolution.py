"""Convolutions and transposed convolutions: channels are axis 1."""

from archgraph.ops.family import Facts, Family
from archgraph.ops.op import Argument

__all__ = ["FAMILY"]

_PARAMETERS = (("weight", None), ("bias", "bias"))
_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")

_CONVOLUTION = Facts(
    inferred={"in_channels": "channels"},
    arguments=(
        Argument("padding", "size", 0, choices=("valid", "same")),
        Argument("padding_mode", "str", "zeros", choices=_PADDING_MODES),
    ),
    weight_layer=True,
    linear=True,
    channel_axis=1,
    parameters=_PARAMETERS,
)
_TRANSPOSED = Facts(
    inferred={"in_channels": "channels"},
    arguments=(Argument("padding_mode", "str", "zeros", choices=("zeros",)),),
    weight_layer=True,
    linear=True,
    channel_axis=1,
    parameters=_PARAMETERS,
)

FAMILY = Family(
    "convolution",
    {
        **dict.fromkeys(("Conv1d", "Conv2d", "Conv3d"), _CONVOLUTION),
        **dict.fromkeys(("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"), _TRANSPOSED),
    },
)
