"""Generated text says no more than a person would: no defaults, no cancelled factors, one class."""

from __future__ import annotations

import re

from archgraph.module import source
from archgraph.spec import parse
from tests.module.test_blocks import assert_is_the_graph


def made(text: str):
    return parse(f"archgraph: 1\nname: plain\n{text.strip()}\n", file="plain.yaml")


def classes(text: str) -> list[str]:
    return re.findall(r"^class (\w+)", text, re.M)


def test_arguments_that_are_the_defaults_of_torch_are_left_out():
    text = source(
        made("""
inputs: {x: [4, 6]}
layers:
  attention: MultiheadAttention(2)(query=x, key=x, value=x)
  fc: Linear(6, bias=True)
  norm: LayerNorm(eps=0.00001)
  other: LayerNorm(eps=0.001)
""")
    )
    assert "nn.MultiheadAttention(6, 2, batch_first=True)" in text
    assert "nn.Linear(6, 6)" in text
    assert "nn.LayerNorm(6)" in text
    assert "nn.LayerNorm(6, eps=0.001)" in text


def test_a_factor_that_a_division_takes_back_is_cancelled():
    graph = made("""
params: {c: 3}
inputs: {x: [c, 4, 4]}
blocks:
  bottle:
    layers: {up: "Conv2d(4*cin, 1)", down: "Conv2d(cin // 4, 1)"}
layers: {a: bottle(), b: bottle(), odd: "Conv2d(4*c // 3, 1)"}
""")
    text = source(graph)
    assert "self.down = nn.Conv2d(4 * c, c, 1)" in text
    assert "nn.Conv2d(c, 4 * c // 3, 1)" in text
    assert_is_the_graph(graph)


def test_a_param_that_no_call_gives_is_computed_in_the_class():
    graph = made("""
inputs: {x: [8]}
blocks:
  gate:
    params: {w: required, half: w // 2, inner: half + 2 if half < 5 else half}
    layers: {down: Linear(inner), act: ReLU, up: Linear(w), out: up*input}
  given:
    params: {w: required, half: w // 2}
    layers: {down: Linear(half), up: Linear(w)}
layers: {a: gate(8), fc: Linear(12), b: gate(12), c: given(12), d: "given(12, 5)"}
""")
    text = source(graph)
    assert "        half = w // 2\n        inner = half + 2 if half < 5 else half\n" in text
    assert "self.a = Gate(8, 8)" in text
    assert "half: int" in text  # what a call gives is an argument
    assert_is_the_graph(graph)


def test_parts_of_a_tensor_that_differ_in_their_number_are_one_class():
    graph = made("""
params: {parts: 4}
inputs: {x: [8]}
blocks:
  rung:
    inputs: [whole, below]
    params: {index: required}
    layers: {part: "Chunk(parts, index)(whole)", fc: Linear(2)(part + below)}
layers:
  y0: Chunk(parts, 0)(x)
  y: {op: "rung(i + 1)(x, y[i - 1] if i > 0 else y0)", repeat: parts - 1}
""")
    text = source(graph)
    assert classes(text) == ["Rung", "Plain"]
    assert "whole.chunk(4, -1)[self.index]" in text
    assert_is_the_graph(graph)
