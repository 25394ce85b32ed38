"""The arguments of generated classes: each is followed by all that depends on it, or is not there.

A class that is given another value is the network that the spec gives with that value.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch

from archgraph.errors import SpecError
from archgraph.module import compile, draw, infer, source
from archgraph.spec import load, parse
from tests.module.specs import SPECS
from tests.zoo.small import SIZES, small

SKETCHES = Path(__file__).parents[1] / "sketches"
SMALL = 400_000
"""Most weights of a network whose outputs are compared too."""

STRUCTURE = {
    "negative_power": """
params: {width: 6, expansion: 2, n: 2}
inputs: {x: [4]}
blocks:
  stage:
    params: {level: required}
    layers: {fc: Linear(expansion*width*2**level), act: ReLU}
layers:
  stem: Linear(width)
  stages: {op: stage(i), repeat: n}
  fc: Linear(2)
""",
    "unrolled": """
params: {width: 4, n: 3, w: 2*width}
inputs: {x: [width]}
layers:
  h: {op: Linear(w), repeat: n}
  out: sum(h[:])
""",
    "chosen": """
params: {depth: 3, act: ReLU, wide: 8, bias: true, rate: 0.5}
inputs: {x: [4]}
blocks:
  unit:
    params: {n: wide, op: Tanh}
    layers:
      fc: Linear(n, bias=bias)
      act: op()
      plain: {op: Linear(n), when: depth > 2}
      shifted: 1 - rate*plain
layers:
  a: unit(op=act)
  b: "unit(2*wide) if depth > 1 else unit()"
  h: {op: Linear(wide), repeat: depth - 2}
""",
    "equal_by_chance": """
params: {a: 8, b: 8, c: 8, part: 2}
inputs: {x: [a]}
layers:
  stem: Linear(8)
  h: {op: Linear(b), repeat: 2}
  part1: Slice(0, c // part)
  fc: Linear(c)
  cat: concat(fc, stem)
  flat: "Reshape(2, (8 + c) // 2)"
  out: Linear(3)
""",
    "two_copies": """
params: {b: 8}
inputs: {x: [8]}
layers:
  stem: Linear(8)
  h: {op: Linear(b), repeat: 2}
""",
    "starts": """
params: {width: 4, gain: 0.5, bias: 0}
inputs: {x: [width]}
layers:
  fc: {op: Linear(width), init: {weight: normal(std=gain/width)}}
  out: Linear(2*width)
init: {bias: bias}
""",
    "counted": """
params: {n: 3, k: 2, m: 4, half: m/2}
inputs: {x: [4, 6]}
blocks:
  wide:
    params: {first: false}
    layers: {fc: "Linear(5*half if first else 6)", back: Linear(6), out: back + input}
layers:
  body: {op: wide(i == 0), repeat: n}
  grown: {op: Linear(k), repeat: n, connect: concat}
  turned: Transpose(1, 2)
  out: Linear(k*m)
""",
}


def make(name: str, **params):
    if name in STRUCTURE:
        text = f"archgraph: 1\nname: {name}\n{STRUCTURE[name].strip()}\n"
        return parse(text, file=f"{name}.yaml", **params)
    if name in SPECS:
        text = f"archgraph: 1\nname: {name}\n{SPECS[name].strip()}\n"
        return parse(text, file=f"{name}.yaml", **params)
    path = SKETCHES / f"{name}.yaml"
    return load(path, **params) if path.exists() else load(name, **{**small(name), **params})


def others(value):
    """Return values to try in the place of a default."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, 2 * value, max(1, value - 1)]
    if isinstance(value, float):
        return [value / 2 + 0.125]
    whole = all(isinstance(item, int) for item in value)
    return [[item + 1 for item in value], [value[0] + 1, *value[1:]]] if whole else []


def changed(name: str, argument: str, default):
    """Return another value of an argument that the spec takes too, and its network; else None."""
    for value in others(default):
        try:
            graph = make(name, **{argument: value})
            infer(graph)
        except SpecError:
            continue
        return value, graph
    return None


def arguments_of(network_class):
    return list(inspect.signature(network_class.__init__).parameters.values())[1:]


def assert_is_the_other_network(network_class, argument: str, value, graph) -> None:
    given = {argument: tuple(value) if isinstance(value, list) else value}
    wanted = infer(graph)
    with torch.device("meta"):
        network = network_class(**given)
    found = {n: tuple(p.shape) for n, p in network.named_parameters(remove_duplicate=False)}
    assert found == dict(wanted.parameters)
    if wanted.total > SMALL:
        return
    network = network_class(**given).double().eval()
    expected = compile(graph, dtype=torch.float64).eval()
    expected.load_state_dict(network.state_dict())
    inputs = [t.double() if t.is_floating_point() else t for t in draw(graph, batch=2).inputs]
    torch.testing.assert_close(network(*inputs), expected(*inputs))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("negative_power", ["width", "expansion", "n"]),
        ("unrolled", ["width"]),
        ("chosen", ["wide", "bias"]),
        ("equal_by_chance", ["a"]),
        ("two_copies", ["b"]),
        ("starts", []),
        ("counted", ["n", "k", "half"]),
        ("pyramid", ["depth", "c"]),
        ("shared", ["steps", "width"]),
    ],
)
def test_an_argument_that_something_could_not_follow_is_left_out(name, expected):
    network_class = type(compile(make(name), device="meta"))
    assert [argument.name for argument in arguments_of(network_class)] == expected


def test_a_param_that_follows_others_is_computed():
    text = source(make("unrolled"))
    assert "        w = 2 * width\n" in text
    assert "w: int" not in text


NAMES = [*STRUCTURE, *SPECS, *SIZES, *(path.stem for path in SKETCHES.glob("*.yaml"))]


@pytest.mark.parametrize("name", dict.fromkeys(NAMES))
def test_arguments_make_the_network_of_that_value(name):
    network_class = type(compile(make(name), device="meta"))
    for argument in arguments_of(network_class):
        other = changed(name, argument.name, argument.default)
        if other is not None:
            assert_is_the_other_network(network_class, argument.name, *other)
