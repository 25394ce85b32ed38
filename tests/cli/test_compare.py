"""`archgraph compare` and `archgraph plot`: tables, keys, pictures and wrong usage."""

from __future__ import annotations

import json

import pytest

from archgraph.cli import main
from tests.sweeping.networks import RESIDUAL


@pytest.fixture
def spec(tmp_path):
    where = tmp_path / "by_depth.yaml"
    where.write_bytes(RESIDUAL)
    return str(where)


def test_compare(spec, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "a.svg"
    arguments = ["compare", spec, "--set", "act=ReLU,Tanh", "--samples", "4", "--layers"]
    assert main([*arguments, "-o", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "∂L/∂W" in out
    assert "h.0.F" in out
    assert out.splitlines()[-1] == str(picture)
    assert picture.read_bytes().startswith(b"<?xml")


def test_compare_json(spec, capsys):
    arguments = ["compare", spec, "pre_ln", "--set", "depth=2", "--set", "width=8", "--json"]
    assert main([*arguments, "--samples", "4", "--at", "states"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [variant["label"] for variant in found["variants"]] == ["by_depth", "pre_ln"]
    assert (found["at"], found["picture"]) == ("states", None)
    assert set(found["variants"][1]) >= {"settings", "method", "gain_db", "predicted", "measured"}


def test_plot_signal(spec, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    picture = str(tmp_path / "a.png")
    arguments = ["plot", spec, "--kind", "signal", "--measure", "2", "--batch", "8", "-o", picture]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["picture"]) == ("signal", picture)
    assert set(found["signals"][0]) >= {"mean_squares", "variances", "branch_variances"}


def test_wrong_usage(spec, capsys, tmp_path):
    assert main(["compare", spec, "--set", "dpth=2"]) == 2
    assert "has no param 'dpth'" in capsys.readouterr().err
    assert main(["compare", "-", "-"]) == 2
    assert "read once" in capsys.readouterr().err
    assert main(["compare", spec, "--set", "depth=-1"]) == 1
    assert "by_depth.yaml" in capsys.readouterr().err
    pytest.importorskip("matplotlib")
    for verb in ("compare", "plot"):
        assert main([verb, spec, "-o", str(tmp_path / "a.gif")]) == 2
        assert ".gif" in capsys.readouterr().err
    assert main(["sweep", spec, "--plot", str(tmp_path / "a.png")]) == 2
    assert "one or two params" in capsys.readouterr().err


def test_sweep_draws(spec, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "a.png"
    arguments = ["sweep", spec, "--set", "lam=0.5,1", "--set", "depth=1,2", "--samples", "4"]
    assert main([*arguments, "--workers", "1", "--wrt", "x", "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
