"""What `predict` promises beside its numbers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import archgraph
from archgraph.errors import UsageError
from archgraph.graph import GraphBuilder, Scale, Term
from archgraph.ops import opaque, parse_call
from archgraph.prediction import methods, predict
from archgraph.prediction.methods import choose_method
from archgraph.spec import load
from tests.prediction.networks import SPECS, network

torch.set_num_threads(1)

METHODS = ("bounds", "limit", "finite", "draws")


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_numbers(method: str) -> None:
    graph = load("residual")
    one, other = (predict(graph, method=method, samples=20, seed=5) for _ in range(2))
    assert one == other
    assert one.method == method
    if method != "bounds":
        assert predict(graph, method=method, samples=20, seed=6).nodes != one.nodes


@pytest.mark.parametrize("method", METHODS)
def test_torch_is_left_as_it_was(method: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
    predict(load("residual"), method=method, samples=4)
    after = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


@pytest.mark.parametrize("method", ["auto", *METHODS])
@pytest.mark.parametrize("name", SPECS)
def test_json_has_every_node_and_a_standard_error(name: str, method: str) -> None:
    graph = network(name)
    document = json.loads(
        json.dumps(predict(graph, method=method, samples=4).to_dict(), allow_nan=False)
    )
    assert set(document) >= {"nodes", "parameters", "method"}
    for node in document["nodes"].values():
        assert set(node) >= {"energy", "standard_error", "bound", "method"}
        if method != "bounds":
            assert node["energy"] is not None
            assert node["standard_error"] is not None
    for parameter in document["parameters"].values():
        assert set(parameter) >= {"rms", "standard_error"}


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((6,), 2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x *= self.weight
        return x


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_no_graph_is_refused(method: str) -> None:
    builder = GraphBuilder("odd")
    x = builder.input("x", (6,))
    a = builder.layer("a", parse_call("Linear(6)"), [x])
    b = builder.layer("b", opaque(torch.sin), [a])
    c = builder.layer("c", opaque(Twice()), [Term(b, Scale(0.5))])
    builder.layer(
        "d", parse_call("GRU(4)"), [builder.layer("r", parse_call("Unflatten(1, (3, 2))"), [c])]
    )
    prediction = predict(builder.build(), method=method, samples=6)
    if method in ("auto", "finite", "limit"):
        assert {name for name, node in prediction.nodes.items() if node.method == "draws"} == {
            "b",
            "c",
            "d",
        }
        assert "drawn for each network" in prediction.nodes["d"].note
        assert prediction.parameters["c.weight"].rms > 0


def test_an_opaque_layer_is_differentiated_as_it_is() -> None:
    builder = GraphBuilder("scaled")
    x = builder.input("x", (6,))
    builder.layer("c", opaque(Twice()), [x])
    prediction = predict(builder.build(), samples=6)
    assert prediction.nodes["x"].energy == pytest.approx(4)
    assert prediction.nodes["c"].second_moment == pytest.approx(
        4 * prediction.nodes["x"].second_moment
    )


def test_what_is_too_costly_is_taken_as_infinitely_wide() -> None:
    choice = choose_method(load("vgg_bn"), 4)
    assert choice.method == "limit"
    expected = r"8 networks of its own widths would take about \d+ s, the limit about \d+ s"
    assert re.fullmatch(expected, choice.reason)
    assert choice.seconds > 30
    assert choose_method(load("residual"), 4).method == "finite"


def test_what_does_not_fit_into_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "MOST", 10.0)
    found = predict(load("residual"))
    assert (found.method, found.samples) == ("bounds", 0)
    assert "so nothing is simulated; --set smaller sizes for more than bounds" in found.reason
    assert found.nodes["x1"].bound is not None


@pytest.mark.parametrize(("patience", "said"), [(0.0, 1), (1e6, 0)])
def test_it_says_beforehand_what_takes_long(
    patience: float, said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "PATIENCE", patience)
    heard: list[str] = []
    predict(load("residual"), samples=4, notice=heard.append)
    assert len(heard) == said
    assert all(text.startswith("method finite: it is exact") for text in heard)


def test_what_the_limit_leaves_out_is_that_of_hidden_widths() -> None:
    builder = GraphBuilder("image")
    x = builder.input("x", (3, 6, 6))
    a = builder.layer("a", parse_call("Conv2d(64, 3)"), [x])
    builder.layer("b", parse_call("Conv2d(8, 3)"), [a])
    nodes = predict(builder.build(), method="limit", samples=100).nodes
    assert nodes["a"].allowance == pytest.approx(3 / 64)
    assert nodes["x"].allowance == pytest.approx(3 / 64 + 3 / 64)
    assert nodes["b"].allowance == 0


def test_shares_are_conserved() -> None:
    graph = load("skip")
    prediction = predict(graph, samples=50)
    for edges in (graph.gradient_out_of[p] for p in range(len(graph.nodes) - 1)):
        parts = [prediction.edges[graph.edges[e].id].share for e in edges]
        assert not parts or sum(parts) == pytest.approx(1)
    shares = prediction.shares(graph.inputs[0].name)
    into_loss = [shares[e.id] for e in graph.edges_into("L")]
    assert sum(into_loss) == pytest.approx(1)


def test_keeping_grades_apart_changes_nothing_else() -> None:
    """Drawn matrices leave nothing to chance on the way back."""
    graph = load("scaled_residual")
    plain = predict(graph, samples=20, matrices="drawn")
    graded = predict(graph, samples=20, matrices="drawn", grade="branches")
    for name, node in plain.nodes.items():
        assert graded.nodes[name].energy == pytest.approx(node.energy, rel=1e-9)
    # The one path without a branch has the factor λ^8 = 1, whatever the weights.
    assert graded.grades["x0"][0] == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "guess"}, "no method 'guess'"),
        ({"batch": 0}, "at least 1"),
        ({"samples": 1}, "at least 2 samples"),
        ({"method": "draws", "grade": "skips"}, "does not keep paths apart"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        predict(load("residual"), **arguments)


def test_bounds_know_no_shares() -> None:
    with pytest.raises(UsageError, match="gives no shares"):
        predict(load("residual"), method="bounds").shares("x1")


def test_it_is_part_of_the_package() -> None:
    assert archgraph.predict is predict


WIDE = """
from pathlib import Path
from archgraph import parse, predict
text = b'''
archgraph: 1
name: wide
params: {width: 12288, depth: 96}
inputs: {x: [width]}
blocks: {block: {layers: {a: ReLU(), F: Linear(width), out: input + F}}}
layers: {h: {op: block(), repeat: depth}}
init: {weight: kaiming_normal(nonlinearity='relu'), bias: 0}
'''
found = predict(parse(text, file="wide.yaml"), samples=4)
node = found.nodes["x"]
print(node.energy, node.standard_error)
# Not by getrusage, whose peak is inherited from the process that this one was started by.
status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
print(status["VmHWM"].split()[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_network_of_58_gigabytes() -> None:
    """2^96 within 4 standard errors (and 10 %, as four networks tell little of their spread)."""
    run = subprocess.run([sys.executable, "-c", WIDE], capture_output=True, text=True, check=True)
    energy, error, memory = map(float, run.stdout.split())
    assert abs(energy / 2**96 - 1) < 4 * error / 2**96 + 0.1
    assert memory < 2**20  # KiB
