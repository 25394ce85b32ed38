"""What was measured is what autograd says of networks that are compiled and run as a whole."""

from __future__ import annotations

import gc
import json
import math
import weakref

import pytest
import torch

import archgraph
from archgraph.checking.probes import autograd_gradients
from archgraph.errors import GradientError, UsageError
from archgraph.gradient import record
from archgraph.graph import Graph, GraphBuilder
from archgraph.measurement import measure, networks
from archgraph.measurement.networks import DATA, many_at_a_time
from archgraph.module import compile, draw
from archgraph.ops import opaque, parse_call
from archgraph.spec import load, parse
from tests.prediction.networks import SPECS, network

torch.set_num_threads(1)


def norms_by_autograd(graph: Graph, seed: int, batch: int, train: bool) -> dict[str, float]:
    """‖∂L/∂V‖ of everything, from an ordinary backward pass of the compiled module."""
    module = compile(graph, seed=seed).double()
    data = draw(graph, batch=batch, seed=seed + DATA)
    found = autograd_gradients(record(graph, module, data, train=train))
    return {
        name: math.sqrt(sum(float(t.square().sum()) for t in bundle.values()))
        for name, bundle in found.items()
    }


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", SPECS)
def test_norms_are_autograd_s(name: str, train: bool) -> None:
    train = train and name != "loops"  # whose dropout masks no two modules share
    graph, seeds = network(name), (3, 11)
    found = measure(graph, seeds=seeds, batch=3, train=train)
    each = [norms_by_autograd(graph, seed, 3, train) for seed in seeds]
    for key, item in found.health.items():
        squares = [norms.get(key, 0.0) ** 2 for norms in each]
        expected = math.sqrt(sum(squares) / len(seeds))
        assert item.norm == pytest.approx(expected, rel=1e-9, abs=1e-12), key
    for key, parameter in found.parameters.items():
        assert parameter.norm == pytest.approx(found.health[key].norm, rel=1e-12)
    base = sum(norms[found.reference] ** 2 for norms in each) / 2
    assert found.reference_energy == pytest.approx(base)
    for key, node in found.nodes.items():
        expected = sum(norms.get(key, 0.0) ** 2 for norms in each) / 2 / base
        assert node.energy == pytest.approx(expected, rel=1e-9, abs=1e-15), key


@pytest.mark.parametrize("name", [*SPECS, "residual"])
def test_many_at_a_time_are_one_by_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = load(name) if name == "residual" else network(name)
    if many_at_a_time(graph, 4) == 1:
        assert name == "loops"
        return
    together = measure(graph, seeds=5)
    monkeypatch.setattr(networks, "SMALL", 0)
    alone = measure(graph, seeds=5)
    for one, other in ((together.health, alone.health), (together.edges, alone.edges)):
        assert one.keys() == other.keys()
        for key in one:
            for field in one[key].__slots__:
                a, b = getattr(one[key], field), getattr(other[key], field)
                same = a == b or a == pytest.approx(b, rel=1e-8, abs=1e-12)
                assert same, (key, field, a, b)


def test_small_networks_do_run_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the layers below makes torch.func refuse, which would go unnoticed otherwise."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("run alone")

    monkeypatch.setattr(networks, "_alone", refused)
    for name in [*(n for n in SPECS if n != "loops"), "residual"]:
        measure(load(name) if name == "residual" else network(name), seeds=2)


def test_means_and_standard_errors() -> None:
    graph = load("residual")
    found = measure(graph, seeds=range(20, 50))
    each = [measure(graph, seeds=[s]) for s in range(20, 50)]
    assert each[0].nodes["x1"].standard_error is None
    tops = [one.health["x1"].norm ** 2 for one in each]
    bases = [one.health["x5"].norm ** 2 for one in each]
    ratio = sum(tops) / sum(bases)
    node = found.nodes["x1"]
    assert node.energy == pytest.approx(ratio)
    residuals = torch.tensor([t - ratio * b for t, b in zip(tops, bases, strict=True)])
    error = residuals.double().std() / math.sqrt(30) / (sum(bases) / 30)
    assert node.standard_error == pytest.approx(float(error), rel=1e-5)
    logs = torch.tensor([math.log(t / b) for t, b in zip(tops, bases, strict=True)])
    assert node.ln_mean == pytest.approx(float(logs.mean()), rel=1e-5)
    assert node.ln_error == pytest.approx(float(logs.std()) / math.sqrt(30), rel=1e-4)
    squares = torch.tensor([one.parameters["F2.weight"].norm ** 2 for one in each]).double()
    parameter = found.parameters["F2.weight"]
    assert parameter.rms == pytest.approx(math.sqrt(float(squares.mean()) / 256))
    expected = float(squares.std()) / math.sqrt(30) / 256 / (2 * parameter.rms)
    assert parameter.standard_error == pytest.approx(expected, rel=1e-5)


