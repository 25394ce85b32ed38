"""Small networks, built without any YAML, that the tests of views and equations share."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from archgraph.graph import Graph, GraphBuilder, Scale, Term, learnable
from archgraph.numbers import Number
from archgraph.ops import parse_call

LAMBDA = Scale(1, text="lam")


def residual(width: int = 16, lam: Number = 1) -> Graph:
    """x3 = ReLU(F2(x2) + λ·x1), x5 = ReLU(F4(x4) + λ·x3)."""
    b = GraphBuilder("residual")
    linear, relu, skip = parse_call(f"Linear({width})"), parse_call("ReLU"), Scale(lam, text="lam")
    b.input("x1", (width,))
    b.layer("F1", linear, ["x1"])
    b.layer("x2", relu, ["F1"])
    b.layer("F2", linear, ["x2"])
    b.layer("x3", relu, ["F2", Term("x1", skip)])
    b.layer("F3", linear, ["x3"])
    b.layer("x4", relu, ["F3"])
    b.layer("F4", linear, ["x4"])
    b.layer("x5", relu, ["F4", Term("x3", skip)])
    b.loss("x5", parse_call("CrossEntropyLoss()"))
    b.output("x5")
    return replace(b.build(), states=("x1", "x2", "x3", "x4", "x5"))


def dense_block(*, read_all: bool = False, k: int = 12) -> Graph:
    """H_l = f_l([H_0, …, H_{l−1}]); L reads H5 alone or every H."""
    b = GraphBuilder("dense_block_all" if read_all else "dense_block")
    b.input("H0", (24,))
    names = ["H0"]
    for i in range(1, 6):
        names.append(b.layer(f"H{i}", parse_call(f"Linear({k})"), list(names), merge="concat"))
    for name in names[1:] if read_all else names[-1:]:
        b.output(name)
    return replace(b.build(), states=tuple(names))


def highway(width: int = 4) -> Graph:
    """y = T·H + (1 − T)·x, its products and 1 − T implied merges."""
    b = GraphBuilder("highway")
    b.input("x", (width,))
    b.layer("h", parse_call(f"Linear({width})"), ["x"])
    b.layer("H", parse_call("Tanh"), ["h"])
    b.layer("t", parse_call(f"Linear({width})"), ["x"])
    b.layer("T", parse_call("Sigmoid"), ["t"])
    b.layer("y~1", None, ["T", "H"], merge="multiply")
    b.layer("y~2", parse_call("Affine(-1, 1)"), ["T"])
    b.layer("y~3", None, ["y~2", "x"], merge="multiply")
    b.layer("y", None, ["y~1", "y~3"])
    return b.build()


def projection() -> Graph:
    """y = ReLU(fc2(ReLU(fc1(x))) + p(x)) with a linear shortcut p."""
    b = GraphBuilder("projection_shortcut")
    b.input("x", (8,))
    b.layer("fc1", parse_call("Linear(8)"), ["x"])
    b.layer("act", parse_call("ReLU"), ["fc1"])
    b.layer("fc2", parse_call("Linear(4)"), ["act"])
    b.layer("p", parse_call("Linear(4, bias=False)"), ["x"])
    b.layer("y", parse_call("ReLU"), ["fc2", "p"])
    return b.build()


def mlp3() -> Graph:
    """Three weight layers in a chain, as the note on vanishing gradients has them."""
    b = GraphBuilder("mlp3")
    b.input("X", (4,))
    b.layer("Z1", parse_call("Linear(4)"), ["X"])
    b.layer("A1", parse_call("Sigmoid"), ["Z1"])
    b.layer("Z2", parse_call("Linear(4)"), ["A1"])
    b.layer("A2", parse_call("Sigmoid"), ["Z2"])
    b.layer("Z3", parse_call("Linear(1)"), ["A2"])
    b.layer("A3", parse_call("Sigmoid"), ["Z3"])
    b.loss("A3", parse_call("MSELoss"))
    return b.build()


def scaled_residual(blocks: int = 8, lam: Number = Fraction(1, 2)) -> Graph:
    """s ← λ·s + F(s), each block with the merge as its only state."""
    b = GraphBuilder("scaled_residual")
    state = b.input("s0", (4,))
    for i in range(1, blocks + 1):
        fc = b.layer(f"F{i}", parse_call("Linear(4)"), [state])
        state = b.layer(f"s{i}", None, [fc, Term(state, Scale(lam))])
    return b.build()


def parallel() -> Graph:
    """Three edges between the same two nodes, one of them negative."""
    b = GraphBuilder("parallel")
    b.input("x", (3,))
    b.layer("y", parse_call("Tanh"), ["x", Term("x", Scale(-1)), Term("x", Scale(Fraction(1, 3)))])
    b.layer("z", None, ["y", Term("x", Scale(Fraction(-1, 2)))])
    return b.build()


def rezero() -> Graph:
    """y = x + α·ReLU(W x), α learnable; the loss has two summands, one of them scaled."""
    b = GraphBuilder("rezero")
    b.input("x", (3,))
    b.layer("fc", parse_call("Linear(3)"), ["x"])
    b.layer("act", parse_call("ReLU"), ["fc"])
    b.layer("y", None, [Term("act", learnable("alpha", 0)), "x"])
    b.output("y")
    b.loss("y", None, name="main")
    b.loss("act", None, name="aux", scale=Fraction(3, 10))
    return b.build()
