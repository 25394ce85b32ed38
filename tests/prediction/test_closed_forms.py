"""The closed forms of THEORY.md §2, by the limit of infinite width.

Each tolerance is 4 standard errors of the prediction (one in 16,000 by chance) plus the rounding of
the printed number; the seeds are fixed.
"""

from __future__ import annotations

import math
from math import comb

import pytest
import torch

from archgraph.graph import Graph
from archgraph.prediction import Prediction, predict
from archgraph.spec import load, parse

torch.set_num_threads(1)

HE = "init: {weight: kaiming_normal(nonlinearity='relu'), bias: 0}"
XAVIER = "init: {weight: xavier_normal, bias: 0}"


def repeated(layers: str, ending: str, *, depth: int, width: int = 64) -> Graph:
    text = f"""
archgraph: 1
name: net
params: {{n: {width}}}
inputs: {{x: [n]}}
blocks: {{block: {{layers: {layers}}}}}
layers: {{h: {{op: block(), repeat: {depth}}}}}
{ending}
"""
    return parse(text.encode(), file="net.yaml")


def assert_energy(prediction: Prediction, node: str, expected: float, rounding: float = 0) -> None:
    found = prediction.nodes[node]
    error = 4 * found.standard_error + rounding * expected
    assert abs(found.energy - expected) <= error, (found.energy, expected, found.standard_error)


def test_he_initialisation_keeps_the_gradient_of_a_relu_net() -> None:
    graph = repeated("{z: Linear(n), a: ReLU()}", HE, depth=20)
    assert_energy(predict(graph, method="limit", batch=2), "x", 1.0)


def test_xavier_initialisation_and_tanh_lose_it() -> None:
    graph = repeated("{z: Linear(n), a: Tanh()}", XAVIER, depth=50)
    assert_energy(predict(graph, method="limit", batch=2), "x", 0.01434, 0.001)


def test_sigmoids_with_pytorchs_own_initialisation_lose_all_of_it() -> None:
    graph = repeated("{z: Linear(n), a: Sigmoid()}", "", depth=20, width=128)
    prediction = predict(graph, method="limit", batch=2)
    assert_energy(prediction, "x", 9.3e-35, 0.03)


@pytest.mark.parametrize("scale", [0.5, 1, 1.1])
def test_preactivation_blocks(scale: float) -> None:
    layers = f"{{a: ReLU(), F: Linear(n), out: {scale}*input + F}}"
    graph = repeated(layers, HE, depth=10)
    prediction = predict(graph, method="limit", batch=2, grade="weights")
    total = (scale**2 + 1) ** 10
    assert_energy(prediction, "x", total)
    # Grade energies are binomial, and a block's branch has the share T/(λ² + T).
    error = 4 * prediction.nodes["x"].standard_error / total
    for k in range(11):
        part = comb(10, k) * scale ** (2 * (10 - k))
        assert prediction.grades["x"][k] == pytest.approx(part, rel=2 * error + 0.03)
    branch = prediction.edges["h.3.out->h.4.a"]
    assert abs(branch.share - 1 / (1 + scale**2)) < 4 * branch.share_error + 1e-3


def test_pre_ln_grows_with_depth_only_linearly() -> None:
    graph = repeated("{l: LayerNorm(), F: Linear(n), out: input + F}", XAVIER, depth=10)
    assert_energy(predict(graph, method="limit", batch=2), "x", 11.0)


def test_a_dense_block_that_is_read_everywhere() -> None:
    """(L + 2)/(l + 2) per coordinate: n₀ = 2k, ReLU, He on the concat, all outputs read."""
    depth, k = 5, 16
    layers = [f"  z1: Linear({k})(x)", "  H1: ReLU()(z1)"]
    for i in range(2, depth + 1):
        read = ", ".join(["x", *(f"H{j}" for j in range(1, i))])
        layers += [f"  z{i}: Linear({k})(concat({read}))", f"  H{i}: ReLU()(z{i})"]
    outputs = ", ".join(f"H{i}" for i in range(1, depth + 1))
    text = (
        f"archgraph: 1\nname: dense\ninputs: {{x: [{2 * k}]}}\nlayers:\n"
        + "\n".join(layers)
        + f"\noutputs: [{outputs}]\n{HE}\n"
    )
    prediction = predict(parse(text.encode(), file="dense.yaml"), method="limit", batch=2)
    assert prediction.reference == "H5"
    for i in range(1, depth + 1):
        assert_energy(prediction, f"H{i}", (depth + 2) / (i + 2))


def batch_norm_factor(batch: int) -> float:
    c = -1 / (batch - 1)
    slope = (math.pi - math.acos(c)) / math.pi
    moment = (math.sqrt(1 - c * c) + (math.pi - math.acos(c)) * c) / math.pi
    return ((batch - 1 + slope) / (1 - moment) - 1) / (batch - 3)


@pytest.mark.parametrize(("batch", "printed"), [(8, 1.788), (16, 1.590), (32, 1.522), (64, 1.493)])
def test_batch_norm_multiplies_the_gradient(batch: int, printed: float) -> None:
    assert batch_norm_factor(batch) == pytest.approx(printed, abs=6e-4)
    graph = repeated("{z: Linear(n), b: BatchNorm1d(), a: ReLU()}", HE, depth=8)
    prediction = predict(graph, method="limit", batch=batch, samples=40_000)
    energies = [prediction.nodes[f"h.{i}.a"].energy for i in (1, 6)]
    # The input is another Gram matrix than what comes later, so the first layers differ.
    assert (energies[0] / energies[1]) ** (1 / 5) == pytest.approx(printed, rel=0.01)


def test_what_is_added_to_its_own_activation_interferes() -> None:
    """z + relu(z): 2.5 per unit of weight variance, where independent branches would give 1.5."""
    text = """
archgraph: 1
name: net
inputs: {x: [128]}
layers: {z: Linear(128), r: ReLU(), s: z + r, y: Linear(128)}
init: {weight: xavier_normal, bias: 0}
"""
    prediction = predict(parse(text.encode(), file="net.yaml"), method="limit", batch=2)
    assert_energy(prediction, "z", 2.5)
    shares = prediction.shares("z")
    assert sum(shares[e] for e in ("z->r", "z->s")) == pytest.approx(1)


def test_dead_branches_leave_the_identity() -> None:
    """ReZero starts at α = 0: the gradient is that of the skip alone."""
    prediction = predict(load("rezero", depth=4), method="limit", batch=2)
    energies = [prediction.nodes[name].energy for name in ("x", "body.3.out")]
    assert energies[0] == pytest.approx(energies[1], rel=1e-9)
    assert prediction.shares("x")["x->body.0.out"] == pytest.approx(1)
    assert prediction.nodes["body.1.act"].energy == 0


def test_wide_networks_reach_the_limit() -> None:
    """The finite sampler at width 1,024 within 4 standard errors and the stated allowance."""
    graph = repeated("{a: Tanh(), F: Linear(n), out: input + F}", XAVIER, depth=6, width=1024)
    wide = predict(graph, method="finite", batch=2, samples=100)
    limit = predict(graph, method="limit", batch=2)
    for name, node in wide.nodes.items():
        other = limit.nodes[name]
        error = math.hypot(node.standard_error / node.energy, other.standard_error / other.energy)
        assert abs(math.log(node.energy / other.energy)) <= 4 * error + other.allowance, name
