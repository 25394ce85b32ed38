"""The architectures on which the finite-width sampler is held against real networks."""

from __future__ import annotations

import math

from torch import Tensor

from archgraph.graph import Graph
from archgraph.spec import parse
from tests.prediction import oracle

HE = "init: {weight: kaiming_normal(nonlinearity='relu'), bias: 0}"
XAVIER = "init: {weight: xavier_normal, bias: 0}"

LAYERS = {
    "plain_tanh": ("{z: Linear(n), out: Tanh()}", XAVIER),
    "post_activation": ("{F: Linear(n), out: ReLU()(input + F)}", XAVIER),
    "pre_ln": ("{l: LayerNorm(), F: Linear(n), out: input + F}", XAVIER),
    "post_ln": ("{a: ReLU(), F: Linear(n), out: LayerNorm()(input + F)}", HE),
    "batch_norm": ("{F: Linear(n), b: BatchNorm1d(), out: ReLU()}", HE),
    "relu_features": ("{F: Linear(n), out: ReLU()}", HE),
}
BATCH = 6


def architecture(name: str, width: int) -> Graph:
    if name == "dense":
        growth = width // 4
        block, init, count = f"{{F: Linear({growth}), out: ReLU()}}", HE, "connect: concat"
    else:
        (block, init), count = LAYERS[name], ""
    loss = "loss: MSELoss(reduction='sum')" if name == "relu_features" else ""
    repeat = ", ".join(filter(None, ["op: block()", f"repeat: {oracle.DEPTH}", count]))
    text = f"""
archgraph: 1
name: net
params: {{n: {width}}}
inputs: {{x: [n]}}
blocks: {{block: {{layers: {block}}}}}
layers: {{h: {{{repeat}}}}}
{init}
{loss}
"""
    return parse(text.encode(), file=f"{name}.yaml")


def real(name: str, width: int, networks: int) -> dict[str, Tensor]:
    gain = math.sqrt(2) if name not in ("plain_tanh", "post_activation", "pre_ln") else 1.0
    growth = width // 4
    shapes = [
        (growth, width + i * growth) if name == "dense" else (width, width)
        for i in range(oracle.DEPTH)
    ]
    return oracle.energies(
        getattr(oracle, name),
        shapes,
        [gain / math.sqrt(fan_in) for _, fan_in in shapes],
        networks=networks,
        batch=BATCH,
        features=name == "relu_features",
        seed=width,
    )
