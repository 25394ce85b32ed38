"""The record in which each op family states what signatures do not say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from archgraph.ops.op import Argument, OpCall

__all__ = ["POSITIVE", "AxisRule", "ExpressionRule", "Facts", "Family"]

AxisRule: TypeAlias = Callable[[OpCall, int, int], int | None]
"""(call, channel axis of the input ≥ 0, rank of the input, batch counted) → that of the output."""

ExpressionRule: TypeAlias = Callable[[OpCall, Mapping[str, str]], str]
"""(call, Python expression of each port) → the tensor expression a person would write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What archgraph knows of one op beyond the signatures of its class; see `Op` for the rest."""

    inferred: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[Argument, ...] = ()
    """Arguments that replace those of the same name in the signature, or stand where the class
    has none (`*args`)."""
    ports: tuple[str, ...] | None = None
    """Required tensor arguments, where the annotations of `forward` do not tell."""
    weight_layer: bool = False
    gradient: bool = True
    linear: bool = False
    elementwise: bool = False
    activation: bool = False
    loss: bool = False
    target: str | None = None
    channel_axis: int | None = None
    parameters: tuple[tuple[str, str | None], ...] = ()
    is_parameter: bool = False
    tuple_output: bool = False
    tuple_switch: str | None = None
    axis_rule: AxisRule | None = None
    """Where the channel axis goes, if the op moves axes."""
    expression: ExpressionRule | None = None
    """The op as a tensor expression, if it is one line without a module."""


@dataclass(frozen=True, slots=True)
class Family:
    """Ops that are alike: its name and what is known of each op."""

    name: str
    ops: Mapping[str, Facts]


POSITIVE: Final = frozenset(
    {
        "chunks",
        "dilation",
        "dim_feedforward",
        "downscale_factor",
        "embedding_dim",
        "groups",
        "heads",
        "hidden_size",
        "kdim",
        "kernel_size",
        "n_classes",
        "nhead",
        "normalized_shape",
        "num_classes",
        "num_decoder_layers",
        "num_embeddings",
        "num_encoder_layers",
        "num_groups",
        "num_heads",
        "num_layers",
        "num_parameters",
        "out_channels",
        "out_features",
        "output_size",
        "size",
        "stride",
        "upscale_factor",
        "vdim",
    }
)
"""Names of arguments that are sizes or counts: every number in them is at least 1."""
