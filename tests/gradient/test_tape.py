"""The tape against the compiled module: values, gradients, and what it leaves behind."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from archgraph.errors import GradientError, UsageError
from archgraph.gradient import Tape, edge_flow, merging, record, tolerance_of
from archgraph.gradient.recording import _Recorder
from archgraph.graph import GraphBuilder, Scale, Term
from archgraph.module.loss import loss
from archgraph.ops import opaque
from archgraph.ops import parse_call as call
from tests.gradient.networks import HARD, made, recorded, residual, strange, tuples
from tests.strategies import graphs


def assert_equals_backward(graph, *, train=False, batch=3):
    """Hold outputs, loss, and gradients of inputs and parameters against `loss.backward()`."""
    module, drawn = made(graph, batch=batch)
    tape = record(graph, module, drawn, train=train, seed=5)
    module.train(train)
    inputs = [value.clone().requires_grad_(value.is_floating_point()) for value in drawn.inputs]
    torch.manual_seed(5)
    outputs = module(*(value.clone() for value in inputs))
    total = loss(graph, outputs, drawn)
    found = tape.cotangents()
    everything = outputs if isinstance(outputs, tuple) else (outputs,)
    for ours, theirs in zip(tape.outputs(), everything, strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(tape.loss, total.detach(), rtol=1e-10, atol=1e-12)
    if not total.requires_grad:
        assert not any(t.any() for t in found.parameters.values())
        return
    total.backward()
    for position, value in enumerate(inputs):
        if value.grad is not None:
            torch.testing.assert_close(found.nodes[position][0], value.grad, rtol=1e-9, atol=1e-12)
    for name, parameter in module.named_parameters(remove_duplicate=False):
        theirs = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        ours = found.parameters.get(name, torch.zeros_like(parameter))
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(graph=graphs(vectors=True))
def test_random_networks_have_the_gradients_of_an_ordinary_backward(graph):
    assert_equals_backward(graph)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", sorted(HARD))
def test_hard_networks_have_the_gradients_of_an_ordinary_backward(name, train):
    assert_equals_backward(HARD[name], train=train)


def test_dropout_is_recorded_with_the_masks_of_the_seed():
    graph = residual(2)
    module, drawn = made(graph, batch=8)
    one, same, other = (record(graph, module, drawn, train=True, seed=s) for s in (1, 1, 2))
    assert torch.equal(one.outputs()[0], same.outputs()[0])
    assert not torch.equal(one.outputs()[0], other.outputs()[0])


def test_recording_leaves_no_trace():
    graph = residual(2)
    module, drawn = made(graph, batch=8)
    module.drop0.inplace = True
    module.eval()
    module.bn1.train()
    module.fc0.weight.requires_grad_(False)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    buffers = {name: id(buffer) for name, buffer in module.named_buffers()}
    random = torch.get_rng_state()
    fast = torch.backends.mha.get_fastpath_enabled()
    tape = record(graph, module, drawn, train=True, seed=3)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    assert {name: id(buffer) for name, buffer in module.named_buffers()} == buffers
    assert module.drop0.inplace
    assert not module.training
    assert module.bn1.training
    assert not module.fc0.weight.requires_grad
    assert all(parameter.grad is None for parameter in module.parameters())
    assert torch.backends.mha.get_fastpath_enabled() == fast
    # Frozen or not, the loss depends on it.
    assert tape.cotangents().parameters["fc0.weight"].any()


@pytest.mark.parametrize("train", [False, True])
def test_layers_with_a_state_see_the_same_state_in_every_pass(train):
    graph = HARD["strange"]
    module, drawn = made(graph)
    first, second = (record(graph, module, drawn, train=train, seed=0) for _ in range(2))
    assert torch.equal(first.loss, second.loss)
    assert module.noisy.calls == 0


def test_in_place_where_no_one_else_reads_is_harmless():
    b = GraphBuilder("scratch")
    b.input("x", (3,))
    b.input("u", (3,))
    b.layer("fc", call("Linear(3)"), ["x"])
    b.layer("f", opaque(lambda v: v.mul_(2)), ["fc"])
    b.layer("g", opaque(lambda v: v.mul_(3)), ["u"])
    b.layer("y", None, ["f", "g"])
    assert_equals_backward(b.build())


def test_in_place_where_another_layer_reads_is_caught():
    b = GraphBuilder("overwritten")
    b.input("x", (3,))
    b.layer("fc", call("Linear(3)"), ["x"])
    b.layer("f", opaque(lambda v: v.mul_(2)), ["fc"])
    b.layer("y", None, ["f", "fc"])
    with pytest.raises(GradientError, match="change its input in place"):
        recorded(b.build())


def test_a_layer_that_fails_is_an_error_of_ours():
    def fails_in_float64(value):
        if value.dtype == torch.float64:
            raise RuntimeError("no such luck")
        return value

    graph = strange(fails_in_float64)
    with pytest.raises(GradientError, match=r"^'f' cannot be run: no such luck"):
        recorded(graph)


@pytest.mark.parametrize(
    "broken",
    [
        lambda kind, terms, dim: terms[0][0],
        lambda kind, terms, dim: sum(value for value, _, _ in terms),
        lambda kind, terms, dim: 1.0001 * merging_merge(kind, terms, dim),
    ],
    ids=["drops a term", "forgets λ", "is a little off"],
)
def test_a_broken_tape_is_caught(monkeypatch, broken):
    monkeypatch.setattr(merging, "merge", broken)
    with pytest.raises(GradientError, match="recorded node by node"):
        recorded(residual(2, scale=0.5))


merging_merge = merging.merge


def adding_in_place(*, seen):
    """What `out += x` does to the value of its first operand, in autograd's sight or not."""

    def merge(kind, terms, dim):
        if kind != "add" or len(terms) == 1:
            return merging_merge(kind, terms, dim)
        (total, _, _), *others = terms
        for value, _, _ in others:
            (total if seen else total.data).add_(value)
        return total

    return merge


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("first", ["state", "branch"])
def test_an_operand_changed_in_place_while_recording_is_caught(monkeypatch, first, seen):
    """Either operand's recorded value is the sum, though the forward pass is right."""
    b = GraphBuilder("operand")
    state = b.input("x", (4,))
    for i in range(3):
        value = b.layer(f"fc{i}", call("Linear(4)"), [state])
        value = b.layer(f"act{i}", call("Tanh()"), [value])
        state = b.layer(f"s{i}", None, [value, state] if first == "branch" else [state, value])
    graph = b.build()
    edge_flow(recorded(graph), "x")
    monkeypatch.setattr(merging, "merge", adding_in_place(seen=seen))
    what = (
        "modified by an inplace operation" if seen else r"∂L/∂\S+ is .* when recorded node by node"
    )
    with pytest.raises(GradientError, match=what):
        edge_flow(recorded(graph), "x")


