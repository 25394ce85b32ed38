"""Recurrent nets and cells.

torch puts time before the batch unless told otherwise; here the batch is always in front, so
`batch_first=True` is passed for the user. A state that the user does not give starts at zero:
`hx` is a port only where torch takes one tensor with the batch in front (GRUCell, RNNCell).
"""

from archgraph.ops.family import Facts, Family
from archgraph.ops.op import Argument

__all__ = ["FAMILY"]

_SIZES = (
    Argument("hidden_size", "int", positive=True),
    Argument("num_layers", "int", 1, positive=True),
)
_NONLINEARITY = Argument("nonlinearity", "str", "tanh", choices=("tanh", "relu"))
_COMMON = (
    Argument("bias", "bool", True),
    Argument("batch_first", "bool", True, choices=("True",)),
    Argument("dropout", "float", 0.0),
    Argument("bidirectional", "bool", False),
)
_PER_LAYER = "l{num_layers}{bidirectional:_reverse}"
_PARAMETERS = (
    (f"weight_ih_{_PER_LAYER}", None),
    (f"weight_hh_{_PER_LAYER}", None),
    (f"bias_ih_{_PER_LAYER}", "bias"),
    (f"bias_hh_{_PER_LAYER}", "bias"),
)


def _net(*arguments: Argument, parameters: tuple[tuple[str, str | None], ...] = ()) -> Facts:
    return Facts(
        inferred={"input_size": "last"},
        arguments=arguments,
        ports=("input",),
        weight_layer=True,
        channel_axis=-1,
        parameters=_PARAMETERS + parameters,
        tuple_output=True,
    )


def _cell(*arguments: Argument, tuple_output: bool = False) -> Facts:
    return Facts(
        inferred={"input_size": "last"},
        arguments=arguments,
        weight_layer=True,
        channel_axis=-1,
        parameters=(
            ("weight_ih", None),
            ("weight_hh", None),
            ("bias_ih", "bias"),
            ("bias_hh", "bias"),
        ),
        tuple_output=tuple_output,
    )


FAMILY = Family(
    "recurrent",
    {
        "RNN": _net(*_SIZES, _NONLINEARITY, *_COMMON),
        "GRU": _net(*_SIZES, *_COMMON),
        "LSTM": _net(
            *_SIZES,
            *_COMMON,
            Argument("proj_size", "int", 0),
            parameters=((f"weight_hr_{_PER_LAYER}", "proj_size"),),
        ),
        "RNNCell": _cell(_NONLINEARITY),
        "GRUCell": _cell(),
        "LSTMCell": _cell(tuple_output=True),
    },
)
