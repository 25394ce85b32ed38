"""Small specs with blocks, one for each way in which blocks become classes, and an oracle."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archgraph.graph import Edge, Graph
from archgraph.module import infer, operations
from archgraph.spec import parse

SPECS = {
    "optional": """
params: {lam: 0.5}
inputs: {x: [4, 6, 6]}
blocks:
  projection:
    params: {c: required, stride: 1}
    layers:
      "0": Conv2d(c, 1, stride=stride, bias=False)
      "1": BatchNorm2d()
  unit:
    params: {c: required, stride: 1, project: false}
    layers:
      conv1: Conv2d(c, 3, stride=stride, padding=1, bias=False)
      bn1: BatchNorm2d()
      relu1: ReLU()
      conv2: Conv2d(2*c, 3, padding=1, bias=False)
      downsample: {op: "projection(2*c, stride)(input)", when: project}
      out: ReLU()(conv2 + lam*downsample)
layers:
  layer1: {op: "unit(4, 1, i == 0)", repeat: 3}
  layer2: {op: "unit(6, 2 if i == 0 else 1, i == 0)", repeat: 2}
  pool: AdaptiveAvgPool2d(1)
  flatten: Flatten()
  fc: Linear(3)
""",
    "optional_merge": """
inputs: {x: [6]}
blocks:
  unit:
    params: {skip: required}
    layers:
      fc: Linear(6)
      total: {op: fc + input, when: skip}
      out: Tanh()
layers:
  a: unit(True)
  b: unit(False)
  c: unit(True)
""",
    "first_differs": """
inputs: {x: [4]}
blocks:
  unit:
    params: {first: false}
    layers:
      act: Tanh()
      fc: Linear(4)
      shortcut: {op: "Linear(4)(act if first else input)", when: first}
      out: fc + shortcut
layers:
  h: {op: unit(i == 0), repeat: 3}
""",
    "dense": """