def test_wrong_gradients_of_right_merges_are_caught(monkeypatch):
    original = merging.Merge.pull

    def halved(self, slot, cotangent):
        received = original(self, slot, cotangent)
        return received / 2 if self.kind == "add" else received

    monkeypatch.setattr(merging.Merge, "pull", halved)
    with pytest.raises(GradientError, match="∂L/∂"):
        recorded(residual(1))


class Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, cotangent):
        return cotangent / 2


def test_a_gradient_that_is_wrong_only_where_a_layer_ends_is_caught(monkeypatch):
    original = Tape.pull

    def wrong(self, position, cotangent, **options):
        name = self.graph.nodes[position].name
        if name == "act0":  # and so right again behind it
            cotangent = {k: t / 1.01 for k, t in cotangent.items()}
        pull = original(self, position, cotangent, **options)
        if name == "drop0":
            pull.edges.update({k: t * 1.01 for k, t in pull.edges.items()})
        return pull

    monkeypatch.setattr(Tape, "pull", wrong)
    with pytest.raises(GradientError, match="∂L/∂act0"):
        recorded(residual(1), batch=3)


def test_wrong_gradients_of_right_layers_are_caught():
    graph = residual(1)
    module, drawn = made(graph)
    original = module.forward

    def forward(x):
        return Halved.apply(original(x))

    module.forward = forward
    with pytest.raises(GradientError, match="∂L/∂"):
        record(graph, module, drawn)


def test_other_masks_than_the_module_s_are_caught(monkeypatch):
    original = _Recorder.record

    def forgetful(self):
        self.tape.random_states, self.tape.random_start = {}, None
        torch.manual_seed(99)
        original(self)

    monkeypatch.setattr(_Recorder, "record", forgetful)
    with pytest.raises(GradientError, match="recorded node by node"):
        recorded(residual(2), batch=8, train=True)


def test_float32_is_recorded_and_float16_is_refused():
    assert recorded(residual(1), dtype=torch.float32).dtype == torch.float32
    with pytest.raises(UsageError, match="float64 or float32"):
        tolerance_of(torch.float16)


def test_cotangents_of_a_node_take_a_seed():
    b = GraphBuilder("two")
    b.input("x", (2,))
    b.layer("y", None, [Term("x", Scale(3))])
    tape = recorded(b.build(), batch=1)
    seed = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    assert tape.cotangents("y", seed).nodes[0][0].tolist() == [[3, -6]]
    assert tape.cotangents("y").nodes[0][0].tolist() == [[3, 3]]
    with pytest.raises(UsageError, match=r"has its shape \(1, 2\), not \(2,\)"):
        tape.cotangents("y", torch.ones(2))


def test_elements_of_a_tuple_have_gradients_of_their_own():
    tape = recorded(tuples())
    split = tape.graph.position("split")
    readout = tape.batch.targets[0]
    weight = tape.module.get_parameter("a.weight")
    cotangent = tape.cotangents().nodes[split]
    torch.testing.assert_close(cotangent[1], readout)
    torch.testing.assert_close(cotangent[0], readout @ weight.detach() + readout)


def test_the_module_may_hold_a_layer_in_place_of_its_own():
    graph = HARD["blocks"]
    module, drawn = made(graph)
    module.act0 = nn.ReLU(inplace=True)
    tape = record(graph, module, drawn)
    assert module.act0.inplace
    assert (tape.values[graph.position("act0")][0] >= 0).all()
