"""The diagnosis: planted faults are named, healthy networks are left alone, numbers are true."""

from __future__ import annotations

import math
import re

import pytest
import torch

import archgraph
from archgraph.diagnosis import diagnose, parse_expectation
from archgraph.diagnosis.precision import lose
from archgraph.diagnosis.text import describe, explain
from archgraph.errors import TargetError, UsageError
from archgraph.gradient import Tape, autograd
from archgraph.spec import load, parse
from tests.diagnosis.planted import FAULTS, network

torch.set_num_threads(1)


def truth(tape: Tape, name: str) -> torch.Tensor:
    """Return a gradient by an ordinary backward pass through the compiled module."""
    return autograd(tape, name)[0]


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named_first(name: str) -> None:
    fault = FAULTS[name]
    finding = diagnose(network(fault, planted=True)).findings[0]
    text = str(finding)
    assert finding.kind == fault.kind
    assert text.startswith(f"{fault.where}: ")
    assert re.search(fault.why, text), text


@pytest.mark.parametrize("name", FAULTS)
def test_without_the_fault_nothing_is_found(name: str) -> None:
    found = diagnose(network(FAULTS[name], planted=False))
    assert found.findings == ()
    assert found.verdict == "fine"
    assert ("notes", "nothing stands out") in describe(found)


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("name", FAULTS)
def test_other_draws_say_the_same(name: str, seed: int) -> None:
    fault = FAULTS[name]
    assert diagnose(network(fault, planted=True), seed=seed).findings[0].kind == fault.kind
    assert diagnose(network(fault, planted=False), seed=seed).findings == ()


def test_the_numbers_are_those_of_an_ordinary_backward_pass() -> None:
    found = diagnose(load("scaled_residual", lam=0.5), seed=3)
    tape = found.seen.tape
    gradient = truth(tape, "x0")
    assert found.norm == pytest.approx(float(gradient.norm()))
    assert found.rms == pytest.approx(float(gradient.square().mean().sqrt()))
    assert found.relative == pytest.approx(found.rms / _rms(truth(tape, "x.8.out")))
    assert (found.paths, found.longest) == (256, 8)


def _rms(tensor: torch.Tensor) -> float:
    return float(tensor.square().mean().sqrt())


def test_a_deep_sigmoid_network_vanishes_by_its_activations() -> None:
    found = diagnose(load("mlp"))
    assert found.verdict == "vanishes"
    assert explain(found) == "the gradient vanishes on its way to x"
    (worst, *_) = found.balance
    assert worst.kind == "Sigmoid"
    # σ' is at most 1/4, which is 12.04 dB, in each of 20 layers.
    assert worst.gain < -20 * 20 * math.log10(4)
    assert any("Sigmoid" in text for label, text in describe(found) if label == "cause")


def test_gains_of_layers_add_up_to_that_of_a_chain() -> None:
    found = diagnose(load("mlp"))
    tape = found.seen.tape
    whole = 20 * math.log10(found.norm / float(truth(tape, "head").norm()))
    assert sum(item.gain for item in found.balance) == pytest.approx(whole)
    assert found.run_gain == pytest.approx(
        20 * math.log10(found.seen.node_norm("hidden.0.z") / found.seen.node_norm("hidden.19.a"))
    )


def test_an_exploding_network_says_so() -> None:
    text = b"archgraph: 1\nname: steep\ninputs: {x: [8]}\nlayers:\n" + b"".join(
        b"  z%d: Linear(8)\n" % i for i in range(12)
    )
    found = diagnose(parse(text + b"init: {weight: normal(std=2), bias: 0}\n", file="steep.yaml"))
    assert found.verdict == "explodes"
    assert any("weights" in text for label, text in describe(found) if label == "cause")


def test_integers_have_no_gradient_so_the_first_layer_is_asked_for() -> None:
    graph = load("gpt2", depth=1, d=24, heads=2, vocab=20, context=8)
    assert diagnose(graph).target == "wte"


def test_a_gradient_of_zero_is_explained() -> None:
    found = diagnose(load("rezero", depth=3), "body.1.fc")
    assert found.verdict == "zero"
    assert found.findings[0].kind == "detached"
    assert "λ starts at 0" in found.findings[0].why


