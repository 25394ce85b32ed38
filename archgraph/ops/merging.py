"""Ops of two tensors without weights."""

from archgraph.ops.family import Facts, Family

__all__ = ["FAMILY"]

FAMILY = Family(
    "merging",
    {
        "MatMul": Facts(channel_axis=-1, expression=lambda call, x: f"{x['input']} @ {x['other']}"),
        "CosineSimilarity": Facts(),
        "PairwiseDistance": Facts(),
    },
)
