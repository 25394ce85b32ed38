"""Blocks as classes: every spec is the same network as its graph, whatever is nested how."""

from __future__ import annotations

import ast
import random
import re
import time
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from archgraph.graph import GraphBuilder, Instance
from archgraph.module import compile, draw, infer, source
from archgraph.ops import parse_call
from archgraph.spec import load, parse
from tests.goldens import assert_golden
from tests.module.nesting import nested
from tests.module.specs import SPECS, evaluate, spec
from tests.module.test_source import ROOT, assert_clean
from tests.strategies import random_graph

SKETCHES = ROOT / "tests" / "sketches"
EXACT = {"rtol": 1e-12, "atol": 1e-13}
NAMES = sorted(path.stem for path in SKETCHES.glob("*.yaml"))
SMALL = {
    "gpt2": {"depth": 3, "d": 12, "heads": 2, "vocab": 17, "context": 5},
    "unet": {"depth": 2, "c": 2},
    "rezero": {"depth": 4},
    "mlp": {"depth": 4},
}
"""Params that leave the structure and make the network cheap."""


def sketch(name: str, **params):
    return load(SKETCHES / f"{name}.yaml", **params)


def assert_is_the_graph(graph, *, training: bool = True) -> None:
    """Hold outputs, gradients and parameter names of the compiled module against the graph's."""
    network = compile(graph, seed=1, dtype=torch.float64).train(training)
    batch = draw(graph, batch=3)
    inputs = tuple(t.requires_grad_(t.is_floating_point()) for t in batch.inputs)
    leaves = [*(t for t in inputs if t.requires_grad), *network.parameters()]
    found = []
    for run in (lambda: network(*inputs), lambda: evaluate(graph, network, inputs)):
        torch.manual_seed(0)
        outputs = run()
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        total = torch.stack([output.square().mean() for output in outputs]).sum()
        found.append((outputs, torch.autograd.grad(total, leaves, allow_unused=True)))
    torch.testing.assert_close(found[0], found[1], **EXACT)
    named = [name for name, _ in network.named_parameters(remove_duplicate=False)]
    assert Counter(named) == Counter(list(infer(graph).parameters))
    for name, shape in infer(graph).parameters.items():
        assert network.get_parameter(name).shape == shape


@pytest.mark.parametrize("name", SPECS)
def test_classes_are_the_graph(name):
    assert_is_the_graph(spec(name))


@pytest.mark.parametrize("name", [n for n in NAMES if n != "resnet50"])
def test_sketches_are_their_graphs(name):
    graph = sketch(name, **SMALL.get(name, {}))
    assert_is_the_graph(graph)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_random_blocks_are_their_graphs(seed):
    rng = random.Random(seed)
    graph = nested(random_graph(rng, max_layers=12, vectors=True), rng)
    assert_is_the_graph(graph)


@pytest.mark.parametrize("name", ["optional", "dense", "pyramid", "groups", "nested"])
def test_keys_stand_in_the_order_of_the_spec(name):
    graph = spec(name)
    assert list(dict(compile(graph).named_parameters())) == list(infer(graph).parameters)


def test_source_of_blocks_passes_the_linter_and_is_formatted(tmp_path):
    for name in SPECS:
        (tmp_path / f"{name}.py").write_text(source(spec(name)), encoding="utf-8")
    for name in NAMES:
        (tmp_path / f"{name}_.py").write_text(source(sketch(name)), encoding="utf-8")
    for seed in range(20):
        rng = random.Random(seed)
        text = source(nested(random_graph(rng, max_layers=12, vectors=True), rng))
        (tmp_path / f"random_{seed}.py").write_text(text, encoding="utf-8")
    assert_clean(tmp_path)


@pytest.mark.parametrize(
    ("name", "most"), [("resnet50", 85), ("gpt2", 90), ("densenet", 90), ("unet", 80)]
)
def test_source_is_as_short_as_a_person_would_write_it(name, most):
    text = source(load(name) if name == "densenet" else sketch(name))
    assert_golden(f"source/{name}.py", text)
    assert len(text.splitlines()) <= most


def test_source_of_the_resnet_family_is_short():
    assert len(source(load("resnet")).splitlines()) <= 85


