"""Attention and whole transformer layers.

As for recurrent nets, `batch_first=True` is passed for the user.
"""

from archgraph.ops.family import Facts, Family
from archgraph.ops.op import Argument

__all__ = ["FAMILY"]

_BATCH_FIRST = Argument("batch_first", "bool", True, choices=("True",))
_ACTIVATION = Argument("activation", "str", "relu", choices=("relu", "gelu"))

_Parameters = tuple[tuple[str, str | None], ...]

_LINEAR: _Parameters = (("weight", None), ("bias", "bias"))
_PROJECTIONS: _Parameters = (
    ("in_proj_weight", None),
    ("in_proj_bias", "bias"),
    ("out_proj.weight", None),
    ("out_proj.bias", "bias"),
)


def _under(prefix: str, parameters: _Parameters) -> _Parameters:
    return tuple((f"{prefix}.{name}", switch) for name, switch in parameters)


def _layer(attentions: tuple[str, ...]) -> _Parameters:
    names = [_under(name, _PROJECTIONS) for name in attentions]
    names += [_under(name, _LINEAR) for name in ("linear1", "linear2")]
    names += [_under(f"norm{i + 1}", _LINEAR) for i in range(len(attentions) + 1)]
    return sum(names, ())


_ENCODER = _layer(("self_attn",))
_DECODER = _layer(("self_attn", "multihead_attn"))

FAMILY = Family(
    "attention",
    {
        "MultiheadAttention": Facts(
            inferred={"embed_dim": "last:query"},
            arguments=(
                Argument("num_heads", "int", positive=True),
                Argument("kdim", "int?", None, positive=True),
                Argument("vdim", "int?", None, positive=True),
                _BATCH_FIRST,
            ),
            weight_layer=True,
            channel_axis=-1,
            parameters=(
                # One projection serves all ports unless keys or values have their own width.
                ("in_proj_weight", "!kdim !vdim"),
                ("q_proj_weight", "kdim|vdim"),
                ("k_proj_weight", "kdim|vdim"),
                ("v_proj_weight", "kdim|vdim"),
                ("in_proj_bias", "bias"),
                ("out_proj.weight", None),
                ("out_proj.bias", "bias"),
                ("bias_k", "add_bias_kv"),
                ("bias_v", "add_bias_kv"),
            ),
            tuple_output=True,
        ),
        "ScaledDotProductAttention": Facts(channel_axis=-1),
        "TransformerEncoderLayer": Facts(
            inferred={"d_model": "last:src"},
            arguments=(_ACTIVATION, _BATCH_FIRST),
            weight_layer=True,
            channel_axis=-1,
            parameters=_ENCODER,
        ),
        "TransformerDecoderLayer": Facts(
            inferred={"d_model": "last:tgt"},
            arguments=(_ACTIVATION, _BATCH_FIRST),
            weight_layer=True,
            channel_axis=-1,
            parameters=_DECODER,
        ),
        "Transformer": Facts(
            inferred={"d_model": "last:src"},
            arguments=(_ACTIVATION, _BATCH_FIRST),
            weight_layer=True,
            channel_axis=-1,
            parameters=(
                *_under("encoder.layers.{num_encoder_layers}", _ENCODER),
                *_under("encoder.norm", _LINEAR),
                *_under("decoder.layers.{num_decoder_layers}", _DECODER),
                *_under("decoder.norm", _LINEAR),
            ),
        ),
    },
)
