"""Every block of the README runs, and prints what the README says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import archgraph
from archgraph.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.S)
SPECS = [text for kind, text in BLOCKS if kind == "yaml"]
SPEC = SPECS[0]
SESSIONS = [
    (command.strip(), expected)
    for kind, text in BLOCKS
    if kind == "console"
    for command, _, expected in (part.partition("\n") for part in text.split("$ ")[1:])
]
PYTHON = [text for kind, text in BLOCKS if kind == "python"]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(SPEC, encoding="utf-8")
    Path("typo.yaml").write_text(SPEC.replace("Sigmoid", "Sigmod"), encoding="utf-8")


def assert_shows(printed, expected):
    """Compare line by line; a line with … stands for anything from there on."""
    lines = [line.rstrip() for line in printed.splitlines()]
    at = 0
    for line in expected.rstrip().splitlines():
        if line == "…":
            continue
        start = line.rstrip("…")
        found = next(
            (
                i
                for i in range(at, len(lines))
                if lines[i] == line or (start != line and lines[i].startswith(start))
            ),
            None,
        )
        assert found is not None, f"{line!r} is not printed:\n{printed}"
        at = found + 1


def test_there_are_blocks():
    assert (len(SESSIONS), len(PYTHON), len(SPECS)) == (5, 2, 2)


@pytest.mark.parametrize("text", SPECS)
def test_specs(text):
    graph = archgraph.parse(text)
    assert not graph.warnings
    assert archgraph.check(graph, batch=2).ok


@pytest.mark.parametrize(("command", "expected"), SESSIONS)
def test_console(command, expected, capsys):
    program, *arguments = command.split()
    assert program == "archgraph"
    code = main(arguments)
    printed = capsys.readouterr()
    assert code == (1 if "typo" in command else 0)
    assert_shows(printed.out + printed.err, expected)


@pytest.mark.parametrize("text", PYTHON)
def test_python(text):
    exec(compile(text, "README.md", "exec"), {})


def test_every_verb_is_in_the_table():
    from archgraph.cli.arguments import _build

    for verb in _build().get_default("verbs"):
        assert re.search(rf"^\|.*`{verb}[ `]", README, flags=re.M), verb
