"""Networks with everything that makes a pass hard to record, and a way to split them by hand."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor, nn

from archgraph.gradient import Tape, record
from archgraph.graph import Graph, GraphBuilder, Scale, Term, learnable
from archgraph.module.build import compile as compile_graph
from archgraph.module.build import operations
from archgraph.module.loss import Batch, draw, term_loss
from archgraph.module.shapes import infer
from archgraph.ops import opaque
from archgraph.ops import parse_call as call

torch.set_num_threads(1)


def made(
    graph: Graph, *, seed: int = 0, batch: int = 2, dtype: torch.dtype = torch.float64
) -> tuple[nn.Module, Batch]:
    """The compiled module, and a batch for it."""
    module = compile_graph(graph, seed=seed, dtype=dtype)
    return module, draw(graph, batch=batch, seed=seed, dtype=dtype)


def recorded(
    graph: Graph,
    *,
    seed: int = 0,
    batch: int = 2,
    train: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Tape:
    """A recorded pass."""
    module, drawn = made(graph, seed=seed, batch=batch, dtype=dtype)
    return record(graph, module, drawn, train=train, seed=seed)


def path_by_autograd(tape: Tape, wrt: str, edges: Collection[str]) -> Tensor:
    """∂L/∂wrt when every edge off the path is cut: an oracle for one path, in one plain graph."""
    graph, batch = tape.graph, tape.batch
    layers, dims = operations(graph, tape.module), infer(graph).dims
    given = iter(batch.inputs)
    values: dict[str, Tensor] = {}
    total = torch.zeros(())
    for node in graph.nodes:
        if node.kind == "input":
            values[node.name] = next(given).detach()
        terms: dict[str, list[Tensor]] = {}
        for edge in graph.edges_into(node.name):
            value = values[edge.source]
            value = value if edge.id in edges else value.detach()
            learn = edge.scale.learn
            if learn is not None:
                factor = tape.module.get_parameter(learn.name)
                on_path = wrt == learn.name and any(
                    user == graph.positions[node.name] and scaled == edge.index
                    for user, scaled in graph.parameter_users[wrt]
                )
                factor = factor if on_path else factor.detach()
                value = (factor if learn.index is None else factor[learn.index]) * value
            elif node.kind != "loss":
                value = value * float(edge.scale.value)
            terms.setdefault(edge.port, []).append(value)
        if node.kind == "loss":
            losses = [
                float(edge.scale.value) * term_loss(graph, i, value, batch.targets[i])
                for i, (edge, value) in enumerate(
                    zip(graph.edges_into(node.name), terms["input"], strict=True)
                )
            ]
            total = torch.stack(losses).sum()
        elif node.kind == "layer":
            merged = {}
            for port, parts in terms.items():
                kind = graph.merge_kind(node.name, port)
                if kind == "concat":
                    merged[port] = torch.cat(parts, dims[node.name, port])
                elif kind == "multiply":
                    merged[port] = torch.stack(parts).prod(0)
                else:
                    merged[port] = torch.stack(parts).sum(0)
            layer = layers.get(node.name)
            values[node.name] = layer(*merged.values()) if layer else next(iter(merged.values()))
        if node.name == wrt:
            values[wrt] = values[wrt].detach().requires_grad_()
    target = values[wrt] if wrt in values else tape.module.get_parameter(wrt)
    if not total.requires_grad:
        return torch.zeros_like(target)
    (gradient,) = torch.autograd.grad(total, [target], allow_unused=True)
    return torch.zeros_like(target) if gradient is None else gradient


def residual(blocks: int, *, scale: float = 1, dropout: float = 0.5) -> Graph:
    """Blocks x ← λx + Dropout(Tanh(BatchNorm(Wx)))."""
    b = GraphBuilder("blocks")
    state = b.input("x", (4,))
    for i in range(blocks):
        value = b.layer(f"fc{i}", call("Linear(4)"), [state])
        value = b.layer(f"bn{i}", call("BatchNorm1d()"), [value])
        value = b.layer(f"act{i}", call("Tanh()"), [value])
        value = b.layer(f"drop{i}", call(f"Dropout({dropout})"), [value])
        state = b.layer(f"s{i}", None, [value, Term(state, Scale(scale))])
    b.output(state)
    b.loss(state, call("MSELoss()"))
    return b.build()


def attention() -> Graph:
    """Self-attention by ports with its own dropout, a norm, a residual, and a class token."""
    b = GraphBuilder("attention")
    b.input("x", (3, 4))
    b.layer("token", call("Parameter(1, 4)"), {})
    b.layer("tokens", None, ["token", "x"], merge="concat", dim=1)
    b.layer("norm", call("LayerNorm()"), ["tokens"])
    for port in ("q", "k", "v"):
        b.layer(port, call("Linear(4)"), ["norm"])
    sdpa = call("ScaledDotProductAttention(2, dropout=0.3)")
    b.layer("sdpa", sdpa, {"query": ["q"], "key": ["k"], "value": ["v"]})
    b.layer("y", None, ["sdpa", Term("tokens", learnable("alpha", 0.5, per_channel=True))])
    b.output("y")
    return b.build()


def library_attention() -> Graph:
    """torch's own attention layer, whose result is a tuple, in a residual."""
    b = GraphBuilder("mha")
    b.input("x", (3, 4))
    layer = call("MultiheadAttention(2, dropout=0.2)")
    b.layer("mha", layer, {"query": ["x"], "key": ["x"], "value": ["x"]})
    b.layer("y", None, [Term("mha", element=0), "x"])
    b.output("y")
    return b.build()


