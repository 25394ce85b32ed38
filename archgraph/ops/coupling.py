"""Nonlinearities whose elements depend on one another: softmaxes and GLU."""

from archgraph.ops.family import Facts, Family
from archgraph.ops.op import Argument

__all__ = ["FAMILY"]

# torch's own default, None, guesses an axis and is deprecated.
_SOFTMAX = Facts(arguments=(Argument("dim", "int"),))

FAMILY = Family(
    "coupling",
    {
        **dict.fromkeys(("Softmax", "Softmin", "LogSoftmax"), _SOFTMAX),
        "Softmax2d": Facts(channel_axis=1),
        "GLU": Facts(),
    },
)
