"""Tables: rows looked up by integers, learned tensors, and the integers of positions.

None is a weight layer: a gradient path ends there, at the table.
"""

from archgraph.ops.family import Facts, Family
from archgraph.ops.op import Argument

__all__ = ["FAMILY"]

_INITIALISERS = ("normal", "ones", "trunc_normal", "uniform", "zeros")

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
                Argument("init", "float", "normal", choices=_INITIALISERS, keyword_only=True),
            ),
            channel_axis=-1,
            parameters=(("weight", None),),
        ),
        "Positions": Facts(
            gradient=False,
            expression=lambda call, x: (
                f"torch.arange({x['input']}.shape[1], device={x['input']}.device).unsqueeze(0)"
            ),
        ),
    },
)
