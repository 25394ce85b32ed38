"""Small networks for the tests of this folder."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from archgraph.graph import Graph, GraphBuilder, Scale, Term, learnable
from archgraph.ops import OpCall, catalogue, parse_call
from archgraph.spec import load


def initialiser(name: str, **arguments: float | str) -> OpCall:
    op = catalogue.initialiser(name)
    assert op is not None
    return OpCall(op, tuple(arguments.items()))


def residual() -> Graph:
    return load("residual")


def highway() -> Graph:
    return load(Path(__file__).parent / "highway.yaml")


def projection_shortcut() -> Graph:
    return load("projection_shortcut")


def attention() -> Graph:
    """Tokens, a class token, attention by ports, a gate, learnable scales, tied weights."""
    builder = GraphBuilder("class-token attention")
    tokens = builder.input("tokens", (5,), dtype="int64", below=11)
    hint = builder.input("hint", (6,))
    wte = builder.layer("wte", parse_call("Embedding(11, 6)"), [tokens])
    positions = builder.layer("positions", parse_call("Positions"), [tokens])
    wpe = builder.layer("wpe", parse_call("Embedding(5, 6)"), [positions])
    embedded = builder.layer("embedded", None, [wte, Term(wpe, Scale(Fraction(1, 2)))])
    token = builder.layer("token", parse_call("Parameter(1, 6)"), {})
    x = builder.layer("x", None, [token, embedded], merge="concat", dim=1)
    attn = builder.layer("c_attn", parse_call("Linear(18)"), [x])
    q, k, v = (
        builder.layer(name, parse_call(f"Chunk(3, {i})"), [attn]) for i, name in enumerate("qkv")
    )
    call = parse_call("ScaledDotProductAttention(2, dropout=0.25)")
    mixed = builder.layer("mixed", call, {"query": [q], "key": [k], "value": [v]})
    gain = learnable("gain", 1, per_channel=True)
    y = builder.layer("y~1", None, [mixed, Term(x, gain)])
    first = builder.layer("class", parse_call("Select(1, 0)"), [y])
    gate = builder.layer("gate", parse_call("Sigmoid"), [hint])
    rest = builder.layer("1 - gate", parse_call("Affine(-1, 1)"), [gate])
    gated = builder.layer("gated", None, [first, rest], merge="multiply")
    out = builder.layer("0", parse_call("Linear(6)"), [Term(gated, Scale(-1))])
    head = builder.layer("lm.head", parse_call("Linear(11, bias=False)"), [out])
    builder.output(head, name="logits")
    builder.output(y)
    builder.loss(head, parse_call("CrossEntropyLoss"))
    builder.loss(y, None, scale=Fraction(1, 10), name="aux")
    return replace(
        builder.build(),
        about='A class token attends to "tokens"; a gate closes what it finds.',
        ties=(("lm.head.weight", "wte.weight"),),
        init=(("weight", initialiser("normal", std=0.02)), ("bias", 0)),
    )


GOLDEN = {f.__name__: f for f in (residual, highway, projection_shortcut, attention)}
