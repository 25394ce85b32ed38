"""Pooling over space: channels are axis 1. Averages are linear, maxima and norms are not."""

from archgraph.ops.family import Facts, Family

__all__ = ["FAMILY"]

_AVERAGE = Facts(linear=True, channel_axis=1)
_MAXIMUM = Facts(channel_axis=1, tuple_switch="return_indices")
_NORM = Facts(channel_axis=1)

FAMILY = Family(
    "pooling",
    {
        **dict.fromkeys(("AvgPool1d", "AvgPool2d", "AvgPool3d"), _AVERAGE),
        **dict.fromkeys(("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d"), _AVERAGE),
        **dict.fromkeys(("MaxPool1d", "MaxPool2d", "MaxPool3d"), _MAXIMUM),
        **dict.fromkeys(("AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d"), _MAXIMUM),
        **dict.fromkeys(("FractionalMaxPool2d", "FractionalMaxPool3d"), _MAXIMUM),
        **dict.fromkeys(("LPPool1d", "LPPool2d", "LPPool3d"), _NORM),
        # Linear in its values for given indices, which are another port.
        **dict.fromkeys(("MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"), Facts(channel_axis=1)),
    },
)
