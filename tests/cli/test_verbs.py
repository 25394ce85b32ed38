"""The command line as other programs use it: JSON keys, exit codes, files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from archgraph.cli import main
from archgraph.spec import parse
from tests.goldens import GOLDEN
from tests.zoo.small import small


def run(capsys, *arguments, code=0):
    assert main([*map(str, arguments)]) == code
    return capsys.readouterr()


def as_json(capsys, *arguments, code=0):
    return json.loads(run(capsys, *arguments, "--json", code=code).out)


@pytest.mark.parametrize(
    ("spec", "wrt", "count"),
    [
        ("residual", "x1", 4),
        ("dense_block", "H3", 2),
        ("dense_block_all", "H3", 4),
        ("dense_block", "H0", 16),
    ],
)
def test_path_counts(capsys, spec, wrt, count):
    found = as_json(capsys, "paths", spec, "--wrt", wrt)
    assert (found["wrt"], found["view"], found["count"]) == (wrt, "op", count)
    assert set(found["histogram"]) == {"edges", "weights", "skips", "branches"}
    assert all(sum(h.values()) == count for h in found["histogram"].values())
    assert len(found["paths"]) == min(count, 20)
    for path in found["paths"]:
        assert set(path) >= {
            "nodes",
            "edges",
            "length",
            "weights",
            "skips",
            "lambda",
            "factor",
            "symbol",
        }
        assert (path["nodes"][0], path["nodes"][-1]) == (wrt, "L")


def test_the_all_skip_path_of_the_scaled_residual(capsys):
    found = as_json(
        capsys, "paths", "scaled_residual", "--wrt", "x0", "--set", "lam=0.5", "--limit", 256
    )
    (straight,) = [path for path in found["paths"] if path["skips"] == 8]
    assert straight["lambda"] == 0.5**8
    assert straight["weights"] == 0
    assert min(path["lambda"] for path in found["paths"]) == 0.5**8


def test_assumptions_make_factors(capsys):
    found = as_json(
        capsys,
        "paths",
        "gradient_flow_demo",
        "--wrt",
        "x",
        "--assume",
        "*=1",
        "--assume",
        "a*=0.25",
    )
    assert found["paths"][0]["factor"] == 0.25**10


def test_top_lists_the_largest_products_first(capsys):
    found = as_json(
        capsys, "paths", "scaled_residual", "--wrt", "x0", "--set", "lam=1.1", "--top", 3
    )
    assert found["paths"][0]["lambda"] == pytest.approx(1.1**8, rel=1e-15)
    assert len(found["paths"]) == 3


# One of each kind; tests/zoo takes every shipped spec through the same from Python.
@pytest.mark.parametrize(
    "spec",
    [
        "residual",
        "projection_shortcut",
        "dense_block_all",
        "skip",
        "highway",
        "rnn",
        "unet",
        "gpt2",
    ],
)
def test_a_shipped_spec_passes_every_verb(capsys, spec, tmp_path):
    sizes = [word for pair in small(spec).items() for word in ("--set", "{}={}".format(*pair))]
    shown = as_json(capsys, "show", spec, "--shapes", *sizes)
    assert set(shown) >= {"name", "parameters", "nodes", "edges", "inputs", "outputs", "layers"}
    assert set(shown["layers"][0]) >= {"name", "op", "from", "shape", "parameters"}
    wrt = "wte" if spec == "gpt2" else shown["inputs"][0]
    assert as_json(capsys, "validate", spec, *sizes) == {"ok": True, "problems": []}
    checked = as_json(capsys, "check", spec, *sizes, "--budget", 1000, "--networks", 8)
    assert checked["ok"]
    assert checked["algebra"]["max_relative_error"] <= 1e-12
    assert checked["algebra"]["targets"]
    assert checked["statistics"]
    assert checked["statistics_ok"]
    derived = as_json(capsys, "derive", spec, "--wrt", wrt, *sizes)
    assert set(derived) >= {"wrt", "text", "latex", "terms"}
    parts = as_json(capsys, "decompose", spec, "--wrt", wrt, "--by", "edge", *sizes)
    assert set(parts) >= {"wrt", "by", "norm", "parts", "residual"}
    assert "class " in as_json(capsys, "compile", spec, *sizes)["source"]
    again = parse(as_json(capsys, "expand", spec, *sizes)["text"])
    assert len(again.nodes) == shown["nodes"]
    picture = tmp_path / "p.svg"
    run(capsys, "render", spec, "--wrt", wrt, "-o", picture, *sizes)
    assert picture.read_bytes().lstrip().startswith(b"<?xml")


def test_numbers_of_a_width_one_network(capsys):
    found = as_json(
        capsys, "derive", "residual", "--of", "x5", "--wrt", "x1", "--set", "width=1", "--numbers"
    )["numbers"]
    assert len(found["terms"]) == 4
    products = []
    for term in found["terms"]:
        product = 1.0
        for factor in term["factors"]:
            product *= factor["value"]
        products.append(product)
    flat = json.dumps(found["autograd"])
    value = float(flat.strip("[]{}\"' ").split(":")[-1].strip("[]{} "))
    assert sum(products) == pytest.approx(value, rel=1e-12)
    text = run(
        capsys, "derive", "residual", "--of", "x5", "--wrt", "x1", "--set", "width=1", "--numbers"
    ).out
    assert "autograd" in text


@pytest.mark.parametrize("verb", ["validate", "show", "expand", "compile", "check"])
def test_a_bad_spec_is_json_with_every_verb(capsys, verb):
    path = GOLDEN / "errors" / "unknown_op.yaml"
    found = as_json(capsys, verb, path, code=1)
    assert found["ok"] is False
    assert [
        set(p) >= {"file", "line", "column", "code", "message", "help"} for p in found["problems"]
    ]
    assert [p["code"] for p in found["problems"]] == ["unknown-op"] * 3


def test_a_bad_spec_is_text_on_stderr(capsys):
    printed = run(capsys, "show", GOLDEN / "errors" / "unknown_op.yaml", code=1)
    assert printed.out == ""
    assert "error[unknown-op]" in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to do"),
        (["pahts", "residual"], "there is no verb or shipped spec 'pahts'; did you mean 'paths'?"),
        (["paths", "residual"], "required: --wrt"),
        (["measure", "mlp", "--samples", "5"], "option '--samples'\nusage: archgraph measure"),
        (["check", "mlp", "--batchsize=5"], "no option '--batchsize'; did you mean '--batch'?"),
        (["check", "mlp", "x", "y"], "unrecognized arguments: x y\nusage: archgraph check"),
        (["paths", "residual", "--wrt", "x9"], "no node, input or parameter 'x9'"),
        (["paths", "residual", "--wrt", "L"], "'L' is the loss itself"),
        (["paths", "resdual", "--wrt", "x1"], "did you mean 'residual'?"),
        (["paths", "residual", "--wrt", "x1", "--set", "lam"], "--set takes name=value"),
        (["paths", "residual", "--wrt", "x1", "--set", "lma=1"], "did you mean 'lam'?"),
        (["paths", "residual", "--wrt", "x1", "--assume", "G*=1"], "G*"),
        (["paths", "residual", "--wrt", "x1", "--limit", "0"], "'0' is not a whole number above 0"),
        (["render", "residual", "-o", "p.bmp"], "its suffix must be"),
        (
            ["compile", "residual", "-o", "no/such/folder/m.py"],
            "cannot write 'no/such/folder/m.py'",
        ),
        (["ops", "Lineer"], "did you mean 'Linear'?"),
    ],
)
def test_wrong_usage(capsys, arguments, message):
    printed = run(capsys, *arguments, code=2)
    assert printed.out == ""
    assert message in printed.err


def test_ops_zoo_and_schema(capsys, tmp_path):
    assert as_json(capsys, "ops", "Linear")["inferred"] == ["in_features"]
    assert (
        "decided by the input: in_features: the size of its last axis"
        in run(capsys, "ops", "Linear").out
    )
    assert {"Linear", "Affine"} <= {op["name"] for op in as_json(capsys, "ops")["ops"]}
    assert {s["name"]: s["paths"] for s in as_json(capsys, "zoo")["specs"]}[
        "scaled_residual"
    ] == 256
    run(capsys, "schema", "-o", tmp_path / "s.json")
    assert (
        json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["title"] == "archgraph spec"
    )


def test_a_file_is_written_whole_or_not_at_all(capsys, tmp_path):
    target = tmp_path / "m.py"
    target.write_text("precious", encoding="utf-8")
    run(capsys, "compile", GOLDEN / "errors" / "unknown_op.yaml", "-o", target, code=1)
    assert target.read_text(encoding="utf-8") == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["m.py"]


@pytest.fixture
def poisoned(tmp_path):
    """An environment in which importing torch, matplotlib or numpy fails."""
    for name in ("torch", "matplotlib", "numpy"):
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name} was imported')\n")
    root = str(Path(__file__).parent.parent.parent)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), root]),
        "ARCHGRAPH_DEBUG": "1",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["paths", "residual", "--wrt", "x1"],
        ["paths", "residual", "--wrt", "F1.weight", "--view", "state", "--top", "2", "--json"],
        ["derive", "dense_block", "--wrt", "H3"],
        ["expand", "highway"],
        ["show", "projection_shortcut"],
        ["validate", "residual", "--no-shapes"],
        ["render", "residual", "-o", "{tmp}/r.svg"],
        ["render", "residual", "--wrt", "x1", "--unmeasured", "-o", "{tmp}/u.png"],
        ["zoo"],
        ["ops", "Linear"],
        ["schema"],
    ],
)
def test_no_torch_without_need(arguments, poisoned, tmp_path):
    arguments = [a.format(tmp=tmp_path) for a in arguments]
    command = [sys.executable, "-W", "error", "-m", "archgraph", *arguments]
    done = subprocess.run(
        command, env=poisoned, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_poison_works(poisoned, tmp_path):
    command = [sys.executable, "-m", "archgraph", "check", "residual"]
    done = subprocess.run(
        command, env=poisoned, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode != 0
    assert "was imported" in done.stderr


def test_import_is_light(poisoned):
    code = "import archgraph; archgraph.load, archgraph.iter_paths, archgraph.derive"
    done = subprocess.run(
        [sys.executable, "-c", code], env=poisoned, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_every_public_name_is_there():
    import archgraph

    assert all(callable(getattr(archgraph, name)) for name in archgraph.__all__)
    assert set(archgraph.__all__) <= set(dir(archgraph))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = archgraph.nothing


def test_show_folds_what_is_alike(capsys):
    assert main(["show", "resnet"]) == 0
    shown = capsys.readouterr().out
    assert "2 … 5          4 × as 1" in shown
    assert main(["show", "resnet", "--flat"]) == 0
    assert "layer3.5.conv3" in capsys.readouterr().out


def test_a_block_instance_is_a_target(capsys):
    assert main(["paths", "resnet", "--wrt", "layer4.1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 2


def test_a_long_check_says_how_much_there_is_to_do_and_sums_up_what_it_left(capsys, tmp_path):
    spec = tmp_path / "deep.yaml"
    layers = "layers: {body: {op: Linear(2), repeat: 12, connect: add}}"
    spec.write_text(f"archgraph: 1\ninputs: {{x: [2]}}\n{layers}\n")
    done = run(capsys, "check", spec, "--budget", 3000)
    assert "following the paths takes" not in run(capsys, "check", "residual").err
    assert "vector–Jacobian products; with a lower --budget" in done.err
    assert "more targets have too many paths to follow one by one, " in done.out


def test_render_folds_to_as_many_nodes_as_asked(capsys, tmp_path):
    drawn = []
    for count in (200, 12):
        path = tmp_path / f"{count}.dot"
        run(capsys, "render", "resnet", "--max-nodes", count, "-o", path)
        drawn.append(path.read_text())
    assert "of 161 nodes folded" not in drawn[0]
    assert "of 161 nodes folded" in drawn[1]
    assert drawn[1].count("tooltip=") < 60


def test_a_block_is_not_given_cin(capsys, tmp_path):
    spec = tmp_path / "cin.yaml"
    spec.write_text(
        "archgraph: 1\ninputs: {x: [8, 4, 4]}\n"
        'blocks:\n  se: {params: {c: required}, layers: {a: "Conv2d(c, 1)"}}\n'
        "layers:\n  s: se(cin // 2)\n"
    )
    said = run(capsys, "validate", spec, code=1).err
    assert "cin.yaml:6:9: error" in said
    assert "use it inside 'se', in an op's arguments, where it is the size of that op's" in said


def test_expand_writes_what_it_prints(tmp_path, capsys):
    assert main(["expand", "residual"]) == 0
    printed = capsys.readouterr().out
    assert main(["expand", "residual", "-o", str(tmp_path / "flat.yaml")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "flat.yaml")
    assert (tmp_path / "flat.yaml").read_text(encoding="utf-8") == printed