def test_layers_whose_names_are_no_attributes_are_read_by_key():
    text = source(
        parse(
            """
archgraph: 1
inputs: {x: [3, 8, 8]}
layers: {y.0: "Conv2d(4, 1)", y.a: BatchNorm2d, y.1: ReLU, out: ReLU}
""",
            file="keys.yaml",
        )
    )
    assert 'y_1 = self.y["1"](self.y["a"](self.y["0"](x)))' in text
    assert "get_submodule" not in text


def test_a_block_declares_its_defaults():
    text = source(
        parse(
            """
archgraph: 1
params: {down: true}
inputs: {x: [3, 8, 8]}
blocks:
  rung:
    params: {c: required, level: 0, k: 3}
    layers:
      conv: Conv2d(c, k, stride=2 if down and level > 0 else 1, padding=k // 2)
      act: ReLU
layers: {a: rung(4), b: "rung(4, 1)", c: "rung(4, k=5)"}
""",
            file="rungs.yaml",
        )
    )
    assert "in_channels: int, c: int, level: int = 0, k: int = 3" in text
    assert "self.b = Rung(4, 4, level=1, down=down)" in text


@pytest.mark.parametrize("name", ["rnn", "densenet_block", "rezero"])
def test_source_of_sketches_is_as_stored(name):
    assert_golden(f"source/{name}.py", source(sketch(name)))


def test_source_alone_is_the_network():
    """The text runs by itself, its classes take other sizes, and all is annotated."""
    text = source(sketch("resnet50"))
    assert "archgraph" not in text
    namespace: dict[str, object] = {}
    exec(text, namespace)
    unit = namespace["Bottleneck"](8, 4, stride=2, project=True, lam=0.0)
    assert unit(torch.zeros(2, 8, 6, 6)).shape == (2, 16, 3, 3)
    assert isinstance(namespace["Bottleneck"](16, 4).downsample, nn.Identity)
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    assert len(functions) == 5
    for function in functions:
        arguments = [*function.args.args[1:], *function.args.kwonlyargs]
        assert all(argument.annotation for argument in arguments)
        assert function.returns is not None


@pytest.mark.parametrize("name", [*SPECS, "gpt2", "denseformer"])
def test_forward_has_no_dictionary_and_no_getattr(name):
    text = source(spec(name) if name in SPECS else sketch(name))
    for body in re.findall(r"def forward.*?(?=\n\n|\Z)", text, re.S):
        assert "getattr" not in body
        assert "dict" not in body.replace("Dict", "")
        assert "get_submodule" not in body


@pytest.mark.parametrize(
    ("name", "depth"), [("resnet", 152), ("densenet", 201), ("preact_resnet", 1001)]
)
def test_deep_networks_are_written_in_seconds(name, depth):
    """Layers that are alike run once, and a class is written once, however often it is called."""
    graph = load(name, depth=depth)
    start = time.process_time()
    text = source(graph)
    assert time.process_time() - start < 3
    assert len(text.splitlines()) < 120


# --- what becomes what ----------------------------------------------------------------------------


def test_one_class_for_calls_that_differ_in_numbers():
    text = source(sketch("resnet50"))
    assert text.count("class ") == 3
    assert "def __init__(\n        self, in_channels: int, w: int, stride: int = 1" in text
    assert "Projection(in_channels, 4 * w, stride) if project else nn.Identity()" in text


def test_calls_that_read_otherwise_are_classes_of_their_own():
    text = source(spec("several"))
    assert {"Both", "Inside", "Inside2"} <= set(re.findall(r"class (\w+)", text))


def test_what_a_block_says_about_itself_is_its_docstring():
    text = source(
        parse(
            "{archgraph: 1, about: All., inputs: {x: [2]}, layers: {a: f()}, "
            "blocks: {f: {about: One part., layers: {fc: Linear(2)}}}}"
        )
    )
    assert text.startswith('"""All."""\n')
    assert 'class F(nn.Sequential):\n    """One part."""\n' in text


def test_a_number_that_nothing_explains_is_an_argument():
    """`k` stands in the texts of neither call, so that the class takes the sizes themselves."""
    base = spec("lost")
    assert "class AnySize(nn.Sequential):\n    def __init__(self, in_features: int)" in source(base)
    graph = parse(
        """
archgraph: 1
inputs: {x: [4]}
blocks:
  f:
    params: {k: required}
    layers: {fc: "Linear(k[0])", act: Tanh(), out: "Linear(k[1])"}
layers: {a: "f([3, 5])", b: "f([7, 2])"}
"""
    )
    assert "F(4, (3, 5))" in source(graph)
    assert_is_the_graph(graph)


