"""A file that cannot be written is refused before the work whose result it would hold."""

from __future__ import annotations

import os

import pytest

from archgraph.cli import main
from archgraph.errors import UsageError
from archgraph.files import check_target

WORK = {
    "plot": "archgraph.cli.plot.compare_specs",
    "compare": "archgraph.cli.compare.compare_specs",
    "suggest": "archgraph.suggestion.search.advise",
    "sweep": "archgraph.sweeping.sweep",
    "render": "archgraph.picture.measured.measured_flow",
}


@pytest.mark.parametrize(
    "arguments",
    [
        ["plot", "mlp", "-o", "{}/a.png"],
        ["compare", "mlp", "-o", "{}/a.png"],
        ["suggest", "mlp", "--apply", "2", "-o", "{}/a.yaml"],
        ["sweep", "mlp", "--set", "depth=2,3", "--plot", "{}/a.png"],
        ["sweep", "mlp", "--set", "depth=2,3", "-o", "{}/a.csv"],
        ["render", "mlp", "--wrt", "x", "-o", "{}/a.svg"],
    ],
    ids=lambda arguments: " ".join(arguments[::2]),
)
def test_a_missing_folder_is_seen_first(arguments, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(WORK[arguments[0]], lambda *_, **__: pytest.fail("it worked before"))
    folder = str(tmp_path / "none")
    assert main([text.format(folder) for text in arguments]) == 2
    assert f"there is no folder '{folder}'" in capsys.readouterr().err


def test_a_suffix_that_is_no_format_is_seen_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(WORK["render"], lambda *_, **__: pytest.fail("it worked before"))
    assert main(["render", "mlp", "--wrt", "x", "-o", str(tmp_path / "a.gif")]) == 2
    assert "cannot tell the format" in capsys.readouterr().err


def test_a_change_that_cannot_be_written_is_seen_first(tmp_path, monkeypatch, capsys):
    work = "archgraph.suggestion.what_if.predicted"
    monkeypatch.setattr(work, lambda *_, **__: pytest.fail("it worked before"))
    arguments = ["suggest", "residual", "--edit", "x1->x3: lambda=0.5", "--apply", "1"]
    assert main([*arguments, "-o", str(tmp_path / "a.yaml")]) == 2
    assert "a question only" in capsys.readouterr().err


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UsageError, match="it is a folder"):
        check_target(tmp_path)


def test_a_folder_that_takes_no_files(tmp_path, monkeypatch):
    # The superuser may write anywhere, so that a folder's own mode would not do.
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(UsageError, match="no files can be put into its folder"):
        check_target(tmp_path / "a.csv")


def test_a_new_file_and_one_that_is_there_will_do(tmp_path):
    path = tmp_path / "a.csv"
    assert check_target(str(path)) == path
    path.touch()
    assert check_target(path) == path