def language() -> Graph:
    """Tokens and positions embedded and added, and a head tied to the embedding."""
    b = GraphBuilder("language")
    b.input("idx", (5,), dtype="int64", below=7)
    b.layer("wte", call("Embedding(7, 4)"), ["idx"])
    b.layer("pos", call("Positions()"), ["idx"])
    b.layer("wpe", call("Embedding(5, 4)"), ["pos"])
    b.layer("emb", None, ["wte", "wpe"])
    b.layer("fc", call("Linear(4)"), ["emb"])
    b.layer("h", None, ["fc", "emb"])
    b.layer("head", call("Linear(7, bias=False)"), ["h"])
    b.output("head")
    b.loss("head", call("CrossEntropyLoss()"))
    return replace(b.build(), ties=(("head.weight", "wte.weight"),))


def shared() -> Graph:
    """h ← tanh(W h + x) three times, with one W."""
    b = GraphBuilder("recurrent")
    b.input("x", (3,))
    state = b.input("h0", (3,))
    for i in range(3):
        b.layer(f"W{i}", call("Linear(3)"), [state])
        state = b.layer(f"h{i + 1}", call("Tanh()"), [f"W{i}", "x"])
    b.output(state)
    graph = b.build()
    nodes = [replace(n, module="W0") if n.name.startswith("W") else n for n in graph.nodes]
    return replace(graph, nodes=tuple(nodes))


class Noisy(nn.Module):
    """Knows nothing of archgraph: random in every mode, and counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 3))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return torch.sin(x * self.weight) * y + self.calls * torch.rand_like(x)


def mixture() -> Graph:
    """λ that are elements of one vector, one of them read twice, before a layer and in a concat."""
    b = GraphBuilder("mixture")
    b.input("x", (4,))

    def weigh(source: str, index: int) -> Term:
        return Term(source, learnable("w", (1, 2, -1)[index], index=index, count=3))

    b.layer("f", call("Linear(4)"), ["x"])
    b.layer("g", call("Tanh()"), ["f"])
    b.layer("m", call("Linear(4)"), [weigh("x", 0), weigh("f", 1), weigh("g", 2)])
    b.layer("c", call("Linear(4)"), [weigh("m", 0), "f"], merge="concat")
    b.layer("y", None, ["c", weigh("x", 1)])
    b.output("y")
    return b.build()


def strange(function=None) -> Graph:
    """Callables that archgraph knows nothing about, one of them random and with a state."""
    b = GraphBuilder("strange")
    b.input("x", (3,))
    b.layer("fc", call("Linear(3)"), ["x"])
    b.layer("f", opaque(function or (lambda v: v.cumsum(-1) * v)), ["fc"])
    b.layer("noisy", opaque(Noisy(), ("x", "y")), {"x": ["f"], "y": ["fc", "x"]})
    b.layer("out", None, ["noisy", "f"])
    b.output("out")
    return b.build()


def tuples() -> Graph:
    """A layer that returns a tuple, of which both elements are read."""
    b = GraphBuilder("tuples")
    b.input("x", (4,))
    b.layer("split", opaque(lambda v: (v[:, :2] * 2, v[:, 2:] ** 2)), ["x"])
    b.layer("a", call("Linear(2)"), [Term("split", element=0)])
    b.layer("y", None, ["a", Term("split", element=1), Term("split", element=0)])
    b.output("y")
    return b.build()


def noise() -> Graph:
    """A callable that is no layer and random in every mode."""
    b = GraphBuilder("noise")
    b.input("x", (3,))
    b.layer("noise", opaque(lambda v: v * torch.rand_like(v)), ["x"])
    b.layer("y", call("Linear(3)"), ["noise", "x"])
    b.output("y")
    return b.build()


HARD = {
    "noise": noise(),
    "blocks": residual(2),
    "attention": attention(),
    "mha": library_attention(),
    "language": language(),
    "mixture": mixture(),
    "recurrent": shared(),
    "strange": strange(),
    "tuples": tuples(),
}
