"""Elementwise nonlinearities φ."""

from archgraph.ops.family import Facts, Family
from archgraph.ops.op import Argument

__all__ = ["FAMILY"]

_ACTIVATION = Facts(elementwise=True, activation=True)

FAMILY = Family(
    "activation",
    {
        **dict.fromkeys(
            (
                "CELU",
                "ELU",
                "Hardshrink",
                "Hardsigmoid",
                "Hardswish",
                "Hardtanh",
                "LeakyReLU",
                "LogSigmoid",
                "Mish",
                "RReLU",
                "ReLU",
                "ReLU6",
                "SELU",
                "SiLU",
                "Sigmoid",
                "Softplus",
                "Softshrink",
                "Softsign",
                "Tanh",
                "Tanhshrink",
                "Threshold",
            ),
            _ACTIVATION,
        ),
        "GELU": Facts(
            arguments=(Argument("approximate", "str", "none", choices=("none", "tanh")),),
            elementwise=True,
            activation=True,
        ),
        "PReLU": Facts(elementwise=True, activation=True, parameters=(("weight", None),)),
    },
)
