"""Derivatives of single layers, by family, against torch's own functional transforms."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import nn
from torch.func import functional_call, vjp

from archgraph.gradient import Tape, record
from archgraph.gradient.bounds import edge_bounds, use_bounds
from archgraph.gradient.local import OnceOnlyError
from archgraph.graph import GraphBuilder
from archgraph.ops import parse_call as call
from tests.gradient.networks import made, recorded

# One layer of each kind of rule: linear, symmetric, and what is differentiated twice.
LAYERS = {
    "Linear(5)": (4, 3),
    "Conv1d(4, 3, padding=1)": (3, 8),
    "Conv2d(4, 3, stride=2, padding=1, groups=2)": (4, 7, 7),
    "Conv2d(4, 3, padding=1, padding_mode='reflect')": (2, 6, 6),
    "Conv2d(4, 3, padding='same', bias=False)": (2, 6, 6),
    "ConvTranspose2d(3, 3, stride=2, padding=1, output_padding=1)": (2, 4, 4),
    "BatchNorm2d()": (3, 5, 5),
    "BatchNorm1d()": (4,),
    "InstanceNorm2d(affine=True)": (3, 5, 5),
    "GroupNorm(2)": (4, 5),
    "LayerNorm()": (4, 5),
    "RMSNorm()": (4, 5),
    "ReLU()": (4, 5),
    "GELU()": (6,),
    "PReLU(4)": (4, 5),
    "Dropout(0.4)": (20,),
    "Dropout2d(0.5)": (6, 2, 2),
    "Affine(-2, 1)": (5,),
    "Identity()": (3,),
    "Softmax(dim=-1)": (4, 5),
    "GLU()": (4, 6),
    "MaxPool2d(3, stride=2, padding=1)": (2, 7, 7),
    "AvgPool2d(2)": (2, 6, 6),
    "AdaptiveAvgPool2d(1)": (2, 6, 6),
    "Flatten()": (2, 3, 4),
    "Permute(0, 2, 1)": (3, 4),
    "ZeroPad2d(1)": (2, 3, 3),
    "ConstantPad1d(2, 3.5)": (2, 3),
    "Upsample(scale_factor=2, mode='bilinear')": (2, 3, 3),
    "Upsample(scale_factor=2, mode='bicubic')": (2, 4, 4),
    "PixelShuffle(2)": (4, 3, 3),
    "Mean(1)": (4, 5),
    "LSTM(3)": (4, 2),
    "GRU(3)": (4, 2),
}
UNBOUNDED = ("reflect", "LSTM", "GRU", "GLU", "bicubic")
"""In the text of layers whose Jacobian has no known bound."""


def one_layer(text: str, *, train: bool, dtype: torch.dtype = torch.float64) -> Tape:
    """A network of one layer, its norms with weights of their own."""
    b = GraphBuilder("one")
    b.input("x", LAYERS[text])
    b.layer("f", call(text), ["x"])
    graph = b.build()
    module, drawn = made(graph, batch=4, dtype=dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) / 3)
        for name, buffer in module.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(torch.rand_like(buffer) + 0.5)
    return record(graph, module, drawn, train=train, seed=3)


def plain(tape: Tape):
    """The layer as a function of its input and parameters, in the recorded state."""
    layer = tape.module.get_submodule("f") if "f" in dict(tape.module.named_children()) else None
    layer = layer if layer is not None else tape.cells[1].layer
    names = [name for name, _ in layer.named_parameters()]

    def function(x, *parameters):
        torch.manual_seed(3)
        layer.train(tape.train)
        buffers = {name: t.clone() for name, t in layer.named_buffers()}
        given = dict(zip(names, parameters, strict=True)) | buffers
        result = functional_call(layer, given, (x,))
        return result[0] if isinstance(result, tuple) else result

    return function, [p.detach() for p in layer.parameters()], names


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("text", sorted(LAYERS))
def test_forwards_and_backwards_by_the_input(text, train):
    tape = one_layer(text, train=train)
    x = tape.batch.inputs[0]
    function, parameters, _ = plain(tape)
    value, pull = vjp(lambda x: function(x, *parameters), x)
    torch.testing.assert_close(value, tape.values[1][0])
    torch.manual_seed(0)
    tangent, cotangents = torch.randn_like(x), torch.randn(3, *value.shape, dtype=x.dtype)
    # Jᵀ of each unit cotangent would be J; ⟨u, J·t⟩ = ⟨Jᵀu, t⟩ for random u says the same.
    pushed = tape.push(1, {0: tangent})[0]
    many = tape.pull_many(1, 0, cotangents).edges[0]
    for cotangent, row in zip(cotangents, many, strict=True):
        (expected,) = pull(cotangent)
        torch.testing.assert_close(row, expected)
        torch.testing.assert_close(tape.pull(1, {0: cotangent}).edges[0], expected)
        product = (expected * tangent).sum()
        torch.testing.assert_close((cotangent * pushed).sum(), product, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("text", ["Linear(5)", "BatchNorm2d()", "LayerNorm()", "GRU(3)"])
def test_forwards_by_the_parameters(text):
    tape = one_layer(text, train=True)
    function, parameters, names = plain(tape)
    x = tape.batch.inputs[0]
    value, pull = vjp(lambda *given: function(x, *given), *parameters)
    torch.manual_seed(0)
    tangents = {
        (f"f.{name}", None): torch.randn_like(p) for name, p in zip(names, parameters, strict=True)
    }
    pushed = tape.push(1, tangents)[0]
    for _ in range(3):
        cotangent = torch.randn_like(value)
        pairs = zip(pull(cotangent), tangents.values(), strict=True)
        expected = sum((gradient * tangent).sum() for gradient, tangent in pairs)
        torch.testing.assert_close((cotangent * pushed).sum(), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("text", sorted(LAYERS))
def test_no_cotangent_is_lengthened_beyond_the_bound(text, train):
    tape = one_layer(text, train=train)
    bound = edge_bounds(tape, [0])[0]
    assert math.isinf(bound) == any(word in text for word in UNBOUNDED)
    # Power iteration finds the longest.
    torch.manual_seed(0)
    cotangent = torch.randn_like(tape.values[1][0])
    for _ in range(30):
        tangent = tape.pull(1, {0: cotangent}).edges[0]
        length = float(tangent.norm() / cotangent.norm())
        assert length <= bound * (1 + 1e-9)
        if float(tangent.norm()) == 0:
            return
        cotangent = tape.push(1, {0: tangent})[0]
    assert math.isinf(bound) or length > bound / 10


@pytest.mark.parametrize("text", ["Linear(5)", "Conv2d(4, 3, padding='same', bias=False)"])
def test_what_weights_receive_is_bounded_too(text):
    tape = one_layer(text, train=False)
    uses = tape.uses(1)
    bound = use_bounds(tape, 1, uses)
    torch.manual_seed(0)
    for _ in range(20):
        cotangent = torch.randn_like(tape.values[1][0])
        pull = tape.pull(1, {0: cotangent}, parameters=uses)
        received = torch.cat([t.flatten() for t in pull.parameters.values()]).norm()
        assert float(received / cotangent.norm()) <= bound


class Forward(torch.autograd.Function):
    """Can be differentiated once, and forwards."""

    generate_vmap_rule = False

    @staticmethod
    def forward(ctx, x):
        ctx.x = x
        ctx.save_for_forward(x)
        return x.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, cotangent):
        return cotangent * ctx.x.cos()

    @staticmethod
    def jvp(ctx, tangent):
        return tangent * ctx.saved_tensors[0].cos()


def opaque_tape(function) -> Tape:
    b = GraphBuilder("opaque")
    b.input("x", (3,))
    b.layer("f", function, ["x"])
    return recorded(b.build())


def test_what_cannot_be_differentiated_twice_is_run_on_dual_numbers():
    tape = opaque_tape(lambda x: Forward.apply(x))
    x, tangent = tape.batch.inputs[0], torch.ones_like(tape.batch.inputs[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(tape.push(1, {0: tangent})[0], x.cos())


def test_dual_numbers_of_another_value_are_not_believed():
    factors = [1]
    tape = opaque_tape(lambda x: Forward.apply(x * factors[-1]))
    factors.append(2)
    with pytest.raises(OnceOnlyError, match="'f' cannot be differentiated twice"):
        tape.push(1, {0: torch.ones_like(tape.batch.inputs[0])})


def test_the_layer_that_is_there_counts_and_not_the_one_of_the_spec():
    b = GraphBuilder("swapped")
    b.input("x", (4,))
    b.layer("f", call("Tanh()"), ["x"])
    graph = b.build()
    module, drawn = made(graph)
    module.f = nn.Softmax(-1)
    tape = record(graph, module, drawn)
    tangent = torch.randn_like(drawn.inputs[0])
    p = drawn.inputs[0].softmax(-1)
    expected = p * tangent - p * (p * tangent).sum(-1, keepdim=True)
    torch.testing.assert_close(tape.push(1, {0: tangent})[0], expected)
