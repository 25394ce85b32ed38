"""archgraph's own modules: values against loops and closed forms, derivatives, refusals."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.attention import SDPBackend, sdpa_kernel

import archgraph.nn as own

torch.set_num_threads(1)

# Forward AD loads torch's own decompositions, which it compiles with what it calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


ONE_INPUT: list[tuple[nn.Module, tuple[int, ...], tuple[int, ...]]] = [
    (own.Affine(-1, 1), (2, 4), (2, 4)),
    (own.Affine(0.5, -3), (2, 4), (2, 4)),
    (own.Mean(1), (2, 3, 4), (2, 4)),
    (own.Mean((1, 2), keepdim=True), (2, 3, 4), (2, 1, 1)),
    (own.Chunk(2, 1), (2, 3, 4), (2, 3, 2)),
    (own.Chunk(3, 0, dim=1), (2, 3, 4), (2, 1, 4)),
    (own.Select(1, -1), (2, 3, 4), (2, 4)),
    (own.Slice(1, dim=1), (2, 3, 4), (2, 2, 4)),
    (own.Slice(-2, -1), (2, 3, 4), (2, 3, 1)),
    (own.Reshape(4, 3), (2, 3, 4), (2, 4, 3)),
    (own.Reshape((2, -1)), (2, 3, 4), (2, 2, 6)),
    (own.Permute(0, 2, 1), (2, 3, 4), (2, 4, 3)),
    (own.Interpolate(scale_factor=2, mode="bilinear"), (2, 3, 2, 4), (2, 3, 4, 8)),
    (own.Interpolate((3, 2), mode="bicubic", antialias=True), (2, 1, 4, 4), (2, 1, 3, 2)),
    (own.LayerNorm2d(3).double(), (2, 3, 2, 4), (2, 3, 2, 4)),
    (own.LayerNorm2d(3, eps=1e-3, bias=False).double(), (2, 3, 2, 2), (2, 3, 2, 2)),
    (own.DropPath(0.3).eval(), (2, 3, 4), (2, 3, 4)),
    (own.Transpose(-1, -2), (2, 3, 4), (2, 4, 3)),
]


@pytest.mark.parametrize(("module", "shape", "expected"), ONE_INPUT)
def test_shapes_and_derivatives(
    module: nn.Module, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    x = randn(*shape).requires_grad_()
    assert module(x).shape == expected
    assert gradcheck(module, (x,), check_forward_ad=True)
    assert gradgradcheck(module, (x,))


@pytest.mark.parametrize("module", [case[0] for case in ONE_INPUT])
def test_modules_copy_pickle_and_print(module: nn.Module) -> None:
    again = pickle.loads(pickle.dumps(copy.deepcopy(module)))
    assert repr(again) == repr(module)
    name, _, rest = repr(module).partition("(")
    rebuilt = eval(f"own.{name}({rest}")
    assert repr(rebuilt) == repr(module)


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int, causal: bool):
    """Attention by loops over batch, heads and queries."""
    width, value_width = query.shape[-1] // heads, value.shape[-1] // heads
    output = torch.zeros(*query.shape[:2], value.shape[-1], dtype=query.dtype)
    for b in range(query.shape[0]):
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            out = slice(h * value_width, (h + 1) * value_width)
            for t in range(query.shape[1]):
                visible = t + 1 if causal else key.shape[1]
                scores = key[b, :visible, part] @ query[b, t, part] / math.sqrt(width)
                weights = torch.exp(scores) / torch.exp(scores).sum()
                output[b, t, out] = weights @ value[b, :visible, out]
    return output


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_against_loops(heads: int, causal: bool) -> None:
    q, k, v = randn(2, 5, 8), randn(2, 5, 8, seed=1), randn(2, 5, 12, seed=2)
    module = own.ScaledDotProductAttention(heads, is_causal=causal)
    torch.testing.assert_close(module(q, k, v), attend(q, k, v, heads, causal))


def test_attention_of_other_lengths() -> None:
    q, k, v = randn(2, 3, 4), randn(2, 5, 4, seed=1), randn(2, 5, 6, seed=2)
    module = own.ScaledDotProductAttention(2)
    torch.testing.assert_close(module(q, k, v), attend(q, k, v, 2, False))


def test_attention_in_math_form_has_all_derivatives() -> None:
    module = own.ScaledDotProductAttention(2, is_causal=True)
    inputs = tuple(randn(1, 3, 4, seed=seed).requires_grad_() for seed in range(3))
    with sdpa_kernel(SDPBackend.MATH):
        assert gradcheck(module, inputs, check_forward_ad=True)
        assert gradgradcheck(module, inputs)


def test_attention_drops_only_in_training() -> None:
    q = randn(1, 6, 4)
    module = own.ScaledDotProductAttention(1, dropout=0.9)
    torch.manual_seed(0)
    assert not torch.equal(module(q, q, q), module(q, q, q))
    module.eval()
    assert torch.equal(module(q, q, q), module(q, q, q))


def test_matmul() -> None:
    a, b = randn(2, 3, 4).requires_grad_(), randn(2, 4, 5, seed=1).requires_grad_()
    torch.testing.assert_close(own.MatMul()(a, b), torch.einsum("bij,bjk->bik", a, b))
    assert gradcheck(own.MatMul(), (a, b), check_forward_ad=True)


def test_positions_are_a_batch_of_one_without_gradient() -> None:
    out = own.Positions()(torch.zeros(3, 5, dtype=torch.int64))
    assert out.tolist() == [[0, 1, 2, 3, 4]]
    assert out.dtype == torch.int64
    assert own.Positions()(torch.zeros(2, 4, device="meta")).device.type == "meta"


def test_parameter_is_learned_and_broadcasts_over_the_batch() -> None:
    module = own.Parameter(5, 8)
    assert module().shape == (1, 5, 8)
    assert list(module.state_dict()) == ["weight"]
    (torch.ones(3, 5, 8) + module()).sum().backward()
    assert module.weight.grad.tolist() == [[[3.0] * 8] * 5]


@pytest.mark.parametrize(
    ("init", "mean", "deviation"),
    [
        ("normal", 0, 1),
        ("zeros", 0, 0),
        ("ones", 1, 0),
        (0.25, 0.25, 0),
        ("uniform", 0.5, 12**-0.5),
    ],
)
def test_parameter_starts_as_said(init: float | str, mean: float, deviation: float) -> None:
    torch.manual_seed(0)
    weight = own.Parameter(100, 100, init=init).weight.detach()
    # 10⁴ draws: five standard errors of the mean (σ/100) and of the deviation (at most σ/141).
    assert abs(weight.mean() - mean) <= 0.05 * deviation + 1e-7
    assert abs(weight.std() - deviation) <= 0.05 * deviation


def test_parameter_takes_a_shape_in_both_spellings() -> None:
    assert own.Parameter((1, 8))().shape == own.Parameter(1, 8)().shape == (1, 1, 8)


def test_layer_norm_2d_against_the_formula() -> None:
    x = randn(2, 3, 4, 5)
    module = own.LayerNorm2d(3, eps=1e-3).double()
    with torch.no_grad():
        module.weight.copy_(randn(3, seed=1))
        module.bias.copy_(randn(3, seed=2))
    gain, shift = (p.view(1, 3, 1, 1) for p in (module.weight, module.bias))
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2).mean(1, keepdim=True)
    expected = (x - mean) / (variance + 1e-3).sqrt() * gain + shift
    torch.testing.assert_close(module(x), expected)


def test_interpolate_against_a_loop() -> None:
    x = randn(2, 3, 2, 3)
    expected = torch.stack([x[:, :, i // 2, j // 2] for i in range(4) for j in range(6)], -1)
    assert torch.equal(own.Interpolate((4, 6))(x), expected.view(2, 3, 4, 6))
    average = own.Interpolate((1, 1), mode="area")(x)
    torch.testing.assert_close(average, x.mean((2, 3), keepdim=True))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: own.Chunk(3, 3), r"index 3 of 3 chunks; they are 0 … 2"),
        (lambda: own.Chunk(3, -1), r"index -1 of 3 chunks"),
        (lambda: own.Chunk(2, 0, dim=0), r"axis 0 is the batch, which cannot be cut"),
        (lambda: own.Chunk(3, 0)(randn(2, 4)), r"axis -1 of size 4 has no 3 equal chunks"),
        (lambda: own.Select(0, 1), r"axis 0 is the batch, which cannot be selected from"),
        (lambda: own.Slice(0, 1, dim=0), r"axis 0 is the batch, which cannot be sliced"),
        (lambda: own.Slice(4)(randn(2, 4)), r"nothing is left of axis -1, which has size 4"),
        (lambda: own.Mean((0, 1)), r"axis 0 is the batch, which Mean may not average over"),
        (lambda: own.Transpose(0, 1), r"axis 0 is the batch, which cannot be exchanged"),
        (lambda: own.DropPath(1.5), r"p is a probability, between 0 and 1, and not 1.5"),
        (lambda: own.DropPath(0.5, "col"), r"mode is 'row' or 'batch', not 'col'"),
        (lambda: own.Permute(1, 0), r"does not order the axes"),
        (lambda: own.Permute(0, 1, 1), r"does not order the axes"),
        (lambda: own.ScaledDotProductAttention(3)(*[randn(1, 2, 4)] * 3),
         r"query has 4 channels, not a multiple of 3"),
        (lambda: own.ScaledDotProductAttention(1)(*[randn(2, 4)] * 3),
         r"query has shape \(4,\), not \(length, channels\)"),
    ],
)  # fmt: skip
def test_refusals(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_every_module_is_exported_and_in_the_catalogue() -> None:
    from archgraph.ops import catalogue

    ours = {name for name in catalogue.names() if catalogue.get(name).origin == "archgraph"}
    assert ours == set(own.__all__)
    assert sorted(own.__all__) == own.__all__
