"""Laws of parameters against torch.nn.init's own draws and torch's own layers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from archgraph.module.shapes import infer
from archgraph.ops import OpCall, catalogue
from archgraph.prediction.laws import parameter_laws, start_law
from archgraph.spec import parse

torch.set_num_threads(1)

STARTS = {
    "normal": {"mean": 0.3, "std": 0.5},
    "uniform": {"a": -1, "b": 0.5},
    "trunc_normal": {"mean": 0.1, "std": 0.8, "a": -1, "b": 0.4},
    "xavier_normal": {"gain": 2},
    "xavier_uniform": {},
    "kaiming_normal": {"nonlinearity": "tanh"},
    "kaiming_uniform": {"a": 1, "mode": "fan_out", "nonlinearity": "leaky_relu"},
    "orthogonal": {"gain": 0.7},
    "sparse": {"sparsity": 0.3, "std": 0.2},
    "constant": {"val": 0.25},
    "zeros": {},
    "ones": {},
    "eye": {},
}
NETWORKS = 400


def start(name: str) -> OpCall:
    op = catalogue.initialiser(name)
    assert op is not None
    return OpCall(op, tuple(STARTS[name].items()))


@pytest.mark.parametrize("shape", [(12, 20), (20, 12)])
@pytest.mark.parametrize("name", STARTS)
def test_moments_are_those_of_torchs_draws(name: str, shape: tuple[int, int]) -> None:
    """Mean and mean square of 96,000 entries, within 5 standard errors."""
    law = start_law(start(name), shape)
    torch.manual_seed(0)
    reference = torch.empty(NETWORKS, *shape, dtype=torch.float64)
    for tensor in reference:
        getattr(nn.init, f"{name}_")(tensor, **STARTS[name])
    drawn = law.draw(NETWORKS).double()
    for values in (reference, drawn):
        for moment, expected in (
            (values, law.mean),
            (values.square(), law.mean**2 + law.std**2),
        ):
            per_network = moment.flatten(1).mean(1)
            error = float(per_network.std()) / math.sqrt(NETWORKS)
            assert abs(float(per_network.mean()) - expected) < 5 * error + 1e-6


def test_orthogonal_matrices_are_orthogonal() -> None:
    law = start_law(start("orthogonal"), (6, 4))
    (matrix,) = law.draw(1).double()
    assert torch.allclose(matrix.mT @ matrix, 0.49 * torch.eye(4).double(), atol=1e-6)


def test_torchs_own_starts() -> None:
    text = b"""
archgraph: 1
name: net
inputs: {x: [3, 8, 8]}
layers:
  c: Conv2d(6, 3)
  t: ConvTranspose2d(4, 2)
  n: BatchNorm2d()
  p: PReLU(init=0.1)
  f: Flatten()
  l: Linear(10)
"""
    graph = parse(text, file="net.yaml")
    shapes = infer(graph)
    laws = parameter_laws(graph, shapes)
    assert set(laws) == set(shapes.parameters)
    layers = {
        "c": nn.Conv2d(3, 6, 3),
        "t": nn.ConvTranspose2d(6, 4, 2),
        "n": nn.BatchNorm2d(4),
        "p": nn.PReLU(init=0.1),
        "l": nn.Linear(196, 10),
    }
    for name, layer in layers.items():
        for part in ("weight", "bias"):
            if (full := f"{name}.{part}") not in laws:
                continue
            law, found = laws[full], getattr(layer, part)
            if law.kind == "constant":
                assert torch.equal(found.detach(), torch.full_like(found, law.mean))
            else:
                reach = math.sqrt(3) * law.std
                assert law.kind == "uniform"
                assert 0.6 * reach < float(found.detach().abs().max()) <= reach * (1 + 1e-6)


def test_tied_parameters_start_as_the_one_that_the_spec_starts() -> None:
    text = b"""
archgraph: 1
name: net
inputs: {x: {shape: [3], dtype: int64, below: 7}}
layers:
  e: Embedding(7, 5)
  l: Linear(7, bias=False)
tie: {l.weight: e.weight}
"""
    graph = parse(text, file="net.yaml")
    assert parameter_laws(graph, infer(graph))["l.weight"].std == 1
    given = parse(text + b"init: {weight: normal(std=0.02)}\n", file="net.yaml")
    assert {parameter_laws(given, infer(given))[n].std for n in ("l.weight", "e.weight")} == {0.02}