def test_shares_add_up_at_every_node() -> None:
    found = measure(load("skip"), seeds=10)
    graph = found.graph
    for position in range(len(graph.nodes) - 1):
        parts = [found.edges[graph.edges[e].id].share for e in graph.gradient_out_of[position]]
        assert not parts or sum(parts) == pytest.approx(1)
    shares = found.shares("Z0")
    assert sum(shares[e.id] for e in graph.edges_into("L")) == pytest.approx(1)


def test_norms_whose_squares_are_nothing() -> None:
    graph = parse(
        b"archgraph: 1\nname: deep\ninputs: {x: [4]}\nblocks: {b: {layers: {z: Linear(4), "
        b"a: Sigmoid()}}}\nlayers: {h: {op: b(), repeat: 240}}\n",
        file="deep.yaml",
    )
    found = measure(graph, seeds=3, batch=1)
    assert found.nodes["x"].energy == 0
    assert -2000 < found.nodes["x"].ln_mean < -745  # e^-745 is the smallest float
    assert 0 < found.health["x"].rms < 1e-162


def test_the_data_of_a_network_is_not_its_weights() -> None:
    def numbers(seed: int) -> torch.Tensor:
        return torch.rand(4, generator=torch.Generator().manual_seed(seed))

    assert not torch.equal(numbers(7), numbers(7 + DATA))


def test_dropout_masks_are_each_network_s_own() -> None:
    graph = parse(
        b"archgraph: 1\nname: net\ninputs: {x: [40]}\nlayers: {d: Dropout(0.5)}\n", file="n.yaml"
    )
    torch.manual_seed(1)
    found = measure(graph, seeds=30)
    assert found.nodes["x"].energy == pytest.approx(2, rel=0.1)
    torch.manual_seed(2)
    assert measure(graph, seeds=30).nodes == found.nodes
    both = (measure(graph, seeds=[7]).health["x"].norm, measure(graph, seeds=[8]).health["x"].norm)
    assert both[0] != both[1]
    assert measure(graph, seeds=3, train=False).nodes["x"].energy == pytest.approx(1)


def test_a_user_s_code_is_run_alone() -> None:
    def in_place(x: torch.Tensor) -> torch.Tensor:
        x *= 3
        return x

    builder = GraphBuilder("odd")
    x = builder.input("x", (6,))
    builder.layer("y", None, [builder.layer("b", opaque(in_place), [x]), x])
    graph = builder.build()
    assert many_at_a_time(graph, 4) == 1
    assert measure(graph, seeds=3).nodes["x"].energy == pytest.approx(16)


def test_float32_is_the_same_but_for_rounding() -> None:
    graph = load("residual")
    found = measure(graph, seeds=5, dtype=torch.float32)
    assert found.dtype == "float32"
    for name, node in measure(graph, seeds=5).nodes.items():
        assert found.nodes[name].energy == pytest.approx(node.energy, rel=1e-5)
        assert name == "x5" or found.nodes[name].energy != node.energy


def test_torch_is_left_as_it_was() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    measure(load("residual"), seeds=3)
    assert torch.equal(before, torch.get_rng_state())


def test_progress_ends_where_it_said() -> None:
    steps: list[tuple[int, int]] = []
    measure(load("residual"), seeds=7, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (7, 7)


def test_json_form() -> None:
    document = json.loads(json.dumps(measure(network("loops"), seeds=2).to_dict(), allow_nan=False))
    assert document["method"] == "measured"
    assert document["seeds"] == [0, 1]
    assert set(document["nodes"]["b"]) >= {"energy", "standard_error", "ln_mean", "ln_error"}
    assert set(document["parameters"]["o.weight"]) >= {"rms", "standard_error"}
    assert set(document["health"]["o.weight"]) >= {"norm", "mean", "max", "rms", "faults"}


@pytest.mark.parametrize("arguments", [{"seeds": 0}, {"seeds": []}, {"batch": 0}])
def test_wrong_arguments(arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="at least one network and a batch of at least 1"):
        measure(load("residual"), **arguments)


def test_what_torch_refuses_is_the_network_s_error() -> None:
    def no(x: torch.Tensor) -> torch.Tensor:
        if x.is_floating_point() and x.abs().max() > 0 and not x.is_meta:
            raise ValueError("not today")
        return x

    builder = GraphBuilder("odd")
    builder.layer("b", opaque(no), [builder.input("x", (6,))])
    with pytest.raises(GradientError, match="cannot be run and differentiated: not today"):
        measure(builder.build(), batch=5)


def test_it_is_part_of_the_package() -> None:
    assert archgraph.measure is measure
    assert parse_call("ReLU()").op.family == "activation"


def test_a_network_is_gone_before_the_next_is_drawn() -> None:
    """Whatever keeps one keeps them all, until the collector of cycles happens to run."""
    graph = load("mlp3")
    kind = type(compile(graph, seed=0))
    drawn = networks._Network.drawn(graph, kind, 0, 4, torch.float64)
    alive = weakref.ref(drawn.module)
    gc.disable()
    try:
        trace = networks._alone(graph, drawn, torch.float64, train=True)
        del drawn
        assert trace.activities
        assert alive() is None
    finally:
        gc.enable()
