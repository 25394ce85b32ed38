"""Small graphs to draw, and made-up flows over them."""

from __future__ import annotations

from fractions import Fraction

from archgraph.graph import Graph, GraphBuilder, Scale, Term
from archgraph.ops import OpCall, catalogue
from archgraph.picture import Flow, PathRow


def call(name: str, **arguments: object) -> OpCall:
    op = catalogue.get(name)
    assert op is not None
    return OpCall(op, tuple(arguments.items()))


LAM = Scale(1, text="lam")


def residual(lam: Scale = LAM) -> Graph:
    builder = GraphBuilder("residual")
    x1 = builder.input("x1", (16,))
    f1 = builder.layer("F1", call("Linear", out_features=16), [x1])
    x2 = builder.layer("x2", call("ReLU"), [f1])
    f2 = builder.layer("F2", call("Linear", out_features=16), [x2])
    x3 = builder.layer("x3", call("ReLU"), [f2, Term(x1, lam)])
    f3 = builder.layer("F3", call("Linear", out_features=16), [x3])
    x4 = builder.layer("x4", call("ReLU"), [f3])
    f4 = builder.layer("F4", call("Linear", out_features=16), [x4])
    builder.layer("x5", call("ReLU"), [f4, Term(x3, lam)])
    return builder.build()


def residual_flow(**changes: object) -> Flow:
    shares = {
        "x5->L": 1.0,
        "x3->x5": 0.82,
        "F4->x5": 0.18,
        "x4->F4": 0.18,
        "F3->x4": 0.18,
        "x3->F3": 0.18,
        "x1->x3": 0.78,
        "F2->x3": 0.22,
        "x2->F2": 0.22,
        "F1->x2": 0.22,
        "x1->F1": 0.22,
    }
    norms = {
        "x5->L": 0.9,
        "x3->x5": 0.6,
        "F4->x5": 0.6,
        "x4->F4": 0.2,
        "F3->x4": 0.15,
        "x3->F3": 0.09,
        "x1->x3": 0.5,
        "F2->x3": 0.5,
        "x2->F2": 0.12,
        "F1->x2": 0.08,
        "x1->F1": 0.03,
    }
    rows = (
        PathRow("x1 ← x3 ← x5 ← L", 0.3, 0.66),
        PathRow("x1 ← x3 ← F3 ← x4 ← F4 ← x5 ← L", 0.1, 0.12),
        PathRow("x1 ← F1 ← x2 ← F2 ← x3 ← x5 ← L", 0.14, 0.16),
        PathRow("x1 ← F1 ← x2 ← F2 ← x3 ← F3 ← x4 ← F4 ← x5 ← L", 0.05, 0.06),
    )
    fields = {
        "wrt": "x1",
        "shares": shares,
        "norms": norms,
        "norm": 0.312,
        "paths": rows,
        "length_shares": {3: 0.66, 6: 0.28, 9: 0.06},
        "loss": "CrossEntropyLoss",
        "batch": 4,
        "seed": 0,
        "dtype": "float64",
    }
    return Flow(**(fields | changes))  # type: ignore[arg-type]


def dense_block(depth: int = 5) -> Graph:
    builder = GraphBuilder("dense_block")
    states = [builder.input("H0", (24,))]
    for i in range(1, depth + 1):
        op = call("Linear", out_features=12)
        states.append(builder.layer(f"H{i}", op, list(states), merge="concat"))
    return builder.build()


def highway() -> Graph:
    builder = GraphBuilder("highway")
    x = builder.input("x", (64,))
    h = builder.layer("h", call("Linear", out_features=64), [x])
    candidate = builder.layer("H", call("Tanh"), [h])
    t = builder.layer("t", call("Linear", out_features=64), [x])
    gate = builder.layer("T", call("Sigmoid"), [t])
    first = builder.layer("out~1", None, [gate, candidate], merge="multiply")
    carry = builder.layer("out~2", call("Affine", scale=-1, shift=1), [gate])
    second = builder.layer("out~3", None, [carry, x], merge="multiply")
    out = builder.layer("out", None, [first, second])
    builder.layer("head", call("Linear", out_features=1), [out])
    return builder.build()


def scaled_residual(depth: int = 8, lam: Fraction | int = Fraction(1, 2)) -> Graph:
    builder = GraphBuilder("scaled_residual")
    state = builder.input("x0", (16,))
    for i in range(1, depth + 1):
        branch = builder.layer(f"F{i}", call("Linear", out_features=16), [state])
        state = builder.layer(f"x{i}", None, [branch, Term(state, Scale(lam, text="lam"))])
    builder.layer("head", call("Linear", out_features=1), [state])
    return builder.build()


def two_headed() -> Graph:
    builder = GraphBuilder("two_headed")
    image = builder.input("image", (3, 8, 8))
    stem = builder.layer("stem", call("Conv2d", out_channels=8, kernel_size=3, padding=1), [image])
    norm = builder.layer("bn", call("BatchNorm2d"), [stem])
    act = builder.layer("act", call("ReLU"), [norm])
    pool = builder.layer("pool", call("AdaptiveAvgPool2d", output_size=1), [act])
    flat = builder.layer("flat", call("Flatten"), [pool])
    main = builder.layer("main", call("Linear", out_features=10), [flat])
    aux = builder.layer("aux", lambda value: value.mean((2, 3)), [act])
    builder.output(main)
    builder.output(aux)
    builder.loss(main, call("CrossEntropyLoss"), name="main")
    builder.loss(aux, call("MSELoss"), scale=Fraction(3, 10), name="aux")
    return builder.build()
