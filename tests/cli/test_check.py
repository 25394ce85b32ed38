"""`archgraph check`: two verdicts, and an exit code that wants both."""

from __future__ import annotations

import json
from dataclasses import replace

from archgraph.checking import statistics
from archgraph.cli import main
from archgraph.prediction import predict


def test_both_halves_and_their_json(capsys):
    assert main(["check", "residual", "--networks", "20", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["statistics_ok"]) == (True, True)
    assert found["statistics_networks"] == 20
    row = found["statistics"]["x1"]
    assert set(row) >= {"predicted", "measured", "standard_error", "ok"}
    assert abs(row["predicted"] - row["measured"]) < 4 * row["standard_error"]


def test_statistics_can_be_left_out(capsys):
    assert main(["check", "residual", "--no-statistics", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["statistics_ok"], found["statistics"]) == (True, None, {})


def test_the_table_and_the_verdict(capsys):
    assert main(["check", "residual", "--networks", "20"]) == 0
    out = capsys.readouterr().out
    assert "the paths add up" in out
    assert "the predictions hold: " in out
    assert "rows are closer" in out


def test_a_wrong_prediction_alone_fails(capsys, monkeypatch):
    def wrong(graph, **options):
        found = predict(graph, **options)
        nodes = {k: replace(v, energy=3 * v.energy) for k, v in found.nodes.items()}
        return replace(found, nodes=nodes)

    monkeypatch.setattr(statistics, "predict", wrong)
    assert main(["check", "residual", "--networks", "50"]) == 1
    out = capsys.readouterr().out
    assert "the paths add up" in out
    assert "THE PREDICTIONS DO NOT HOLD" in out
    assert "off" in out
    assert main(["check", "residual", "--networks", "50", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["statistics_ok"]) == (True, False)
