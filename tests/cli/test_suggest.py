"""The verb suggest: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import io
import json
import sys

import pytest

from archgraph.cli import main
from archgraph.spec import parse, zoo
from archgraph.suggestion import search

SPEC = zoo()["mlp"].read_text().replace("depth: 20, width: 64", "depth: 8, width: 8")


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(search, "QUICK", (2e7, 8, 8))
    monkeypatch.setattr(search, "THOROUGH", (5e7, 16, 16))


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "mlp.yaml"
    path.write_text(SPEC)
    return path


def run(capsys, *arguments, code=0):
    assert main(["suggest", *map(str, arguments)]) == code
    return capsys.readouterr()


def test_it_prints_numbered_suggestions_with_their_effects_and_diffs(capsys, spec):
    lines = run(capsys, spec, "--limit", 2).out.splitlines()
    assert "times as large in hidden.0.z as in head" in lines[0]
    assert [line[:3] for line in lines if line[:1].isdecimal()] == ["1. ", "2. "]
    assert f"--- {spec}" in lines
    assert not any("\x1b" in line for line in lines)  # no colour off a terminal


WILD = """\
archgraph: 1
inputs: {x: [8]}
layers:
  h: {op: Linear(8), repeat: 12, init: {weight: normal(std=1e30)}}
  y: Linear(8)
loss: MSELoss()
"""


def test_a_network_that_overflows_is_said_to_and_is_made_finite(capsys, tmp_path):
    path = tmp_path / "wild.yaml"
    path.write_text(WILD)
    text = run(capsys, path).out
    assert "nan" not in text
    assert "∂L/∂weight overflows: h.0 and y cannot be compared" in text
    assert "needs mending: values or gradients overflow: they are infinite or NaN" in text
    assert "1. start weights by orthogonal, biases at 0, those of h too\n" in text
    assert "∂L/∂weight overflows → 1 ±" in text
    found = json.loads(run(capsys, path, "--json").out)
    assert found["before"]["overflow"] is True
    assert found["suggestions"][0]["effect"]["overflow"] is False


def test_nothing_makes_finite_what_overflows_at_its_input(capsys, tmp_path):
    path = tmp_path / "wild.yaml"
    path.write_text(WILD.replace("  h:", "  z: 1e200*x + 1e200*x\n  h:"))
    assert "that were predicted would make them finite" in run(capsys, path).out


def test_json_and_the_file_that_it_writes_agree(capsys, spec, tmp_path):
    out = tmp_path / "new.yaml"
    arguments = (spec, "--limit", 1, "--set", "width=6", "--apply", 1, "-o", out, "--json")
    found = json.loads(run(capsys, *arguments).out)
    assert found["ok"] is True
    assert found["needs_mending"] is True
    assert found["path"] == str(out)
    assert spec.read_text() == SPEC
    (first,) = found["suggestions"]
    graph = parse(out.read_text())
    assert graph.params["width"] == 6
    plus = [line[1:] for line in first["diff"].splitlines()[2:] if line.startswith("+")]
    assert set(plus) <= set(out.read_text().splitlines())


def test_apply_changes_the_user_s_own_file(capsys, spec):
    said = run(capsys, spec, "--limit", 1, "--apply", 2).out
    assert f"suggestion 2 is written to {spec}" in said
    assert spec.read_text() != SPEC
    assert spec.read_text().splitlines()[:6] == SPEC.splitlines()[:6]
    assert [path.name for path in spec.parent.iterdir()] == ["mlp.yaml"]


def test_nothing_is_written_where_nothing_needs_mending(capsys, tmp_path):
    out = tmp_path / "new.yaml"
    said = run(capsys, "scaled_residual", "--set", "lam=0.5", "--apply", 1, "-o", out).out
    assert "nothing needs mending: that is within a factor of 10" in said
    assert "nothing is written" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mlp", "--apply", 1), "ships with archgraph; say where to write with -o FILE"),
        (("-", "--apply", 1), "cannot change stdin"),
        (("mlp", "-o", "x.yaml"), "add --apply 1"),
        (
            ("mlp", "--set", "width=4", "--set", "depth=3", "--apply", 99, "-o", "x"),
            "no suggestion",
        ),
        (("mlp", "--cut", "a->b"), "no edge 'a->b'"),
        (("mlp", "--set", "wdth=4"), "no param 'wdth'"),
        (("mlp", "--apply", 0), "not a whole number above 0"),
    ],
)
def test_wrong_usage_says_what_is_wrong(capsys, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in run(capsys, *arguments, code=2).err
    assert list(tmp_path.iterdir()) == []


def test_a_spec_from_stdin(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SPEC.encode())))
    out = tmp_path / "new.yaml"
    said = run(capsys, "-", "--limit", 1, "--apply", 1, "-o", out).out
    assert "--- <stdin>" in said
    parse(out.read_text())


def test_what_if(capsys, spec):
    said = run(capsys, spec, "--edit", "skip hidden every 4").out
    assert said.startswith("before: ")
    assert "after skip hidden every 4: " in said
    assert "+  hidden: {op: group(), repeat: depth // 4, connect: add}" in said
    found = json.loads(run(capsys, spec, "--cut", "hidden.2.a->hidden.3.z", "--json").out)
    assert found["after"]["energy"] == 0
    assert found["before"]["energy"] > 0
    assert found["diff"] is None


def test_a_what_if_of_the_text_can_be_applied(capsys, spec):
    run(capsys, spec, "--edit", "act=Tanh", "--apply", 1)
    assert spec.read_text() == SPEC.replace("act: Sigmoid", "act: Tanh")
    refused = run(capsys, spec, "--cut", "hidden.2.a->hidden.3.z", "--apply", 1, code=2)
    assert "a question only" in refused.err


def test_a_bad_spec_is_a_bad_spec(capsys, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(SPEC.replace("Linear(1)", "Linar(1)"))
    assert json.loads(run(capsys, path, "--json", code=1).out)["ok"] is False
