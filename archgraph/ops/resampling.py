"""Upsampling, shuffles and patches: linear maps without weights, channels on axis 1."""

from collections.abc import Mapping

from archgraph.ops.family import Facts, Family
from archgraph.ops.op import Argument, OpCall

__all__ = ["FAMILY"]

_LINEAR = Facts(linear=True, channel_axis=1)
_MODES = ("nearest", "linear", "bilinear", "bicubic", "trilinear", "nearest-exact")
_MODE = Argument("mode", "str", "nearest", choices=_MODES)
_INTERPOLATE_MODE = Argument("mode", "str", "nearest", choices=("area", *_MODES))


def _interpolate(call: OpCall, operands: Mapping[str, str]) -> str:
    """Write the arguments that are not at their defaults, by name."""
    given = {a.name: call.get(a.name) for a in call.op.arguments}
    defaults = {a.name: a.default for a in call.op.arguments}
    texts = [
        f"{name}=" + (f'"{value}"' if isinstance(value, str) else repr(value))
        for name, value in given.items()
        if value != defaults[name]
    ]
    return f"nn.functional.interpolate({', '.join([operands['input'], *texts])})"


FAMILY = Family(
    "resampling",
    {
        "Upsample": Facts(arguments=(_MODE,), linear=True, channel_axis=1),
        "Interpolate": Facts(
            arguments=(_INTERPOLATE_MODE,), linear=True, channel_axis=1, expression=_interpolate
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
