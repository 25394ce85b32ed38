"""Tables: rows looked up by integers, learned tensors, and the integers of positions.

None is a weight layer: a gradient path ends there, at the table.
"""

from collections.abc import Sequence

from archgraph.ops.family import Facts, Family
from archgraph.ops.op import Argument

__all__ = ["FAMILY", "initial_tensor"]

_STARTS = {
    "normal": "torch.randn({})",
    "ones": "torch.ones({})",
    "trunc_normal": "nn.init.trunc_normal_(torch.empty({}))",
    "uniform": "torch.rand({})",
    "zeros": "torch.zeros({})",
}


def initial_tensor(init: float | str, sizes: Sequence[str]) -> str:
    """Return the Python expression of the tensor that a `Parameter` starts as.

    Args:
        init: A number, or the name of an initialiser.
        sizes: Python expressions of the shape, batch of one included.

    Example:
        >>> initial_tensor("zeros", ["1", "4", "d"]), initial_tensor(0.5, ["1", "d"])
        ('torch.zeros(1, 4, d)', 'torch.full((1, d), 0.5)')
    """
    init = {0: "zeros", 1: "ones"}.get(init, init)  # type: ignore[call-overload]
    if isinstance(init, str):
        return _STARTS[init].format(", ".join(sizes))
    return f"torch.full(({', '.join(sizes)}), {float(init)!r})"


FAMILY = Family(
    "embedding",
    {
        "Embedding": Facts(channel_axis=-1, parameters=(("weight", None),)),
        "EmbeddingBag": Facts(
            arguments=(Argument("mode", "str", "mean", choices=("mean", "sum", "max")),),
            channel_axis=-1,
            parameters=(("weight", None),),
        ),
        "Parameter": Facts(
            arguments=(
                Argument("shape", "size", positive=True),
                Argument("init", "float", "normal", choices=tuple(_STARTS), keyword_only=True),
            ),
            channel_axis=-1,
            parameters=(("weight", None),),
            is_parameter=True,
        ),
        "Positions": Facts(
            gradient=False,
            expression=lambda call, x: (
                f"torch.arange({x['input']}.shape[1], device={x['input']}.device).unsqueeze(0)"
            ),
        ),
    },
)