def test_half_precision_by_rounding_itself() -> None:
    torch.manual_seed(0)
    gradient = torch.randn(20_000, dtype=torch.float64) * 10 ** torch.linspace(
        -12, 6, 20_000, dtype=torch.float64
    )
    for dtype in (torch.float16, torch.bfloat16):
        lost = lose([gradient], dtype)
        rounded = gradient.to(dtype)
        assert lost.flushed == pytest.approx(float((rounded == 0).double().mean()))
        # What lies between the largest number and half a step above it is rounded down to it.
        assert lost.overflown == pytest.approx(float(rounded.isinf().double().mean()), abs=1e-3)


def test_the_loss_scale_is_the_smallest_that_helps() -> None:
    torch.manual_seed(0)
    gradient = 1e-9 * torch.randn(20_000, dtype=torch.float64)
    scale = lose([gradient], torch.float16).scale
    assert scale is not None

    def share(exponent: int) -> float:
        return float(((gradient * 2.0**exponent).half() == 0).double().mean())

    assert share(scale) <= 1e-3 < share(scale - 1)
    assert lose([torch.tensor([1e-9, 1e5])], torch.float16).scale is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rms(x0)", "takes a comparison"),
        ("rsm(x0) > 1", "did you mean 'rms'"),
        ("size > 1", "there are depth, direct"),
        ("depth(x0) > 1", "is of the whole network"),
        ("rms(x0) > big", "'big' is no number"),
    ],
)
def test_an_expectation_that_cannot_be_read_says_why(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_expectation(text)


def test_expectations_are_of_measured_numbers() -> None:
    found = diagnose(load("residual"), seed=2)
    flow = found.seen.flow
    for text, value in {
        "rms > 0": found.rms,
        "norm(x3) > 0": flow.node_norms["x3"],
        "share(x1->x3) > 0": flow.shares["x1->x3"],
        "share(x3) > 0": 1.0,
        "paths >= 4": 4,
        "norm(F2.weight) > 0": float(truth(found.seen.tape, "F2.weight").norm()),
    }.items():
        expectation = parse_expectation(text)
        assert expectation.value(found) == pytest.approx(value)
        assert expectation.holds(found)
    assert not parse_expectation("depth < 0").holds(found)
    with pytest.raises(TargetError, match="no edge"):
        parse_expectation("share(x1->nowhere) > 0").value(found)


def test_it_is_part_of_the_package() -> None:
    assert archgraph.diagnose is diagnose


def test_what_is_said_of_many_layers_is_said_once() -> None:
    found = diagnose(load("highway", depth=4, gate_bias=-9))
    (finding,) = found.findings
    assert finding.kind == "saturated"
    assert finding.count == 4
    assert str(finding).startswith("body.")
    assert " and 3 more: the gate is saturated" in str(finding)


RECURRENT = """
archgraph: 1
name: recurrent
inputs: {x: [20, 8], h0: [16]}
blocks:
  cell:
    params: {t: required}
    inputs: [h, x]
    layers: {x_t: "Select(1, t)(x)", W: Linear(16)(h), U: Linear(16)(x_t), out: Tanh()(W + U)}
layers:
  h: {op: "cell(i)(h[i - 1] if i > 0 else h0, x)", repeat: 20, share: true}
  head: Linear(1)
"""


def test_another_input_that_the_gradient_does_not_reach_is_named() -> None:
    found = diagnose(parse(RECURRENT, file="recurrent.yaml"))
    assert found.target == "x"
    (finding,) = found.findings
    assert (finding.kind, finding.where) == ("quiet", "h0")
    whole = truth(found.seen.tape, "h0")
    assert f"{_rms(whole):.2g} per element" in finding.why
    assert diagnose(parse(RECURRENT.replace("repeat: 20", "repeat: 2"))).findings == ()


ATTENTION = """
archgraph: 1
name: attention
params: {std: 0.5}
inputs: {x: [6, 16]}
blocks:
  unit:
    layers:
      q: Linear(16)(input)
      k: Linear(16)(input)
      v: Linear(16)(input)
      att: ScaledDotProductAttention(2)(query=q, key=k, value=v)
      o: Linear(16)
      n: LayerNorm()(input + o)
layers:
  h: {op: unit(), repeat: 4}
  head: Linear(1)
init: {weight: normal(std=std), bias: 0}
"""


def test_saturated_attention_is_where_queries_and_keys_lose_their_gradient() -> None:
    (finding,) = diagnose(parse(ATTENTION, std=16)).findings
    assert finding.kind == "quiet"
    assert re.match(r"h\.\d\.[qk] and \d more: its weights get", str(finding))
    assert "(ScaledDotProductAttention, " in finding.why
    assert "its softmax is saturated" in finding.why
    assert diagnose(parse(ATTENTION, std=0.25)).findings == ()
