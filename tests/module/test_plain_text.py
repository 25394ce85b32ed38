"""Generated text says no more than a person would: no defaults, no cancelled factors, one class."""

from __future__ import annotations

import re

from archgraph.module import source
from archgraph.spec import parse
from tests.module.specs import spec
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


CHOSEN = """
inputs: {x: [4]}
blocks:
  layer:
    params: {w: required, act: ReLU}
    layers: {fc: Linear(w), turn: act()}
  pair:
    params: {w: required, kind: Tanh, n: 1}
    layers:
      first: layer(w, kind)
      rest: {op: "layer(w, SiLU if i == 1 else kind)", repeat: n}
      out: input + rest
  slope:
    params: {act: required}
    layers: {fc: Linear(4), turn: act}
layers:
  a: pair(4)
  b: pair(4, GELU, 2)
  plain: layer(4)
  c: slope(LeakyReLU(0.1))
  d: slope(LeakyReLU(0.2))
  e: slope(ReLU())
"""


def test_calls_that_differ_in_the_activation_are_one_class():
    graph = made(CHOSEN)
    text = source(graph)
    assert classes(text) == ["Layer", "Pair", "Slope", "Slope2", "Plain"]
    assert "in_features: int, w: int, act: type[nn.Module] = nn.ReLU)" in text
    assert "self.turn = act()" in text
    assert "self.plain = Layer(4, 4)" in text
    assert "self.first = Layer(in_features, w, act=kind)" in text
    assert_is_the_graph(graph)


def test_an_activation_with_numbers_keeps_its_own_class():
    text = source(made(CHOSEN))
    assert "self.turn = nn.LeakyReLU(negative_slope)" in text
    assert "self.e = Slope2(4)" in text


def test_variables_have_names_that_a_person_would_give():
    graph = made("""
inputs: {image: [4]}
blocks:
  rung:
    inputs: [part, below]
    layers: {fc: Linear(4)(part + below)}
  unit:
    layers:
      fc: Linear(4)
      x: ReLU
      first: Tanh()(x)
      y: {op: "rung()(x, y[i - 1] if i > 0 else first)", repeat: 3}
      h: {op: "rung()(x, h[i - 1] if i > 0 else first)", repeat: 2}
      out: sum(y[:]) + h + input + x
layers: {a: unit(), b: unit()}
""")
    text = source(graph)
    assert "def forward(self, inputs: Tensor)" in text
    assert "        x = self.x(self.fc(inputs))\n" in text
    assert "            below = rung(x, below)\n            y.append(below)\n" in text
    assert "            h = rung(x, h)\n" in text
    assert not re.search(r"\b[a-z]\w*_\b(?!\()", text.replace("__init__", ""))
    assert_is_the_graph(graph)


def test_a_layer_that_is_left_out_for_an_input_is_none():
    text = source(spec("first_differs"))
    assert classes(text) == ["Unit", "FirstDiffers"]
    assert "self.shortcut = nn.Linear(in_features, 4) if first else None" in text
    assert "shortcut = x if self.shortcut is None else self.shortcut(act)" in text


def test_calls_that_lack_different_layers_are_one_class():
    graph = made("""
params: {n: 3}
inputs: {x: [4]}
blocks:
  unit:
    params: {wide: false, first: false}
    layers:
      norm: {op: LayerNorm(), when: not first}
      fc: Linear(4)
      skip: {op: Linear(4)(input), when: wide}
      out: fc + skip
layers:
  a: unit(first=True)
  b: unit(True)
  c: unit()
  h: {op: unit(first=i == 0), repeat: n}
""")
    text = source(graph)
    assert classes(text) == ["Unit", "Plain"]
    assert "self.h = nn.Sequential(*(Unit(4, first=i == 0) for i in range(n)))" in text
    assert "self.skip = nn.Linear(in_features, 4) if wide else nn.Identity()" in text
    assert_is_the_graph(graph)


def test_an_activation_in_a_group_is_an_argument_too():
    text = source(spec("groups"))
    assert classes(text) == ["Branch", "Unit", "Tail", "Groups"]
    assert "self.branch = Branch(in_features, act, inner)" in text


def test_what_only_the_first_copy_has_is_not_asked_of_the_others() -> None:
    spec = (
        "archgraph: 1\nname: stage\nparams: {depth: 2}\ninputs: {x: [4, 8, 8]}\n"
        "blocks: {u: {params: {stride: 1}, layers: "
        '{c: "Conv2d(4, 3, stride=stride, padding=1)", r: ReLU()}}}\n'
        'layers: {s: {op: "u(2 if i == 0 else 1)", repeat: depth}}\n'
    )
    text = source(parse(spec))
    assert "i == 0" not in text
    assert "*(U(4) for _ in range(depth - 1))" in text
