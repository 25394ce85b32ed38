from __future__ import annotations

import gc
import random
import weakref

import pytest
import torch
from torch import nn

from archgraph.graph import GraphBuilder
from archgraph.module import compile, source
from archgraph.module.variables import share_names
from archgraph.ops import parse_call


@pytest.mark.parametrize(
    ("arguments", "statements", "expected"),
    [
        # x2 is read again after x3 is set, so the two live side by side
        (["a"], ["x1 = f(a)", "x2 = f(x1)", "x3 = f(x2)", "return x3 + x2"],
         ["x = f(a)", "x = f(x)", "x3 = f(x)", "return x3 + x"]),
        # the argument is read for the last time where its name is taken over
        (["x"], ["x1 = f(x)", "x2 = f(x1)", "return x2"], ["x = f(x)", "x = f(x)", "return x"]),
        # … and here it is not
        (["x"], ["x1 = f(x)", "x2 = f(x1)", "return x2 + x"],
         ["x1 = f(x)", "x2 = f(x1)", "return x2 + x"]),
        # another variable bears the name
        (["a"], ["x = f(a)", "x1 = f(x)", "x2 = f(x1)", "return x2 + x"],
         ["x = f(a)", "x1 = f(x)", "x2 = f(x1)", "return x2 + x"]),
        # something else is called so
        (["a"], ["f1 = f(a)", "f2 = f(f1)", "return f2"], ["f1 = f(a)", "f2 = f(f1)", "return f2"]),
        # attributes, keywords and strings are no variables
        (["a"], ["x1 = self.x1(x1=a)", "x2 = self.get('x1', x1)", "return x2.x2"],
         ["x = self.x1(x1=a)", "x = self.get('x1', x)", "return x.x2"]),
        # set together, so alive together
        (["a"], ["x1, x2 = f(a)", "return x1 + x2"], ["x1, x2 = f(a)", "return x1 + x2"]),
    ],
)  # fmt: skip
def test_share_names(arguments, statements, expected):
    assert share_names(arguments, statements, {"f", "self"}) == expected


def test_random_programs_compute_the_same():
    rng = random.Random(0)
    for _ in range(300):
        names = [f"{rng.choice('ab')}{i}" for i in range(rng.randint(1, 9))]
        statements, known = [], ["x", "a"]
        for name in names:
            statements.append(f"{name} = 3 * {rng.choice(known[-3:])} - {rng.choice(known)} + 1")
            known.append(name)
        statements.append(f"return {rng.choice(known)}, {rng.choice(known[-2:])}")
        assert run(statements) == run(share_names(["x", "a"], statements, ()))


def run(statements: list[str]) -> object:
    namespace: dict[str, object] = {}
    exec("def f(x, a):\n " + "\n ".join(statements), namespace)
    return namespace["f"](5, 7)


class Watch(nn.Module):
    """Passes a value on and notes how many of those passed on before are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[weakref.ref] = []
        self.most = 0

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        gc.collect()
        result = value + 1
        self.seen.append(weakref.ref(result))
        self.most = max(self.most, sum(ref() is not None for ref in self.seen))
        return result


def test_a_deep_network_holds_few_values_without_gradients():
    builder, watch = GraphBuilder("deep"), Watch()
    x = builder.input("x0", (3,))
    for i in range(20):
        branch = builder.layer(f"f{i}", parse_call("ReLU"), [x])
        x = builder.layer(f"x{i + 1}", parse_call("Identity"), [branch, x])
    graph = builder.build()
    assert source(graph).count("x = self.x") == 19
    network = compile(graph)
    for i in range(20):
        setattr(network, f"x{i + 1}", watch)
    with torch.no_grad():
        network(torch.zeros(2, 3))
    assert len(watch.seen) == 20
    assert watch.most <= 2
