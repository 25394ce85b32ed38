"""`archgraph predict`: keys, tables and exit codes."""

from __future__ import annotations

import json

from archgraph.cli import main


def test_json_keys(capsys):
    arguments = ["predict", "residual", "--samples", "20", "--wrt", "x1", "--json"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["method"], found["samples"], found["reference"]) == ("finite", 20, "x5")
    assert set(found["nodes"]["x1"]) >= {"energy", "standard_error", "bound"}
    assert set(found["parameters"]["F2.weight"]) >= {"rms", "standard_error"}
    assert abs(sum(v for e, v in found["shares"].items() if e.endswith("->L")) - 1) < 1e-9


def test_the_table_names_each_nodes_method(capsys):
    assert main(["predict", "rnn", "--samples", "4", "--method", "limit"]) == 0
    out = capsys.readouterr().out
    assert "method limit" in out
    assert "±" in out
    assert "rms of ∂L/∂P" in out
    assert main(["predict", "residual", "--method", "bounds"]) == 0
    assert "rms of" not in capsys.readouterr().out


def test_grades(capsys):
    assert main(["predict", "scaled_residual", "--samples", "4", "--grade", "branches"]) == 0
    assert "by branches" in capsys.readouterr().out


def test_wrong_usage(capsys):
    assert main(["predict", "residual", "--method", "guess"]) == 2
    assert main(["predict", "residual", "--samples", "1"]) == 2
    capsys.readouterr()
