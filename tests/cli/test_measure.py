"""`archgraph measure`: keys, tables and exit codes."""

from __future__ import annotations

import json

from archgraph.cli import main


def test_json_keys(capsys):
    arguments = ["measure", "residual", "--networks", "5", "--seed", "3", "--wrt", "x1", "--json"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["method"], found["samples"], found["reference"]) == ("measured", 5, "x5")
    assert found["seeds"] == [3, 4, 5, 6, 7]
    assert set(found["nodes"]["x1"]) >= {"energy", "standard_error", "bound", "ln_mean"}
    assert found["nodes"]["x1"]["energy"] < found["nodes"]["x1"]["bound"]
    assert set(found["parameters"]["F2.weight"]) >= {"rms", "standard_error"}
    assert abs(sum(v for e, v in found["shares"].items() if e.endswith("->L")) - 1) < 1e-9


def test_tables_and_what_is_wrong(capsys):
    assert main(["measure", "gradient_flow_demo", "--set", "act=Sigmoid", "--networks", "3"]) == 0
    out = capsys.readouterr().out
    assert "measured in 3 networks, seeds 0 to 2" in out
    assert "vanishing: x, fc1, a1 and" in out
    assert main(["measure", "residual", "--networks", "3", "--wrt", "x1"]) == 0
    out = capsys.readouterr().out
    assert "every gradient is within the thresholds" in out
    assert "measured shares" in out


def test_thresholds_can_be_set(capsys):
    arguments = ["measure", "residual", "--networks", "3", "--eval", "--dtype", "float32"]
    assert main([*arguments, "--exploding", "0.1"]) == 0
    assert "exploding: x1" in capsys.readouterr().out
    assert main([*arguments, "--exploding", "-1"]) == 2
    assert "no positive number" in capsys.readouterr().err


def test_an_unknown_target_is_refused_before_anything_runs(capsys, monkeypatch):
    monkeypatch.setattr("archgraph.measurement.measure", None)
    assert main(["measure", "residual", "--wrt", "nope"]) == 2
    assert "no node or parameter 'nope'" in capsys.readouterr().err
