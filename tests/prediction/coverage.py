"""How often predictions are within their own error bars, over random small networks."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from archgraph.graph import Graph
from archgraph.measurement import measure
from archgraph.prediction import predict
from archgraph.spec import parse

ACTIVATIONS = ("ReLU", "Tanh", "Sigmoid", "GELU", "SiLU", "LeakyReLU", "ELU", "Softplus")
INITS = (
    "weight: kaiming_normal(nonlinearity='relu'), bias: 0",
    "weight: kaiming_normal(nonlinearity='relu'), bias: normal(std=0.3)",
    "weight: xavier_normal, bias: 0",
    "weight: xavier_uniform(gain=1.3), bias: 0.1",
    "weight: orthogonal, bias: 0",
    "",
)
LOSSES = ("", "loss: MSELoss(reduction='sum')", "loss: CrossEntropyLoss()")
WIDTHS = (16, 24, 32, 48)
BATCH = 4
SPREAD = 5.0
"""β of a layer of width n is at most this over n: the variance of ln energy that it adds."""


@dataclass
class Spec:
    """A network while it grows: its last state, that state's width, and β so far."""

    rng: random.Random
    width: int
    state: str = "x"
    layers: list[str] = field(default_factory=list)
    beta: float = 0.0

    def layer(self, text: str) -> str:
        name = f"n{len(self.layers)}"
        self.layers.append(f"  {name}: {text}")
        return name

    def linear(self, source: str, width: int | None = None) -> str:
        self.beta += SPREAD / self.width
        return self.layer(f"Linear({width or self.width})({source})")

    def act(self, source: str) -> str:
        return self.layer(f"{self.rng.choice(ACTIVATIONS)}()({source})")

    def scale(self) -> str:
        return self.rng.choice(("", "", "0.5*", "0.9*", "-1*"))

    # --- blocks -----------------------------------------------------------------------------

    def plain(self) -> str:
        width = self.rng.choice(WIDTHS)
        state = self.act(self.linear(self.state, width))
        self.width = width
        return state

    def post_activation(self) -> str:
        return self.act(f"{self.scale()}{self.state} + {self.linear(self.state)}")

    def pre_activation(self) -> str:
        branch = self.linear(self.act(self.state))
        return self.layer(f"{self.scale()}{self.state} + {branch}")

    def pre_norm(self) -> str:
        branch = self.linear(self.layer(f"LayerNorm()({self.state})"))
        return self.layer(f"{self.state} + {branch}")

    def post_norm(self) -> str:
        return self.layer(f"LayerNorm()({self.state} + {self.linear(self.act(self.state))})")

    def batch_norm(self) -> str:
        return self.act(self.layer(f"BatchNorm1d()({self.linear(self.state)})"))

    def dense(self) -> str:
        part = self.act(self.linear(self.state, 8))
        self.width += 8
        return self.layer(f"concat({self.state}, {part})")

    def coherent(self) -> str:
        z = self.linear(self.state)
        return self.layer(f"{z} + {self.act(z)}")

    def gate(self) -> str:
        t = self.layer(f"Sigmoid()({self.linear(self.state)})")
        h = self.act(self.linear(self.state))
        return self.layer(f"{t}*{h} + (1 - {t})*{self.state}")


BLOCKS: tuple[Callable[[Spec], str], ...] = (
    Spec.plain,
    Spec.post_activation,
    Spec.pre_activation,
    Spec.pre_norm,
    Spec.post_norm,
    Spec.batch_norm,
    Spec.dense,
    Spec.coherent,
    Spec.gate,
)


def random_spec(rng: random.Random) -> Graph:
    """Return a network of two to five blocks, with β ≤ 1."""
    spec = Spec(rng, rng.choice(WIDTHS))
    width = spec.width
    for i in range(rng.randint(2, 5)):
        if i >= 1 and spec.beta + 2 * SPREAD / spec.width > 1:
            break
        spec.state = rng.choice(BLOCKS)(spec)
    init = rng.choice(INITS)
    text = "\n".join(
        (
            "archgraph: 1\nname: random",
            f"inputs: {{x: [{width}]}}",
            "layers:",
            *spec.layers,
            f"init: {{{init}}}" if init else "",
            rng.choice(LOSSES),
        )
    )
    return parse(text.encode(), file="random.yaml")


def z_scores(seed: int, networks: int) -> list[float]:
    """(predicted − measured) / error for every node's energy of one random network."""
    rng = random.Random(seed)
    graph = random_spec(rng)
    predicted = predict(
        graph,
        method="finite",
        batch=BATCH,
        samples=networks,
        seed=seed + 1,
        matrices=rng.choice((None, "conditioned")),
    )
    first = networks * seed
    measured = measure(graph, seeds=range(first, first + networks), batch=BATCH)
    found = []
    for name, node in predicted.nodes.items():
        other = measured.nodes[name]
        error = math.hypot(node.standard_error or 0.0, other.standard_error or 0.0)
        if error > 1e-6 * (node.energy or 1.0):  # else nothing is random about it
            found.append((node.energy - other.energy) / error)
    return found
