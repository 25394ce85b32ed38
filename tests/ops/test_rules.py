"""Tensor expressions and channel axes: what depends on a call's arguments."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archgraph.ops import OpCall, opaque, parse_call, tensor_expression, track_channel_axis
from tests.ops.rows import build

torch.set_num_threads(1)

EXPRESSIONS = [
    ("Affine(-1, 1)", (3, 4), "1 - t"),
    ("Affine(2)", (3, 4), "2 * t"),
    ("Affine(1)", (3, 4), "t"),
    ("Affine(-1)", (3, 4), "-t"),
    ("Affine(1, -3)", (3, 4), "t - 3"),
    ("Affine(0.5, 0.25)", (3, 4), "0.5 * t + 0.25"),
    ("Affine(-2, -0.5)", (3, 4), "-2 * t - 0.5"),
    ("Affine(0, 2)", (3, 4), "0 * t + 2"),
    ("Identity", (3, 4), "t"),
    ("Chunk(3, 0, dim=-1)", (2, 5, 6), "t.chunk(3, -1)[0]"),
    ("Chunk(2, 1, dim=1)", (2, 6, 5), "t.chunk(2, 1)[1]"),
    ("Select(1, 0)", (2, 5, 6), "t.select(1, 0)"),
    ("Select(-1, -2)", (2, 5, 6), "t.select(-1, -2)"),
    ("Slice(1, 3, dim=1)", (2, 5, 6), "t[:, 1:3]"),
    ("Slice(0, 4, dim=-1)", (2, 5, 6), "t[..., :4]"),
    ("Slice(-2, dim=-2)", (2, 5, 6), "t[..., -2:, :]"),
    ("Slice(0, -1, dim=2)", (2, 5, 6), "t[:, :, :-1]"),
    ("Reshape(8, 4)", (2, 4, 8), "t.reshape(t.shape[0], 8, 4)"),
    ("Reshape(-1)", (2, 4, 8), "t.reshape(t.shape[0], -1)"),
    ("Permute(0, 2, 1)", (2, 4, 8), "t.permute(0, 2, 1)"),
    ("Transpose(1, -1)", (2, 4, 8), "t.transpose(1, -1)"),
    ("Mean(1)", (2, 4, 8), "t.mean(1)"),
    ("Mean((1, 2), keepdim=True)", (2, 4, 8), "t.mean((1, 2), keepdim=True)"),
    ("Flatten", (2, 4, 8), "t.flatten(1)"),
    ("Flatten(1, 2)", (2, 4, 3, 5), "t.flatten(1, 2)"),
    (
        "Interpolate(scale_factor=2, mode='bilinear')",
        (2, 4, 3, 5),
        'nn.functional.interpolate(t, scale_factor=2, mode="bilinear")',
    ),
    (
        "Interpolate((2, 7), mode='area')",
        (2, 4, 3, 5),
        'nn.functional.interpolate(t, size=(2, 7), mode="area")',
    ),
    ("Positions", (2, 4), "torch.arange(t.shape[1], device=t.device).unsqueeze(0)"),
]


@pytest.mark.parametrize(("text", "shape", "expected"), EXPRESSIONS)
def test_expression_is_what_the_module_computes(
    text: str, shape: tuple[int, ...], expected: str
) -> None:
    call = parse_call(text)
    written = tensor_expression(call, {"input": "t"})
    assert written == expected
    t = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = eval(written, {"torch": torch, "nn": nn, "t": t})
    assert torch.equal(found, build(call, (shape,), 1)(t))


def test_matmul_is_written_with_its_operator() -> None:
    written = tensor_expression(parse_call("MatMul"), {"input": "a", "other": "b"})
    assert written == "a @ b"
    a, b = torch.randn(2, 3, 4), torch.randn(2, 4, 5)
    module = build(parse_call("MatMul"), ((2, 3, 4), (2, 4, 5)), 1)
    assert torch.equal(eval(written, {"a": a, "b": b}), module(a, b))


@pytest.mark.parametrize(
    ("operand", "expected"),
    [
        ("self.x", "1 - self.x"),
        ("x[0]", "1 - x[0]"),
        ("f(x)", "1 - f(x)"),
        ("a + b", "1 - (a + b)"),
        ("-a", "1 - (-a)"),
        ("(a) + (b)", "1 - ((a) + (b))"),
    ],
)
def test_operands_are_bracketed_where_they_must_be(operand: str, expected: str) -> None:
    assert tensor_expression(parse_call("Affine(-1, 1)"), {"input": operand}) == expected


def test_some_ops_need_a_module() -> None:
    ports = {"query": "q", "key": "k", "value": "v"}
    assert tensor_expression(parse_call("ScaledDotProductAttention(2)"), ports) is None
    assert tensor_expression(parse_call("Linear(3)"), {"input": "x"}) is None


def test_a_plugin_with_a_known_name_is_not_taken_for_ours() -> None:
    def Affine(x: torch.Tensor) -> torch.Tensor:  # noqa: N802
        return x

    call: OpCall = opaque(Affine)
    assert call.name == "Affine"
    assert tensor_expression(call, {"input": "x"}) is None


@pytest.mark.parametrize(
    ("text", "axis", "rank", "expected"),
    [
        ("Permute(0, 2, 3, 1)", 1, 4, 3),
        ("Permute(0, 2, 1)", -1, 3, 1),
        ("Transpose(1, 2)", 1, 3, 2),
        ("Transpose(1, 2)", 3, 4, 3),
        ("Flatten", 1, 4, 1),
        ("Flatten(2)", 1, 4, 1),
        ("Flatten(1, 2)", -1, 4, 2),
        ("Unflatten(1, (2, 3))", -1, 3, 3),
        ("Unflatten(1, (2, 3))", 1, 3, None),
        ("Select(1, 0)", -1, 3, 1),
        ("Select(1, 0)", 1, 3, None),
        ("Select(-1, 0)", 1, 3, 1),
        ("Mean(1)", -1, 3, 1),
        ("Mean(1, keepdim=True)", 1, 3, 1),
        ("Mean((2, 3))", 1, 4, 1),
        ("Reshape(8, 4)", 1, 4, None),
        ("Reshape(32)", 1, 4, 1),
        ("ReLU", 1, 4, 1),
        ("Dropout", -1, 3, -1),
        ("Linear(8)", 1, 4, -1),
        ("Conv2d(8, 3)", None, 4, 1),
        ("ReLU", None, 4, None),
        ("Permute(0, 2, 1)", None, 3, None),
    ],
)
def test_where_the_channel_axis_goes(
    text: str, axis: int | None, rank: int, expected: int | None
) -> None:
    assert track_channel_axis(parse_call(text), axis, rank) == expected


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Linear(3)", ["weight", "bias"]),
        ("Linear(3, bias=False)", ["weight"]),
        ("BatchNorm2d(affine=False)", []),
        ("LayerNorm(bias=False)", ["weight"]),
        ("MultiheadAttention(2, vdim=3, bias=False)",
         ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"]),
        ("GRU(3, num_layers=2, bias=False)",
         ["weight_ih_l0", "weight_ih_l1", "weight_hh_l0", "weight_hh_l1"]),
        ("LSTM(3, num_layers=cin)", []),
        ("ReLU", []),
    ],
)  # fmt: skip
def test_parameter_names(text: str, names: list[str]) -> None:
    assert list(parse_call(text).parameter_names()) == names
