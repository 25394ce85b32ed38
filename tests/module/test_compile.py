from __future__ import annotations

import copy
import inspect
import io
import pickle
import random
import subprocess
import sys
import traceback

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from archgraph.graph import Graph, GraphBuilder
from archgraph.module import compile, draw, loss, operations, source
from archgraph.ops import parse_call
from tests.module.networks import GOLDEN, attention, highway, residual
from tests.strategies import graphs, random_graph

ALMOST = {"rtol": 1e-12, "atol": 1e-13}
"""Float64: the same sums in another order."""


FUNCTIONS = {"ReLU": torch.relu, "Tanh": torch.tanh, "Sigmoid": torch.sigmoid}


class Interpreter:
    """Evaluates a random graph term by term; the arithmetic is written out, once per op."""

    def __init__(self, graph: Graph, network: nn.Module) -> None:
        self.graph, self.network = graph, network

    def __call__(self, *inputs: Tensor) -> dict[str, Tensor]:
        given, values = iter(inputs), {}
        for node in self.graph.nodes:
            if node.kind == "input":
                values[node.name] = next(given)
            elif node.kind == "layer":
                values[node.name] = self.layer(node, values)
        return values

    def layer(self, node, values: dict[str, Tensor]) -> Tensor:
        edges = self.graph.edges_into(node.name)
        terms = [self.scale(edge) * values[edge.source] for edge in edges]
        merged = terms[0]
        for term in terms[1:]:
            if edges[0].kind == "concat":
                merged = torch.cat([merged, term], dim=-1)
            else:
                merged = merged * term if edges[0].kind == "multiply" else merged + term
        if node.op is None:
            return merged
        if node.op.name == "Linear":
            weight = self.network.get_parameter(f"{node.name}.weight")
            return merged @ weight.T + self.network.get_parameter(f"{node.name}.bias")
        return FUNCTIONS[node.op.name](merged)

    def scale(self, edge) -> float | Tensor:
        learn = edge.scale.learn
        return self.network.get_parameter(learn.name) if learn else float(edge.scale.value)