params: {k: 3, counts: [2, 3]}
inputs: {x: [5, 4, 4]}
blocks:
  layer:
    layers:
      norm: BatchNorm2d()
      conv: Conv2d(k, 3, padding=1, bias=False)
  shrink:
    layers:
      conv: Conv2d(cin // 2, 1)
      pool: AvgPool2d(2)
layers:
  features:
    layers:
      conv0: Conv2d(2*k, 3, padding=1)
      block1: {op: layer(), repeat: "counts[0]", connect: concat, names: "unit{n}"}
      shrink1: shrink()
      block2: {op: layer(), repeat: "counts[1]", connect: concat, names: "unit{n}"}
  pool: AdaptiveAvgPool2d(1)
  flatten: Flatten()
  fc: Linear(2)
""",
    "added": """
inputs: {x: [4]}
blocks:
  f:
    layers: {fc: Linear(4), act: Tanh()}
layers:
  body: {op: f(), repeat: 3, connect: add}
  grown: {op: f(), repeat: 3, connect: concat}
  plain: {op: Linear(4), repeat: 3, connect: add, from: body}
  head: Linear(2)(concat(grown, plain))
""",
    "shared": """
params: {steps: 4, width: 5}
inputs: {x: [steps, 3], h0: [width]}
blocks:
  cell:
    params: {t: required}
    inputs: [h, x]
    layers:
      x_t: Select(1, t)(x)
      W: Linear(width, bias=False)(h)
      U: Linear(width)(x_t)
      out: Tanh()(W + U)
layers:
  h: {op: "cell(i)(h[i - 1] if i > 0 else h0, x)", repeat: steps, share: true}
  fc: {op: Linear(width), repeat: 3, share: true}
  again: {op: Linear(width), share: fc}
""",
    "pyramid": """
params: {depth: 3, c: 4}
inputs: {x: [3, 16, 16]}
blocks:
  double:
    params: {n: required}
    layers: {conv: "Conv2d(n, 3, padding=1, bias=False)", bn: BatchNorm2d(), relu: ReLU()}
  down:
    params: {n: required}
    layers: {pool: MaxPool2d(2), conv: double(n)}
  up:
    params: {n: required}
    inputs: [below, across]
    layers:
      up: ConvTranspose2d(n, 2, stride=2)(below)
      conv: double(n)(concat(across, up))
layers:
  stem: double(c)
  enc: {op: down(c * 2**(i + 1)), repeat: depth}
  dec:
    op: >-
      up(c * 2**(depth - 1 - i))(dec[i - 1] if i > 0 else enc,
      enc[depth - 2 - i] if i < depth - 1 else stem)
    repeat: depth
  head: Conv2d(2, 1)
""",
    "mixed": """
params: {depth: 4, width: 4}
inputs: {x: [width]}
blocks:
  block:
    layers:
      ln: LayerNorm()
      fc: Linear(width)
      out: input + learn(0.5, per='channel', name='gain')*fc
layers:
  h: {op: "block()(mix(x, h[:i], learn(1 if j == i else 0.25)))", repeat: depth}
  out: sum(h[:])
""",
    "groups": """
params: {width: 4}
inputs: {x: [width, 8]}
blocks:
  unit:
    params: {act: ReLU, inner: required}
    layers:
      branch:
        layers:
          "0": Linear(inner)
          turn: Transpose(1, 2)
          back: Transpose(1, 2)
          "1": act()
          "2": Linear(8)
      gate:
        from: input
        layers: {fc: Linear(8), sigmoid: Sigmoid()}
      out: gate*branch + input
layers:
  first: unit(Tanh, 3)
  second: unit(inner=5)
  third: unit(inner=width)
  tail:
    layers:
      a: Linear(8)
      both: a + first
      b: Linear(2)
""",
    "several": """
params: {width: 4}
inputs: {x: [width], y: [width]}
blocks:
  both:
    inputs: [a, b]
    outputs: {total: plus, product: times}
    layers:
      fc_a: Linear(width)(a)
      fc_b: Linear(width)(b)
      plus: fc_a + fc_b
      times: fc_a*fc_b
  inside:
    layers: {v: Linear(width), act: Tanh(), out: v + act}
layers:
  first: both()(x, y)
  second: both()(first.total, first.product)
  h: {op: inside(), repeat: 3}
  head: Linear(2)(h + h[0].v + second.product)
""",
    "nested": """
params: {width: 4}
inputs: {x: [width]}
blocks:
  pair:
    params: {n: 1}
    layers:
      body: {op: Linear(width), repeat: n}
      scaled: 2*body - input
  outer:
    params: {counts: required}
    layers:
      first: {op: "pair(i + 1)", repeat: "counts[0]"}
      second:
        layers: {norm: LayerNorm(), act: Tanh()}
        repeat: "counts[1]"
layers:
  a: outer([2, 2])
  b: outer([3, 1])
  h: {op: pair(), repeat: 2, names: "stage_{i}"}
init: {weight: normal(std=0.1), bias: 0}
""",
    "starts": """
inputs: {x: [4]}
blocks:
  unit:
    layers:
      fc1: {op: Linear(4), init: {bias: 1}}
      list: {op: Linear(4), repeat: 2}
      fc2: {op: Linear(4), init: {weight: 0}}
      out: fc2 + input
layers:
  a: unit()
  b: unit()
init: {weight: xavier_normal(gain=0.5), bias: 0}
tie: {b.fc1.weight: a.fc1.weight}
""",
    "branches": """
params: {widths: [4, 6], depth: 2, heads: 2}
inputs: {x: [5, 4]}
blocks:
  inner:
    params: {w: required, gate: false}
    inputs: [a, b]
    outputs: {main: out, side: g}
    layers:
      fa: Linear(w)(a)
      fb: Linear(w)(b)
      g: Sigmoid()(fa)
      out: {op: fb*g + fa, when: gate}
  outer:
    params: {w: required, n: 1}
    layers:
      first: inner(w)(input, input)
      rest:
        op: inner(w, gate=i > 0)(rest[i - 1].main if i > 0 else first.main, first.side)
        repeat: n
      out: rest + first
layers:
  stages: {op: "outer(widths[i], depth)", repeat: 2}
  h: {op: "Linear(widths[1])", repeat: depth, connect: add}
  mixer: mix(stages, h, learn(1/2))
  out: Linear(3)
""",
    "growing": """
params: {growth: 3, n: 3, scale: 0.5, act: ReLU, wide: true}
inputs: {x: [4, 8, 8]}
blocks:
  dense:
    params: {k: growth, layers: n}
    layers:
      grow:
        layers: {norm: BatchNorm2d, act: act(), conv: "Conv2d(k, 3, padding=1)"}
        repeat: layers
        connect: concat
      squeeze: Conv2d(cin // 2, 1)
  res:
    params: {c: required, e: 2}
    layers:
      up: Conv2d(c*e, 1)
      act: act()
      down: Conv2d(c, 1)
      out: scale*input + learn(0.1, name='alpha')*down
layers:
  d1: dense()
  d2: {op: "dense(2*growth, n - 1)", when: wide}
  p: Conv2d(8, 1)
  body: {op: "res(8, i + 1)", repeat: n, names: "r{n}"}
  again: {op: "Conv2d(8, 1)", repeat: 2, share: true}
  flat: Flatten()
  fc: Linear(2)
""",
    "lost": """
about: Sizes that no text explains; a repeat whose copies differ in what nothing says.
inputs: {x: [6]}
blocks:
  unit:
    layers:
      parts: Chunk(2, 0)
      wide: concat(input, parts)
      fc: Linear(len([1, 2, 3, 4, 5, 6]))(wide)
  any_size:
    layers: {norm: LayerNorm(), fc: Linear(cin + 1)}
layers:
  a: {op: unit(), repeat: 2}
  b: {op: any_size(), repeat: 3}
  c: any_size()
  d: {op: Linear(3 if i == 1 else 7), repeat: 4}
""",
}


def spec(name: str) -> Graph:
    text = f"archgraph: 1\nname: {name}\n{SPECS[name].strip()}\n"
    return parse(text, file=f"{name}.yaml")


def evaluate(graph: Graph, network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Run a network node by node: merges written out here, ops by the layers that it holds."""
    layers, shapes, given = operations(graph, network), infer(graph), iter(inputs)
    values: dict[str, Tensor] = {}
    for node in graph.nodes[:-1]:
        if node.kind == "input":
            values[node.name] = next(given)
            continue
        ports = {}
        for port, edges in graph.ports(node.name).items():
            terms = [_scaled(edge, values[edge.source], network) for edge in edges]
            merged = terms[0]
            if edges[0].kind == "concat":
                merged = torch.cat(terms, dim=shapes.dims[node.name, port])
            for term in terms[1:] if edges[0].kind != "concat" else []:
                merged = merged * term if edges[0].kind == "multiply" else merged + term
            ports[port] = merged
        if node.op is None:
            (values[node.name],) = ports.values()
        elif node.op.op.origin == "opaque":
            values[node.name] = layers[node.name](*ports.values())
        else:
            values[node.name] = layers[node.name](**ports)
    return tuple(values[node] for _, node in graph.outputs)


def _scaled(edge: Edge, value: Tensor, network: nn.Module) -> Tensor:
    if edge.scale.learn is None:
        return value if edge.scale.value == 1 else float(edge.scale.value) * value
    factor = network.get_parameter(edge.scale.learn.name)
    return (factor if edge.scale.learn.index is None else factor[edge.scale.learn.index]) * value
