"""One row per op: how it is called, on what, and how many channels come out.

Channels are 4 going in, batches 2 or 3, and no other size is 4, so that an axis that is mistaken
for the channel axis is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import archgraph.nn
from archgraph.ops import OpCall, parse_call

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """A call; the shape of each required port, batch first (`int` in front: integers below it)."""

    call: str
    shapes: tuple[Any, ...]
    channels: int | None = None
    """Size of the channel axis of the output; None for scalars and where it is unknown."""
    variants: tuple[str, ...] = ()
    """Further calls, whose parameters are compared too."""
    axis: int = 1
    """The channel axis of the first input."""

    @property
    def op(self) -> str:
        return self.call.partition("(")[0]


LINE, PLANE, SPACE = (2, 4, 6), (2, 4, 6, 10), (2, 4, 6, 6, 10)
TOKENS = (3, 5, 4)
FLAT = (3, 4)


def _elementwise() -> list[Row]:
    names = (
        "CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish PReLU "
        "RReLU ReLU ReLU6 SELU SiLU Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink Identity "
        "AlphaDropout Dropout DropPath(0.4)"
    )
    rows = [Row(name, (TOKENS,), 4, axis=-1) for name in names.split()]
    rows += [Row(f"Dropout{n}d(0.5)", (shape,), 4) for n, shape in _SPATIAL]
    rows += [
        Row("FeatureAlphaDropout", (PLANE,), 4),
        Row("Threshold(0.1, 20)", (FLAT,), 4),
        Row("DropPath(0.4, mode='batch')", (PLANE,), 4),
        Row("Affine(-1, 1)", (FLAT,), 4),
        Row("Detach", (FLAT,), 4),
    ]
    return rows


_SPATIAL = ((1, LINE), (2, PLANE), (3, SPACE))


def _spatial() -> list[Row]:
    rows = []
    for n, shape in _SPATIAL:
        norm_off = (f"BatchNorm{n}d(affine=False)", f"BatchNorm{n}d(bias=False)")
        small = (2, 4, *(3,) * n)
        pads = ", ".join(["1", "2"] * n)
        rows += [
            Row(f"Conv{n}d(7, 3)", (shape,), 7, (f"Conv{n}d(7, 3, bias=False)",)),
            Row(f"ConvTranspose{n}d(7, 3)", (small,), 7, (f"ConvTranspose{n}d(7, 3, bias=False)",)),
            Row(f"BatchNorm{n}d", (small,), 4, norm_off),
            Row(f"InstanceNorm{n}d", (small,), 4, (f"InstanceNorm{n}d(affine=True)",)),
            Row(f"AvgPool{n}d(2)", (shape,), 4),
            Row(f"AdaptiveAvgPool{n}d(3)", (shape,), 4),
            Row(f"MaxPool{n}d(2)", (shape,), 4, (f"MaxPool{n}d(2, return_indices=True)",)),
            Row(f"AdaptiveMaxPool{n}d(3)", (shape,), 4),
            Row(f"LPPool{n}d(2, 2)", (shape,), 4),
            Row(f"MaxUnpool{n}d(3)", (small, (3**n, *small)), 4),
            Row(f"CircularPad{n}d(({pads}))", (small,), 4),
            Row(f"ConstantPad{n}d(({pads}), 0.5)", (small,), 4),
            Row(f"ZeroPad{n}d(({pads}))", (small,), 4),
            Row(f"ReflectionPad{n}d(({pads}))", (small,), 4),
            Row(f"ReplicationPad{n}d(({pads}))", (small,), 4),
        ]
    return rows


SPATIAL = [
    *_spatial(),
    Row("FractionalMaxPool2d(2, output_size=3)", (PLANE,), 4),
    Row("FractionalMaxPool3d(2, output_ratio=0.5)", (SPACE,), 4),
    Row("GroupNorm(2)", (PLANE,), 4, ("GroupNorm(2, affine=False)",)),
    Row(
        "LayerNorm2d",
        (PLANE,),
        4,
        ("LayerNorm2d(elementwise_affine=False)", "LayerNorm2d(bias=False)"),
    ),
    Row("SyncBatchNorm", (PLANE,), 4, ("SyncBatchNorm(affine=False)",)),
    Row("LocalResponseNorm(3)", (PLANE,), 4),
    Row("CrossMapLRN2d(3)", (PLANE,), 4),
    Row("Softmax2d", (PLANE,), 4),
    Row("ChannelShuffle(2)", (PLANE,), 4),
    Row("PixelShuffle(2)", ((2, 12, 2, 5),), 3),
    Row("PixelUnshuffle(2)", (PLANE,), 16),
    Row("Upsample(scale_factor=2, mode='bilinear')", (PLANE,), 4),
    Row("Interpolate((3, 20), mode='bilinear', antialias=True)", (PLANE,), 4),
    Row("UpsamplingBilinear2d(scale_factor=2)", (PLANE,), 4),
    Row("UpsamplingNearest2d((3, 5))", (PLANE,), 4),
    Row("Fold((4, 5), 2)", ((2, 12, 12),), 3),
    Row("Unfold(2)", (PLANE,), 16),
]

SEQUENCES = [
    Row("Linear(7)", (TOKENS,), 7, ("Linear(7, bias=False)",)),
    Row("Bilinear(7)", (FLAT, (3, 6)), 7, ("Bilinear(7, bias=False)",)),
    Row(
        "LayerNorm", (TOKENS,), 4, ("LayerNorm(elementwise_affine=False)", "LayerNorm(bias=False)")
    ),
    Row("RMSNorm", (TOKENS,), 4, ("RMSNorm(elementwise_affine=False)",)),
    Row("Softmax(-1)", (TOKENS,), 4, axis=-1),
    Row("Softmin(-1)", (TOKENS,), 4, axis=-1),
    Row("LogSoftmax(-1)", (TOKENS,), 4, axis=-1),
    Row("GLU", (TOKENS,), 2, axis=-1),
    Row(
        "RNN(7)",
        (TOKENS,),
        7,
        ("RNN(7, nonlinearity='relu', bias=False)", "RNN(7, num_layers=2, bidirectional=True)"),
    ),
    Row("GRU(7)", (TOKENS,), 7, ("GRU(7, num_layers=3)", "GRU(7, bias=False)")),
    Row(
        "LSTM(7)",
        (TOKENS,),
        7,
        ("LSTM(7, num_layers=2, bidirectional=True, proj_size=3)", "LSTM(7, bias=False)"),
    ),
    Row("RNNCell(7)", (FLAT,), 7, ("RNNCell(7, bias=False)",)),
    Row("GRUCell(7)", (FLAT,), 7, ("GRUCell(7, bias=False)",)),
    Row("LSTMCell(7)", (FLAT,), 7, ("LSTMCell(7, bias=False)",)),
    Row(
        "MultiheadAttention(2)",
        (TOKENS, TOKENS, TOKENS),
        4,
        (
            "MultiheadAttention(2, bias=False)",
            "MultiheadAttention(2, kdim=7)",
            "MultiheadAttention(2, kdim=7, vdim=6, add_bias_kv=True)",
        ),
    ),
    Row("ScaledDotProductAttention(2)", (TOKENS, (3, 6, 4), (3, 6, 10)), 10),
    Row("TransformerEncoderLayer(2)", (TOKENS,), 4, ("TransformerEncoderLayer(2, bias=False)",)),
    Row(
        "TransformerDecoderLayer(2)",
        (TOKENS, (3, 6, 4)),
        4,
        ("TransformerDecoderLayer(2, bias=False)",),
    ),
    Row(
        "Transformer(nhead=2, num_encoder_layers=1, num_decoder_layers=2, dim_feedforward=9)",
        (TOKENS, (3, 6, 4)),
        4,
        ("Transformer(nhead=2, num_encoder_layers=2, num_decoder_layers=1, bias=False)",),
    ),
    Row("Embedding(10, 4)", ((10, 3, 5),), 4),
    Row("EmbeddingBag(10, 4)", ((10, 3, 5),), 4),
    Row("Positions", ((10, 3, 5),)),
    Row("Parameter(5, 4)", (), 4),
    Row("MatMul", (TOKENS, (3, 4, 7)), 7),
    Row("CosineSimilarity", (FLAT, FLAT)),
    Row("PairwiseDistance", (FLAT, FLAT)),
]

RESHAPING = [
    Row("Chunk(2, 1)", (TOKENS,), 2, axis=-1),
    Row("Slice(2, 4)", (TOKENS,), 2, axis=-1),
    Row("Select(1, 0)", (TOKENS,), 4, axis=-1),
    Row("Mean(-1)", (LINE,), 4),
    Row("Mean((1, 2))", ((2, 5, 6, 4),), 4, axis=-1),
    Row("Mean(2, keepdim=True)", (PLANE,), 4),
    Row("Permute(0, 2, 3, 1)", (PLANE,), 4),
    Row("Transpose(1, 2)", (LINE,), 4),
    Row("Transpose(2, 3)", (PLANE,), 4),
    Row("Reshape(2, -1)", (PLANE,)),
    Row("Reshape(-1)", (PLANE,), 240),
    Row("Flatten", (PLANE,), 240),
    Row("Flatten(2)", (PLANE,), 4),
    Row("Flatten(1, 2)", ((2, 5, 6, 4),), 4, axis=-1),
    Row("Unflatten(2, (3, 2))", (PLANE,), 4),
    Row("Unflatten(1, (3, 2))", ((2, 6, 4),), 4, axis=-1),
]

LOSSES = [
    Row("BCELoss", (FLAT,)),
    Row("BCEWithLogitsLoss", (FLAT,)),
    Row("CrossEntropyLoss", (FLAT,)),
    Row("HingeEmbeddingLoss", (FLAT,)),
    Row("HuberLoss", (FLAT,)),
    Row("KLDivLoss(reduction='batchmean')", (FLAT,)),
    Row("L1Loss", (FLAT,)),
    Row("MSELoss", (FLAT,)),
    Row("MultiLabelMarginLoss", (FLAT,)),
    Row("MultiLabelSoftMarginLoss", (FLAT,)),
    Row("MultiMarginLoss", (FLAT,)),
    Row("NLLLoss", (FLAT,)),
    Row("PoissonNLLLoss", (FLAT,)),
    Row("SmoothL1Loss", (FLAT,)),
    Row("SoftMarginLoss", (FLAT,)),
    Row("LinearCrossEntropyLoss(5)", (FLAT,), variants=("LinearCrossEntropyLoss(5, bias=True)",)),
    Row(
        "AdaptiveLogSoftmaxWithLoss(9, (3, 6))",
        ((3, 64), (9, 3)),
        variants=("AdaptiveLogSoftmaxWithLoss(9, (3, 5, 7), head_bias=True)",),
    ),
    Row("CTCLoss", ((6, 2, 5), (5, 2, 3), (7, 2), (4, 2))),
    Row("CosineEmbeddingLoss", (FLAT, FLAT, (3,))),
    Row("GaussianNLLLoss", (FLAT, FLAT, FLAT)),
    Row("MarginRankingLoss", ((3,), (3,), (3,))),
    Row("TripletMarginLoss", (FLAT, FLAT, FLAT)),
    Row("TripletMarginWithDistanceLoss", (FLAT, FLAT, FLAT)),
]

ROWS = [*_elementwise(), *SPATIAL, *SEQUENCES, *RESHAPING, *LOSSES]


def build(call: OpCall, shapes: tuple[Shape, ...], axis: int) -> nn.Module:
    """Make the module, in float64 and training mode, with the sizes that its inputs decide."""
    ports = [port.name for port in call.op.ports if port.required]
    given = dict(call.arguments)
    sizes: dict[str, Any] = {}
    for name, rule in call.op.inferred.items():
        kind, _, port = rule.partition(":")
        shape = shapes[ports.index(port) if port else 0]
        channel_axis = 1 if call.op.channel_axis == 1 else axis
        values = {"last": shape[-1], "channels": shape[channel_axis], "axis": axis}
        sizes[name] = values[kind]
    home = nn if call.op.origin == "torch.nn" else archgraph.nn
    torch.manual_seed(0)
    arguments = {**sizes, **given}
    leading = arguments.pop(call.op.variadic) if call.op.variadic else ()
    return getattr(home, call.name)(*leading, **arguments).double()


def is_integer(call: OpCall, port: str) -> bool:
    """Whether a port takes integers, by what torch documents."""
    if port in ("indices", "targets", "target_", "input_lengths", "target_lengths"):
        return True
    return port == "input" and call.name in ("Embedding", "EmbeddingBag", "Positions")


def draw_inputs(row: Row) -> dict[str, torch.Tensor]:
    """Return a value for each required port."""
    call = parse_call(row.call)
    generator = torch.Generator().manual_seed(1)
    inputs: dict[str, torch.Tensor] = {}
    ports = [port.name for port in call.op.ports if port.required]
    for port, shape in zip(ports, row.shapes, strict=False):
        if is_integer(call, port):
            inputs[port] = torch.randint(shape[0], shape[1:], generator=generator)
        else:
            value = torch.randn(shape, generator=generator, dtype=torch.float64)
            inputs[port] = value.abs() if port == "var" else value
    return inputs