def gradients(value: Tensor, network: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    wanted = [*inputs, *network.parameters()]
    if not value.requires_grad:
        return [torch.zeros_like(t) for t in wanted]
    return list(torch.autograd.grad(value, wanted, allow_unused=True, materialize_grads=True))


@settings(max_examples=80, deadline=None)
@given(graph=graphs())
def test_compiled_module_is_the_graph(graph):
    network, batch = compile(graph, seed=1, dtype=torch.float64), draw(graph)
    inputs = tuple(t.requires_grad_() for t in batch.inputs)
    outputs = network(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    values = Interpreter(graph, network)(*inputs)
    expected = tuple(values[node] for _, node in graph.outputs)
    torch.testing.assert_close(outputs, expected, **ALMOST)
    total = sum(
        float(term.scale.value)
        * (
            ((values[term.of] - target) ** 2).mean()
            if term.op is not None
            else (values[term.of] * target).sum()
        )
        for term, target in zip(graph.loss, batch.targets, strict=True)
    )
    measured = loss(graph, outputs, batch)
    scale = 1 + float(total.detach().abs())
    torch.testing.assert_close(measured / scale, total / scale, **ALMOST)
    ours, theirs = gradients(measured, network, inputs), gradients(total, network, inputs)
    size = 1 + max(float(g.abs().max()) for g in theirs)
    torch.testing.assert_close([g / size for g in ours], [g / size for g in theirs], **ALMOST)


class HandWrittenResidual(nn.Module):
    def __init__(self, width: int, lam: float) -> None:
        super().__init__()
        self.F1, self.F2, self.F3, self.F4 = (nn.Linear(width, width) for _ in range(4))
        self.lam = lam

    def forward(self, x1: Tensor) -> Tensor:
        x2 = torch.relu(self.F1(x1))
        x3 = torch.relu(self.F2(x2) + self.lam * x1)
        x4 = torch.relu(self.F3(x3))
        return torch.relu(self.F4(x4) + self.lam * x3)


class HandWrittenHighway(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        for i in (1, 2, 3):
            setattr(self, f"h{i}", nn.Linear(width, width))
            setattr(self, f"t{i}", nn.Linear(width, width))
        self.head = nn.Linear(width, 1)

    def forward(self, y: Tensor) -> Tensor:
        for h, t in ((self.h1, self.t1), (self.h2, self.t2), (self.h3, self.t3)):
            gate = torch.sigmoid(t(y))
            y = gate * torch.tanh(h(y)) + (1 - gate) * y
        return self.head(y)


@pytest.mark.parametrize(
    ("graph", "by_hand"),
    [(residual, HandWrittenResidual(16, 1.0)), (highway, HandWrittenHighway(16))],
)
def test_equals_a_hand_written_module(graph, by_hand):
    network, batch = compile(graph(), seed=0, dtype=torch.float64), draw(graph())
    by_hand = by_hand.double()
    by_hand.load_state_dict(network.state_dict())  # strict: the same keys
    outputs, expected = network(*batch.inputs), by_hand(*batch.inputs)
    torch.testing.assert_close(outputs, expected, **ALMOST)
    ours = torch.autograd.grad(outputs.square().sum(), list(network.parameters()))
    named = dict(by_hand.named_parameters())
    theirs = torch.autograd.grad(
        expected.square().sum(), [named[name] for name, _ in network.named_parameters()]
    )
    torch.testing.assert_close(ours, theirs, **ALMOST)


def test_attention_with_a_token_a_gate_and_ties():
    """Written out again with torch's functions, dropout off."""
    graph = attention()
    network = compile(graph, seed=0, dtype=torch.float64).eval()
    tokens, hint = draw(graph).inputs
    p = dict(network.named_parameters())
    x = p["wte.weight"][tokens] + 0.5 * p["wpe.weight"]
    x = torch.cat([p["token"].expand(len(tokens), 1, 6), x], dim=1)
    q, k, v = (x @ p["c_attn.weight"].T + p["c_attn.bias"]).split(6, dim=-1)
    heads = []
    for rows in (slice(0, 3), slice(3, 6)):
        scores = q[..., rows] @ k[..., rows].transpose(1, 2) / 3**0.5
        heads.append(scores.softmax(-1) @ v[..., rows])
    y = torch.cat(heads, dim=-1) + p["gain"] * x
    z = -(y[:, 0] * (1 - hint.sigmoid())) @ p["0.weight"].T + p["0.bias"]
    torch.testing.assert_close(network(tokens, hint), (z @ p["wte.weight"].T, y), **ALMOST)
    assert network.lm.head.weight is network.wte.weight


def test_what_is_printed_is_what_runs():
    network = compile(residual())
    assert inspect.getsource(type(network)) in source(residual())
    assert "class Residual(nn.Module):" in inspect.getsource(type(network))
    assert inspect.getsource(sys.modules[type(network).__module__]) == source(residual())
    with pytest.raises(RuntimeError) as caught:
        network(torch.zeros(2, 3))
    assert "x = self.x2(self.F1(x1))" in "".join(traceback.format_exception(caught.value))
    assert type(compile(residual())) is type(network)


def test_seed_fixes_the_weights_and_leaves_the_global_state():
    state = torch.get_rng_state()
    one, other, third = (compile(residual(), seed=seed) for seed in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.F1.weight, other.F1.weight)
    assert not torch.equal(one.F1.weight, third.F1.weight)
    torch.manual_seed(7)
    assert torch.equal(compile(residual()).F1.weight, one.F1.weight)


def test_dtype_and_device():
    network = compile(attention(), dtype=torch.float64, device="meta")
    assert {(p.dtype, p.device.type) for p in network.parameters()} == {(torch.float64, "meta")}
    assert network.lm.head.weight is network.wte.weight


def test_initialisers_are_applied():
    network = compile(attention(), seed=0)
    assert not network.c_attn.bias.any()
    assert 0.01 < network.c_attn.weight.std() < 0.03
    assert network.wpe.weight.std() > 0.5  # an Embedding is no weight layer
    gates = compile(highway(), seed=0)
    assert torch.equal(gates.t2.bias, torch.full((16,), -2.0))
    assert gates.h2.bias.any()


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("way", ["pickle", "deepcopy", "torch.save"])
def test_copies_are_equal_and_independent(name, way):
    graph = GOLDEN[name]()
    network, batch = compile(graph, seed=0).eval(), draw(graph, dtype=torch.float32)
    if way == "deepcopy":
        twin = copy.deepcopy(network)
    elif way == "pickle":
        twin = pickle.loads(pickle.dumps(network))
    else:
        file = io.BytesIO()
        torch.save(network, file)
        file.seek(0)
        twin = torch.load(file, weights_only=False)
    assert type(twin) is type(network)
    torch.testing.assert_close(twin(*batch.inputs), network(*batch.inputs), rtol=0, atol=0)
    assert not {p.data_ptr() for p in twin.parameters()} & {
        p.data_ptr() for p in network.parameters()
    }


def test_another_process_rebuilds_the_class_from_the_text(tmp_path):
    network, batch = compile(residual(), seed=0), draw(residual(), dtype=torch.float32)
    path = tmp_path / "network.pt"
    torch.save((network, batch.inputs, network(*batch.inputs)), path)
    program = (
        "import inspect, sys, torch\n"
        "network, inputs, expected = torch.load(sys.argv[1], weights_only=False)\n"
        "assert torch.equal(network(*inputs), expected)\n"
        "print(inspect.getsource(type(network)).splitlines()[0])\n"
    )
    run = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True)
    assert run.stdout == "class Residual(nn.Module):\n", run.stderr


@pytest.mark.parametrize("name", GOLDEN)
def test_torch_compile_takes_the_whole_graph(name):
    graph = GOLDEN[name]()
    network, batch = compile(graph, seed=0).eval(), draw(graph, dtype=torch.float32)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*batch.inputs), network(*batch.inputs))


