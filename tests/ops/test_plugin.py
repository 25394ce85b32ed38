"""A user's own classes as ops, from their registration to their gradients."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
import torch

import archgraph
from archgraph.errors import SpecError, UsageError
from archgraph.gradient import decompose, record
from archgraph.graph import Graph, GraphBuilder, Term
from archgraph.module import compile, draw, source
from archgraph.module.shapes import infer
from archgraph.ops import catalogue, parse_call
from archgraph.ops.plugin import load_plugins
from archgraph.paths import count_paths, iter_paths

torch.set_num_threads(1)

HEAD = """
from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

import archgraph
"""

MODULE = (
    HEAD
    + '''
@archgraph.register(inferred={"dim": "last"}, weight_layer=True, linear=True, channel_axis=-1)
class Mix(nn.Module):
    """x·AᵀBᵀ + x."""

    def __init__(
        self, dim: int, rank: int, bias: bool = False, *, start: Literal["ones", "zeros"] = "ones"
    ) -> None:
        super().__init__()
        self.down = nn.Linear(dim, rank, bias=bias)
        self.up = nn.Linear(rank, dim, bias=False)
        getattr(nn.init, start + "_")(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x)) + x


@archgraph.register
class Gate(nn.Module):
    def forward(self, value, gate, slope=2):
        return value * torch.sigmoid(slope * gate)


@archgraph.register(inferred={"width": "channels:image"}, channel_axis=1)
class Tint(nn.Module):
    def __init__(self, width, tint=(1.0, 2.0)):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.weight * image


@archgraph.register(tuple_output=True)
class Halves(nn.Module):
    def forward(self, x: Tensor):
        return x[..., ::2], x[..., 1::2]


@archgraph.register(name="Warp")
class Stubborn(nn.Module):
    """It can be built and run on real numbers alone."""

    def __init__(self, strength: float = 0.5) -> None:
        super().__init__()
        self.strength = torch.linspace(0, strength, 3)[-1].item()

    def forward(self, x: Tensor) -> Tensor:
        return x.new_tensor(x.tolist()) * 0 + x * self.strength
'''
)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    yield from installed("my_plugin", MODULE, tmp_path, monkeypatch)


def installed(name: str, text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    write(folder, name, text)
    monkeypatch.chdir(folder)
    yield name
    for module in [m for m in sys.modules if m.partition(".")[0] == name]:
        del sys.modules[module]


def write(folder: Path, name: str, text: str) -> None:
    path = folder / f"{name.replace('.', '/')}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text), encoding="utf-8")


def network(plugin: str) -> Graph:
    ops = load_plugins([plugin])
    b = GraphBuilder("own")
    b.input("x", (6,))
    b.layer("mix", parse_call("Mix(cin // 2, start='zeros')", ops), ["x"])
    b.layer("halves", parse_call("Halves()", ops), ["mix"])
    halves = {"value": ["halves"], "gate": [Term("halves", element=1)]}
    b.layer("gated", parse_call("Gate", ops), halves)
    b.layer("warped", parse_call("Warp(strength=0.25)", ops), ["gated"])
    b.layer("y", None, ["warped", "gated"])
    b.output("y")
    return b.build()


# --- what is registered --------------------------------------------------------------------------


def test_arguments_ports_and_facts_come_from_the_class(plugin: str) -> None:
    ops = load_plugins([plugin])
    assert list(ops) == ["Mix", "Gate", "Tint", "Halves", "Warp"]
    mix = ops["Mix"]
    assert [(a.name, a.type, a.required, a.keyword_only) for a in mix.arguments] == [
        ("rank", "int", True, False),
        ("bias", "bool", False, False),
        ("start", "str", False, True),
    ]
    assert mix.argument("start").choices == ("ones", "zeros")
    assert (mix.origin, mix.inferred, mix.weight_layer) == ("plugin", {"dim": "last"}, True)
    assert [p.name for p in mix.ports] == ["x"]
    assert [p.name for p in ops["Gate"].ports] == ["value", "gate"]
    assert ops["Tint"].argument("tint").type == "any"
    assert ops["Halves"].tuple_output
    assert ops["Warp"].function.__name__ == "Stubborn"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Mix('big')", "Mix's rank must be a whole number, not 'big'"),
        ("Mix(3, strat='ones')", "Mix has no argument 'strat'; did you mean 'start'?"),
        ("Mix(6, 3)", "Mix's dim is taken from the input; write Mix(3)"),
        ("Mix(3, start='big')", "Mix's start must be 'ones' or 'zeros', not 'big'"),
        ("Mix", "Mix needs rank, a whole number; write Mix(rank)"),
        ("Wrap()", "unknown op 'Wrap'; did you mean 'Warp'?"),
    ],
)
def test_arguments_are_checked_like_those_of_torch(plugin: str, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_call(text, load_plugins([plugin]))
    assert str(caught.value).startswith(message)


def test_a_call_prints_as_it_reads(plugin: str) -> None:
    ops = load_plugins([plugin])
    for text in ("Mix(3)", "Mix(2 * cin, bias=True, start='zeros')", "Warp(strength=0.25)"):
        call = parse_call(text, ops)
        assert str(call) == text
        assert parse_call(str(call), ops) == call


def test_parameters_are_those_of_a_layer_built_on_trial(plugin: str) -> None:
    ops = load_plugins([plugin])
    assert parse_call("Mix(3)", ops).parameter_names() == ("down.weight", "up.weight")
    biased = parse_call("Mix(cin // 2, bias=True)", ops)
    assert biased.parameter_names() == ("down.weight", "down.bias", "up.weight")
    assert parse_call("Gate()", ops).parameter_names() == ()


def test_a_class_may_say_its_parameters() -> None:
    @archgraph.register(parameters=["a", "b"], name="Said")
    class Said(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    said = parse_call("Said()", load_plugins([__name__]))
    assert said.parameter_names() == ("a", "b")


def test_loading_twice_gives_the_same(plugin: str) -> None:
    assert load_plugins([plugin]) == load_plugins([plugin, plugin])


def test_what_the_modules_of_a_package_register_is_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "my_package.layers", MODULE)
    for name in installed("my_package.__init__", "from . import layers", tmp_path, monkeypatch):
        assert name
        assert "Mix" in load_plugins(["my_package"])


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"plugin 'bad' cannot be imported: ModuleNotFoundError: No module named 'bad'"),
        ("1 / 0", r"plugin 'bad' cannot be imported: ZeroDivisionError: division by zero"),
        ("x = = 1", r"plugin 'bad' cannot be imported: SyntaxError: invalid syntax"),
        ("x = 1", r"plugin 'bad' registers no op; put @archgraph.register above its classes"),
        (
            HEAD + "@archgraph.register\nclass Linear(nn.Linear): ...",
            r"plugin 'bad' registers 'Linear', which is an op of torch.nn; give it a name",
        ),
        (
            HEAD + "@archgraph.register\nclass Affine(nn.Linear): ...",
            r"plugin 'bad' registers 'Affine', which is an op of archgraph; give it a name",
        ),
        (HEAD + "archgraph.register(torch.relu)", r"plugin 'bad': 'relu' is no class of nn.Module"),
        (HEAD + "archgraph.register(dict)", r"plugin 'bad': 'dict' is no class of nn.Module"),
        (
            HEAD + "archgraph.register(name='a b')(nn.Linear)",
            r"plugin 'bad': 'a b' is no name that a spec could call an op by",
        ),
        (
            HEAD + "archgraph.register(inferred={'in_feature': 'last'})(nn.Linear)",
            r"Linear has no argument 'in_feature'; did you mean 'in_features'\?",
        ),
        (
            HEAD + "archgraph.register(inferred={'in_features': 'first'})(nn.Linear)",
            r"in_features is inferred by 'first'; the rules are channels, last, axis, and one of "
            r"the ports input behind a colon",
        ),
        (
            HEAD + "archgraph.register(inferred={'in_features': 'last:x'})(nn.Linear)",
            r"in_features is inferred by 'last:x'",
        ),
        (
            HEAD + "archgraph.register(ports=['x'])(nn.Linear)",
            r"Linear has no port 'x'; there are: input",
        ),
        (
            HEAD + "archgraph.register(nn.ReLU)\narchgraph.register(name='ReLU')(nn.Tanh)",
            r"plugin 'bad': 'bad' registers two classes as 'ReLU': give one a name=",
        ),
    ],
)
def test_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, message: str
) -> None:
    monkeypatch.setattr("archgraph.ops.plugin._registered", {})
    for name in installed("bad", text or "", tmp_path, monkeypatch):
        if text is None:
            (tmp_path / "bad.py").unlink()
        with pytest.raises(UsageError, match=message):
            load_plugins([name])


def test_two_plugins_may_not_share_a_name(
    plugin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in installed("other", MODULE, tmp_path, monkeypatch):
        message = r"plugins 'my_plugin' and 'other' both register 'Mix'"
        with pytest.raises(UsageError, match=message):
            load_plugins([plugin, other])


def test_torchs_own_class_under_its_own_name_stays_torchs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in installed("same", HEAD + "archgraph.register(nn.Linear)", tmp_path, monkeypatch):
        assert load_plugins([name]) == {"Linear": catalogue.get("Linear")}


# --- from the graph to the gradient --------------------------------------------------------------


def test_shapes_are_those_of_the_class(plugin: str) -> None:
    shapes = infer(network(plugin))
    assert shapes.arguments["mix"] == {"dim": 6, "rank": 3, "start": "zeros"}
    assert shapes["gated"].shape == shapes["warped"].shape == (3,)
    assert shapes.parameters == {"mix.down.weight": (3, 6), "mix.up.weight": (6, 3)}


def test_channels_are_read_where_a_named_port_has_them(plugin: str) -> None:
    b = GraphBuilder("tint")
    b.input("x", (3, 5, 5))
    b.layer("conv", parse_call("Conv2d(7, 1)"), ["x"])
    b.layer("tint", parse_call("Tint()", load_plugins([plugin])), ["conv"])
    assert infer(b.build()).parameters["tint.weight"] == (7, 1, 1)


def test_a_class_that_knows_no_meta_device_runs_large_too(plugin: str) -> None:
    b = GraphBuilder("large")
    b.input("x", (4000,))
    b.layer("y", parse_call("Warp()", load_plugins([plugin])), ["x"])
    assert infer(b.build())["y"].shape == (4000,)


def test_what_the_class_complains_of_is_our_error(plugin: str) -> None:
    b = GraphBuilder("wrong")
    b.input("x", (6,))
    b.layer("y", parse_call("Mix(-1)", load_plugins([plugin])), ["x"])
    with pytest.raises(SpecError, match=r"'y' cannot be Mix\(-1\) of \(6,\) from 'x'"):
        infer(b.build())


def test_the_source_imports_the_class_and_constructs_it(plugin: str) -> None:
    text = source(network(plugin))
    assert "from my_plugin import" in text
    assert "self.mix = Mix(6, " in text
    assert "self.warped = Stubborn(" in text


def by_hand(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    mixed = x @ weights["mix.down.weight"].T @ weights["mix.up.weight"].T + x
    gated = mixed[:, ::2] * torch.sigmoid(2 * mixed[:, 1::2])
    return gated * 0.25 + gated


def test_the_module_computes_what_the_classes_do(plugin: str) -> None:
    graph = network(plugin)
    module = compile(graph, seed=0, dtype=torch.float64)
    x = torch.randn(5, 6, dtype=torch.float64)
    weights = dict(module.named_parameters())
    assert list(weights) == ["mix.down.weight", "mix.up.weight"]
    torch.nn.init.normal_(weights["mix.up.weight"])
    torch.testing.assert_close(module(x), by_hand(weights, x))
    torch.testing.assert_close(pickle.loads(pickle.dumps(module))(x), module(x))


@pytest.mark.parametrize("wrt", ["x", "mix", "mix.down.weight", "mix.up.weight"])
def test_the_gradient_is_split_like_any_other(plugin: str, wrt: str) -> None:
    graph = network(plugin)
    module = compile(graph, seed=0, dtype=torch.float64)
    torch.nn.init.normal_(module.get_parameter("mix.up.weight"))
    batch = draw(graph)
    tape = record(graph, module, batch)
    parts = decompose(tape, wrt).parts
    # Two elements of the tuple, and a sum of two behind the gate.
    assert len(parts) == count_paths(graph, wrt) == 4
    assert sum(part.share for part in parts) == pytest.approx(1)
    x = batch.inputs[0].clone().requires_grad_()
    loss = (by_hand(dict(module.named_parameters()), x) * batch.targets[0]).sum()
    loss.backward()
    expected = {"x": x.grad, "mix.down.weight": module.mix.down.weight.grad}
    if wrt in expected:
        assert decompose(tape, wrt).norm == pytest.approx(float(expected[wrt].norm()))


def test_a_weight_layer_counts_as_one(plugin: str) -> None:
    assert {path.weights for path in iter_paths(network(plugin), "x")} == {1}


def test_undeclared_parameters_are_recorded_all_the_same(plugin: str) -> None:
    ops = load_plugins([plugin])
    b = GraphBuilder("hidden")
    b.input("x", (6,))
    hidden = replace(ops["Mix"], parameter_reader=None)
    b.layer("mix", parse_call("Mix(3)", {"Mix": hidden}), ["x"])
    graph = b.build()
    assert "mix.up.weight" not in graph.parameter_users
    tape = record(graph, compile(graph, seed=0, dtype=torch.float64), draw(graph))
    assert tape.cotangents().parameters["mix.up.weight"].any()


def test_a_spec_names_no_module(plugin: str) -> None:
    text = """
        archgraph: 1
        params: {rank: 2}
        inputs: {x: [6]}
        layers:
          low: Mix(rank, start='zeros')
          halves: Halves()
          gated: Gate()(value=halves, gate=halves[1])
          warped: Warp()
          y: warped + gated
    """
    graph = archgraph.parse(dedent(text), plugins=[plugin])
    assert str(graph.node("low").op) == "Mix(2, start='zeros')"
    assert count_paths(graph, "x") == 4
    with pytest.raises(SpecError, match="unknown op 'Mix'"):
        archgraph.parse(dedent(text))


def test_registering_needs_no_torch_of_ours() -> None:
    script = """
import sys
sys.modules["torch"] = None  # importing it raises ImportError
import archgraph.ops.plugin
assert archgraph.register is archgraph.ops.plugin.register
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