def test_a_layer_in_a_block_changes_no_other_key():
    path = SKETCHES / "resnet50.yaml"
    text = path.read_text(encoding="utf-8")
    probed = text.replace("      relu1: ReLU()\n", "      relu1: ReLU()\n      probe: Identity()\n")
    assert probed != text
    keys = [list(compile(parse(t), device="meta").state_dict()) for t in (text, probed)]
    assert keys[0] == keys[1]
    assert len(keys[0]) == 320


def test_weights_start_as_the_spec_says():
    network = compile(spec("starts"), seed=0)
    for unit in (network.a, network.b):
        assert torch.equal(unit.fc1.bias, torch.ones(4))
        assert not unit.fc2.weight.any()
        assert not unit.list[1].bias.any()
        assert unit.list[1].weight.any()
    assert network.a.fc1.weight is network.b.fc1.weight
    wide = compile(spec("nested"), seed=0)
    assert not wide.b.first[2].body[1].bias.any()
    assert wide.b.first[2].body[1].weight.std() < 0.3


# --- what no class can be -------------------------------------------------------------------------


def chain_of_linears(names, paths, modules=None, sizes=None):
    """Return a chain of layers, each in the instances that `paths` names, outermost first."""
    builder = GraphBuilder("odd")
    value = builder.input("x", (3,))
    for name, size in zip(names, sizes or [3] * len(names), strict=True):
        value = builder.layer(name, parse_call(f"Linear({size})"), [value])
    graph = builder.build()
    instances = {"": Instance(path="", kind="network", module="")}
    before = dict(zip(names, ["x", *names], strict=False))
    for name, around in zip(names, paths, strict=True):
        for path in around:
            block, read = path.rpartition(".")[2], (("input", before[name], 0),)
            made = Instance(path=path, kind="block", module=path, block=block, inputs=read)
            instances.setdefault(path, made)
    nodes = [
        replace(
            node,
            block=dict(zip(names, paths, strict=True)).get(node.name, ()),
            module=(modules or {}).get(node.name, node.module),
        )
        for node in graph.nodes
    ]
    return replace(graph, nodes=tuple(nodes), instances=instances)


def test_layers_that_others_stand_between_belong_to_the_class_around():
    graph = chain_of_linears(["a.0", "b", "a.1"], [("a",), (), ("a",)])
    assert source(graph).count("class ") == 1
    assert_is_the_graph(graph)


def test_a_block_that_calls_what_is_held_outside_is_opened():
    names = ["fc", "a.0", "a.1", "b.0"]
    graph = chain_of_linears(names, [(), ("a",), ("a",), ("b",)], {"a.1": "fc"})
    text = source(graph)
    assert "class A" not in text
    assert "class B(nn.Sequential):" in text
    assert_is_the_graph(graph)


def test_numbers_that_no_text_spells_are_arguments_of_their_own():
    names = ["a.f.0", "a.f.1", "b.f.0", "b.f.1"]
    paths = [("a", "a.f"), ("a", "a.f"), ("b", "b.f"), ("b", "b.f")]
    graph = chain_of_linears(names, paths, sizes=[4, 7, 6, 2])
    text = source(graph)
    assert "def __init__(self, in_features: int, out_features: int, out_features2: int)" in text
    assert "self.f = F(in_features, 4, 7)" in text
    assert "self.f = F(in_features, 6, 2)" in text
    assert_is_the_graph(graph)


def test_two_blocks_that_are_one_module_but_not_one_class_are_opened():
    names = ["a.fc", "a.more", "b.fc"]
    modules = {"a.fc": "m.fc", "a.more": "m.more", "b.fc": "m.fc"}
    graph = chain_of_linears(names, [("a",), ("a",), ("b",)], modules)
    shared = {path: replace(graph.instances[path], module="m") for path in ("a", "b")}
    graph = replace(graph, instances={**graph.instances, **shared})
    assert source(graph).count("class ") == 1
    assert_is_the_graph(graph)


def test_a_graph_without_instances_is_one_class():
    graph = replace(spec("dense"), instances={})
    assert source(graph).count("class ") == 1
    assert_is_the_graph(graph)
