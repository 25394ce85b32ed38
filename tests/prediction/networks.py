"""Small networks, a family of layers each, that predictions are held against real draws on."""

from __future__ import annotations

from archgraph.graph import Graph
from archgraph.spec import parse

HEAD = "archgraph: 1\nname: net\n"

SPECS = {
    "normal mean": """
inputs: {x: [10]}
layers: {a: Linear(12), b: Tanh(), c: Linear(8)}
init: {weight: "normal(mean=0.2, std=0.5)", bias: "uniform(a=0, b=1)"}
""",
    "orthogonal": """
inputs: {x: [10]}
layers: {a: Linear(14), b: ReLU(), c: Linear(6), d: Tanh(), e: Linear(6)}
init: {weight: "orthogonal(gain=1.3)", bias: 0.1}
""",
    "truncated and sparse": """
inputs: {x: [10]}
layers:
  a: {op: Linear(12), init: {weight: "trunc_normal(std=0.5, a=-0.4, b=1)"}}
  b: SiLU()
  c: {op: Linear(8), init: {weight: "sparse(sparsity=0.5, std=0.7)"}}
  d: {op: Linear(8), init: {weight: eye, bias: 0}}
  e: {op: Linear(4), init: {weight: 0.3, bias: 0}}
""",
    "gates and scales": """
inputs: {x: [12], y: [12]}
layers:
  t: Sigmoid()(x)
  a: Linear(12)(x - 0.5*y)
  g: t*a + (1 - t)*y
  s: learn(0.5, per='channel', name='alpha')*g + learn(2, name='beta')*x
  m: mix(a, g, s, learn(1/3))
  z: Linear(6)(concat(m, s, x))
loss: MSELoss()
""",
    "norms": """
inputs: {x: [4, 8]}
layers:
  a: Conv1d(8, 3, padding=1)
  b: BatchNorm1d()
  c: GroupNorm(4)
  d: PReLU(8)
  e: InstanceNorm1d(affine=True)
  f: Conv1d(6, 3, stride=2)
  g: Flatten()
  h: RMSNorm()
  fc: Linear(12)
  ln: LayerNorm()
  k: PReLU()
  l: Linear(3)
loss: CrossEntropyLoss()
""",
    "convolutions": """
inputs: {x: [4, 9, 8]}
layers:
  a:
    op: Conv2d(6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2))
    init: {weight: kaiming_normal}
  n: LayerNorm2d()
  b: GELU()
  c: Conv2d(6, 3, padding='same', groups=3, padding_mode='circular')
  d: MaxPool2d(2, stride=1)
  e: ConvTranspose2d(4, 3, stride=2, padding=1, output_padding=1, groups=2)
  f: AvgPool2d(2)
  g: AdaptiveAvgPool2d(2)
  h: Flatten()
  fc: Linear(4)
loss: CrossEntropyLoss()
""",
    "volumes": """
inputs: {x: [2, 4, 5, 4]}
layers:
  a: Conv3d(4, 3, padding=1)
  b: Tanh()
  c: ConvTranspose3d(2, 2, stride=2)
""",
    "language": """
inputs: {tokens: {shape: [5], dtype: int64, below: 11}}
layers:
  wte: Embedding(11, 8)
  where: Positions()(tokens)
  wpe: Embedding(5, 8)
  h: wte + wpe
  q: Linear(8)(h)
  k: Linear(8)(h)
  v: Linear(8)(h)
  att: ScaledDotProductAttention(2, is_causal=True)(query=q, key=k, value=v)
  o: Linear(8)
  r: h + o
  head: Linear(11, bias=False)
tie: {head.weight: wte.weight}
loss: CrossEntropyLoss()
""",
    "loops": """
inputs: {x: [6, 8]}
layers:
  token: Parameter(1, 8)
  s: concat(token, x, dim=1)
  a: MultiheadAttention(2)(query=s, key=s, value=s)
  l: LSTM(8)
  b: l + a
  d: Dropout(0.3)
  m: Mean(1)
  o: Linear(3)
init: {weight: xavier_uniform}
loss: CrossEntropyLoss()
""",
    "shared": """
inputs: {x: [12]}
blocks:
  cell:
    layers:
      z: Linear(12)
      a: Tanh()
layers:
  h: {op: cell(), repeat: 4, share: true}
  p: Linear(5)
init: {weight: xavier_normal(gain=1.5), bias: 0}
""",
    "several outputs": """
inputs: {x: [12]}
layers:
  a: Linear(10)
  b: ReLU()
  c: Linear(6)
  d: Linear(4)(b)
outputs: {main: c, aux: d}
loss: {main: {of: c, op: CrossEntropyLoss()}, aux: {of: d, op: MSELoss(), scale: 0.3}}
""",
}


def network(name: str) -> Graph:
    """Return one of the networks by name."""
    return parse((HEAD + SPECS[name]).encode(), file=f"{name}.yaml")
