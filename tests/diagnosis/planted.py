"""Eight networks, each with one fault, and each without it."""

from __future__ import annotations

from dataclasses import dataclass

from archgraph.graph import Graph
from archgraph.spec import parse

__all__ = ["FAULTS", "Fault", "network"]

GATED = """
archgraph: 1
name: gated
params: {width: 32, bias: -2}
inputs: {x: [width]}
blocks:
  block:
    params: {bias: required}
    layers:
      h: Linear(width)(input)
      H: Tanh()
      t: {op: Linear(width)(input), init: {bias: bias}}
      T: Sigmoid()
      out: T*H + (1 - T)*input
layers:
  body: {op: "block(BIAS)", repeat: 8}
  head: Linear(1)
init: {weight: xavier_uniform, bias: 0}
"""

RESIDUAL = """
archgraph: 1
name: blocks
params: {width: 32}
inputs: {x: [width]}
blocks:
  block:
    params: {lam: 1, skip: true}
    layers:
      z: Linear(width)
      a: Tanh()
      F: Linear(width)
      out: {op: "lam*input + F"}
layers:
  body: {op: "block(lam=LAM)", repeat: 8}
  head: Linear(1)
init: {weight: xavier_uniform, bias: 0}
"""

CHAIN = """
archgraph: 1
name: chain
inputs: {x: [64]}
blocks:
  layer:
    params: {bias: 0, gain: 1}
    layers:
      z: {op: Linear(64), init: {weight: "INIT", bias: bias}}
      a: ReLU()
layers:
  h: {op: "layer(CALL)", repeat: 8}
  head: Linear(1)
init: {weight: kaiming_normal(nonlinearity='relu'), bias: 0}
"""

FLAT = """
archgraph: 1
name: flat
inputs: {x: [32]}
layers:
  z1: Linear(32)
  a1: Tanh()
  F1: Linear(32)
  x1: x + F1
  z2: Linear(32)
  a2: Tanh()
  F2: Linear(32)
  x2: x1 + F2
  z3: Linear(32)
  a3: Tanh()
  F3: Linear(32)
  x3: THIRD
  z4: Linear(32)
  a4: Tanh()
  F4: Linear(32)
  x4: x3 + F4
  head: Linear(1)
"""

PROJECTED = """
archgraph: 1
name: projected
inputs: {image: [8, 8, 8]}
blocks:
  block:
    params: {channels: required}
    layers:
      c1: Conv2d(channels, 3, padding=1)
      r: ReLU()
      c2: Conv2d(channels, 3, padding=1)
      p: {op: "Conv2d(channels, 1)(input)", init: {weight: PROJECTION}}
      out: ReLU()(c2 + p)
layers:
  b1: block(8)
  b2: block(8)
  b3: block(8)
  b4: block(8)
  pool: AdaptiveAvgPool2d(1)
  flatten: Flatten()
  head: Linear(1)
init: {weight: kaiming_normal(nonlinearity='relu'), bias: 0}
"""

DETACHED = """
archgraph: 1
name: two_branches
inputs: {x: [16]}
layers:
  a: Linear(16)
  r: ReLU()
  b: Linear(16)
  bs: BRANCH
  c: Linear(16)(x)
  y: bs + c
  head: Linear(1)
"""


@dataclass(frozen=True)
class Fault:
    """A fault, where it was planted, and how a network looks without it."""

    spec: str
    planted: dict[str, str]
    healthy: dict[str, str]
    kind: str
    where: str
    why: str
    """A pattern of the reason."""


FAULTS = {
    "saturated gate": Fault(
        GATED,
        {"BIAS": "bias if i != 4 else -9"},
        {"BIAS": "bias"},
        "saturated",
        "body.4.T",
        r"the gate is saturated .* the bias of 'body.4.t' is -9",
    ),
    "small λ": Fault(
        RESIDUAL,
        {"LAM": "0.01 if i == 3 else 1"},
        {"LAM": "1"},
        "lambda",
        "body.2.out->body.3.out",
        r"λ of the skip is 0.01, where most have 1",
    ),
    "dead units": Fault(
        CHAIN,
        {"INIT": "kaiming_normal(nonlinearity='relu')", "CALL": "bias=-30 if i == 5 else 0"},
        {"INIT": "kaiming_normal(nonlinearity='relu')", "CALL": "bias=0"},
        "dead",
        "h.5.a",
        r"64 of its 64 units are dead: ReLU .* the bias of 'h.5.z' is -30",
    ),
    "small weights": Fault(
        CHAIN,
        {"INIT": "normal(std=gain*0.1768)", "CALL": "gain=0.1 if i == 2 else 1"},
        {"INIT": "normal(std=gain*0.1768)", "CALL": "gain=1"},
        "weights",
        "h.2.z",
        r"σ_w = 0.14 .*1/\d+(\.\d)? of what most layers of its kind have",
    ),
    "missing skip": Fault(
        FLAT,
        {"THIRD": "Identity()(F3)"},
        {"THIRD": "x2 + F3"},
        "no skip",
        "x2 … x3",
        r"no skip leads around its 2 weight layers, as in the 3 blocks beside it",
    ),
    "closed projection": Fault(
        PROJECTED,
        {"PROJECTION": "normal(std=0.001)"},
        {"PROJECTION": "kaiming_normal(nonlinearity='relu')"},
        "weights",
        "b1.p and 3 more",
        r"σ_w = 0.00\d+ .*; it is on the skip",
    ),
    "detached branch": Fault(
        DETACHED,
        {"BRANCH": "Detach()"},
        {"BRANCH": "Identity()"},
        "detached",
        "bs",
        r"Detach lets no gradient back; 2 layers with weights learn nothing",
    ),
    "exploding gain": Fault(
        CHAIN,
        {"INIT": "normal(std=gain*0.1768)", "CALL": "gain=100 if i == 6 else 1"},
        {"INIT": "normal(std=gain*0.1768)", "CALL": "gain=1"},
        "weights",
        "h.6.z",
        r"1e\+02 times what most layers of its kind have|\d+ times what most",
    ),
}


def network(fault: Fault, *, planted: bool) -> Graph:
    """Return a network with or without its fault."""
    text = fault.spec
    for name, value in (fault.planted if planted else fault.healthy).items():
        text = text.replace(name, value)
    return parse(text.encode(), file="planted.yaml")
