from __future__ import annotations

import ast
import importlib
import random
import subprocess
import sys
import sysconfig
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import nn

from archgraph.errors import UsageError
from archgraph.graph import GraphBuilder, Scale, Term
from archgraph.module import compile, draw, source
from archgraph.ops import parse_call
from tests.goldens import GOLDEN as GOLDEN_FOLDER
from tests.goldens import assert_golden
from tests.module.networks import GOLDEN, attention, residual
from tests.strategies import random_graph

ROOT = Path(__file__).parents[2]
FOLDER = GOLDEN_FOLDER / "source"
RUFF = Path(sysconfig.get_path("scripts")) / "ruff"


@pytest.mark.parametrize("name", GOLDEN)
def test_source_is_as_stored(name):
    assert_golden(f"source/{name}.py", source(GOLDEN[name]()))


def assert_clean(folder: Path) -> None:
    # archgraph is first-party here, as it is where the golden files are.
    config = ["--config", str(FOLDER / "ruff.toml"), "--config", f"src=['{ROOT}']", "--no-cache"]
    for verb in (["check"], ["format", "--check", "--diff"]):
        run = subprocess.run([RUFF, *verb, *config, folder], capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr


def test_source_passes_the_linter_and_is_formatted(tmp_path):
    for i in range(30):
        text = source(random_graph(random.Random(i), max_layers=12))
        (tmp_path / f"random_{i}.py").write_text(text, encoding="utf-8")
    for name, network in GOLDEN.items():
        (tmp_path / f"{name}.py").write_text(source(network()), encoding="utf-8")
    (tmp_path / "long_names.py").write_text(source(long_names()), encoding="utf-8")
    assert_clean(tmp_path)


def long_names():
    """Lines that do not fit in the width, of every kind."""
    builder = GraphBuilder("long names")
    inputs = [builder.input(f"a_rather_long_name_of_an_input_{i}", (8,)) for i in range(5)]
    halves = [Term(name, Scale(Fraction(1, 2))) for name in inputs]
    builder.layer("total", None, inputs)
    builder.layer("joined", None, inputs, merge="concat")
    builder.layer("product", None, inputs, merge="multiply")
    builder.layer("scaled", None, halves)
    image = builder.input("image", (4, 9))
    call = "Conv1d(16, 3, padding=1, padding_mode='circular', bias=False, dilation=1, groups=1)"
    builder.layer("convolution_with_many_arguments", parse_call(call), [image])
    for name in ("total", "joined", "product", "scaled", "convolution_with_many_arguments"):
        builder.output(name)
    return builder.build()


def test_params_are_arguments_and_change_the_network():
    namespace: dict[str, object] = {}
    exec(source(residual()), namespace)
    network = namespace["Residual"](width=3, lam=0.0)
    assert {tuple(p.shape) for p in network.parameters()} == {(3, 3), (3,)}
    x = torch.randn(2, 3)
    below = network.x4(network.F3(network.x3(network.F2(network.x2(network.F1(x))))))
    torch.testing.assert_close(network(x), network.x5(network.F4(below)), rtol=0, atol=0)


def test_a_size_that_the_text_does_not_give_is_a_number():
    graph = replace(residual(), params={"width": 17, "lam": 1})
    assert "nn.Linear(16, 16)" in source(graph)
    assert "width" not in source(graph)


def test_concat_sizes_are_sums():
    builder = GraphBuilder("dense")
    x = builder.input("x", (24,))
    wide = replace(parse_call("Linear(12)"), expressions=(("out_features", "k"),))
    layers = [x]
    for i in range(4):
        layers.append(builder.layer(f"H{i}", wide, layers, merge="concat"))
    graph = replace(builder.build(), params={"k": 12})
    assert "self.H3 = nn.Linear(24 + 3 * k, k)" in source(graph)


def test_cin_becomes_the_size_that_it_is():
    builder = GraphBuilder("bottleneck")
    x = builder.input("x", (8,))
    wide = replace(parse_call("Linear(4)"), expressions=(("out_features", "w/2"),))
    hidden = builder.layer("hidden", wide, [x])
    builder.layer("out", parse_call("Linear(4*cin)"), [hidden])
    text = source(replace(builder.build(), params={"w": 8}))
    assert "self.hidden = nn.Linear(8, w // 2)" in text
    assert "self.out = nn.Linear(w // 2, 4 * (w // 2))" in text


@pytest.mark.parametrize(
    ("scales", "expected"),
    [
        ((1, 1), "return x + y"),
        ((1, -1), "return x - y"),
        ((1, Fraction(1, 10)), "return torch.add(x, y, alpha=0.1)"),
        ((Fraction(1, 2), 1), "return torch.add(y, x, alpha=0.5)"),
        ((-1, -1), "return -x - y"),
        ((2, 3), "return torch.add(2.0 * x, y, alpha=3.0)"),
    ],
)
def test_scales_of_a_sum(scales, expected):
    builder = GraphBuilder("sum")
    terms = [Term(builder.input(n, (3,)), Scale(s)) for n, s in zip("xy", scales, strict=True)]
    builder.layer("z", None, terms)
    assert source(builder.build()).rstrip().endswith(expected)


@pytest.mark.parametrize(
    ("scales", "expected"),
    [
        ((1, 1), "return x * y"),
        ((-1, Fraction(1, 2)), "return -x * (0.5 * y)"),
        ((2, -1), "return 2.0 * x * -y"),
    ],
)
def test_scales_of_a_product(scales, expected):
    builder = GraphBuilder("product")
    terms = [Term(builder.input(n, (3,)), Scale(s)) for n, s in zip("xy", scales, strict=True)]
    builder.layer("z", None, terms, merge="multiply")
    assert source(builder.build()).rstrip().endswith(expected)


def test_dropout_runs_in_the_order_of_the_graph():
    """In place, `b` would run before `a`, and the masks would change places."""
    builder = GraphBuilder("masks")
    x = builder.input("x", (50,))
    builder.layer("a", parse_call("Dropout(0.5)"), [x])
    builder.layer("b", parse_call("Dropout(0.5)"), [x])
    builder.layer("y", None, [Term("a", Scale(2)), "b"])
    graph = builder.build()
    network, batch = compile(graph), draw(graph)
    torch.manual_seed(3)
    first, second = nn.Dropout(0.5)(batch.inputs[0]), nn.Dropout(0.5)(batch.inputs[0])
    torch.manual_seed(3)
    torch.testing.assert_close(network(*batch.inputs), 2 * first + second)


def test_a_layer_that_reaches_no_output_still_runs():
    builder = GraphBuilder("dead")
    x = builder.input("x", (3,))
    builder.layer("norm", parse_call("BatchNorm1d"), [x])
    builder.layer("twice", None, ["norm", "norm"])
    builder.output(builder.layer("y", parse_call("ReLU"), [x]))
    graph = builder.build()
    network = compile(graph)
    network(torch.ones(2, 3))
    assert network.norm.num_batches_tracked == 1
    assert "twice" not in source(graph)


def test_no_archgraph_import_without_a_module_of_archgraph():
    assert "archgraph" not in source(residual())
    assert "from archgraph.nn import ScaledDotProductAttention\n" in source(attention())


def test_imports_are_used():
    for network in GOLDEN.values():
        tree = ast.parse(source(network()))
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        imported = [
            alias.asname or alias.name
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        ]
        assert set(imported) <= names


def test_a_lambda_has_no_source():
    builder = GraphBuilder("opaque")
    builder.layer("twice", lambda value: value * 2, [builder.input("x", (3,))])
    with pytest.raises(UsageError, match="the op of 'twice' is a callable that no import finds"):
        source(builder.build())


def test_an_importable_function_is_imported():
    builder = GraphBuilder("imported")
    builder.layer("y", torch.nn.functional.softplus, [builder.input("x", (3,))])
    text = source(builder.build())
    assert "from torch.nn.functional import softplus\n" in text
    assert "return softplus(x)" in text


def test_awkward_names_run_alone(tmp_path):
    """Names that are Python's, torch's or no identifiers; the text runs without archgraph."""
    builder = GraphBuilder("1 awkward, name!")
    x = builder.input("torch", (3,))
    for name in ("class", "0", "a.b.0", "nn", "self", "l", "Tensor", "print"):
        x = builder.layer(name, parse_call("Linear(3)"), [x])
    builder.layer("y~1", None, ["torch", "class", x])
    path = tmp_path / "alone.py"
    text = source(builder.build())
    path.write_text(
        f"{text}\nprint(Net1AwkwardName()(torch.ones(2, 3)).shape)\n".replace(
            "from torch import", "import torch\nfrom torch import", 1
        ),
        encoding="utf-8",
    )
    run = subprocess.run(
        [sys.executable, "-I", path], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert run.stdout == "torch.Size([2, 3])\n", run.stderr
    network = compile(builder.build())
    for name in ("class", "0", "a.b.0", "nn", "self", "l", "Tensor", "print"):
        assert isinstance(network.get_submodule(name), nn.Linear)


def test_two_callables_of_one_name_are_both_imported(tmp_path, monkeypatch):
    builder = GraphBuilder("twins")
    value = builder.input("x", (3,))
    monkeypatch.syspath_prepend(tmp_path)
    for factor, module in ((2, "first_of_twins"), (3, "second_of_twins")):
        text = f"def scaled(x):\n    return {factor} * x\n"
        (tmp_path / f"{module}.py").write_text(text, encoding="utf-8")
        value = builder.layer(module, importlib.import_module(module).scaled, [value])
    graph = builder.build()
    assert "from second_of_twins import scaled as scaled2\n" in source(graph)
    torch.testing.assert_close(compile(graph)(torch.ones(2, 3)), torch.full((2, 3), 6.0))