@pytest.mark.parametrize("name", GOLDEN)
def test_torch_export(name):
    graph = GOLDEN[name]()
    network, batch = compile(graph, seed=0).eval(), draw(graph, dtype=torch.float32)
    exported = torch.export.export(network, batch.inputs)
    torch.testing.assert_close(exported.module()(*batch.inputs), network(*batch.inputs))


# --- callables of the user ----------------------------------------------------------------------


def with_callables(function, module: nn.Module) -> Graph:
    builder = GraphBuilder("callables")
    first = builder.layer("first", function, [builder.input("x", (3,))])
    builder.layer("second", module, [first])
    return builder.build()


def test_callables_run_as_they_are_and_modules_are_copied():
    module = nn.Linear(3, 2)
    graph = with_callables(lambda value: value.square(), module)
    network = compile(graph)
    x = torch.randn(4, 3)
    torch.testing.assert_close(network(x), module(x.square()))
    assert network.second is not module
    assert torch.equal(network.second.weight, module.weight)
    with torch.no_grad():
        network.second.weight.zero_()
    assert module.weight.any()
    twin = copy.deepcopy(network)
    torch.testing.assert_close(twin(x), network(x))


def test_two_callables_of_one_name_are_two_networks():
    one, other = (compile(with_callables(lambda v, k=k: v * k, nn.Identity())) for k in (2.0, 3.0))
    x = torch.ones(1, 3)
    assert (one(x).sum(), other(x).sum(), one(x).sum()) == (6, 9, 6)


def test_importable_callables_are_pickled_by_name():
    network = compile(with_callables(torch.tanh, nn.Linear(3, 2)))
    twin = pickle.loads(pickle.dumps(network))
    x = torch.randn(4, 3)
    torch.testing.assert_close(twin(x), network(x), rtol=0, atol=0)


# --- operations ---------------------------------------------------------------------------------


def test_operations_of_a_random_graph_run_node_by_node():
    graph = random_graph(random.Random(4), max_layers=10)
    network, batch = compile(graph, seed=0, dtype=torch.float64), draw(graph)
    interpreter = Interpreter(graph, network)
    values, found = interpreter(*batch.inputs), operations(graph, network)
    layers = [node for node in graph.nodes if node.op is not None]
    assert set(found) == {node.name for node in layers}
    for node in layers:
        assert found[node.name] is network.get_submodule(node.module)
        merged = interpreter.layer(_without_op(node), values)
        torch.testing.assert_close(found[node.name](merged), values[node.name], **ALMOST)


def _without_op(node):
    from dataclasses import replace

    return replace(node, op=None)


def test_operations_of_every_kind():
    graph = attention()
    found = operations(graph, compile(graph))
    x = torch.randn(2, 4, 18)
    assert torch.equal(found["k"](input=x), x[..., 6:12])
    assert torch.equal(found["1 - gate"](input=x), 1 - x)
    assert found["positions"](input=torch.zeros(2, 5)).tolist() == [[0, 1, 2, 3, 4]]
    function = torch.sinh
    opaque = with_callables(function, nn.Linear(3, 2))
    network = compile(opaque)
    assert operations(opaque, network) == {"first": function, "second": network.second}


def test_a_network_may_be_named_like_an_op():
    builder = GraphBuilder("parameter")
    token = builder.layer("token", parse_call("Parameter(3)"), {})
    builder.layer("y", None, [token, builder.input("x", (3,))])
    network = compile(builder.build())
    assert type(network).__name__ == "ParameterNet"
    assert network(torch.zeros(2, 3)).shape == (2, 3)
