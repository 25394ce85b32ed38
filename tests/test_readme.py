"""Every block of the README and of the pages in docs/ runs, and prints what stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

import archgraph
from archgraph.cli import main
from tests.documents import Document, assert_shows

ROOT = Path(__file__).parent.parent
README = Document(ROOT / "README.md")
NOTES = Document(ROOT / "docs" / "notes.md")
DOCUMENTS = {"README": README, "notes": NOTES}

torch.set_num_threads(1)


def each(part: str) -> list[object]:
    """Return every document with every one of its specs, sessions or programs."""
    return [
        pytest.param(document, item, id=f"{name}-{i}")
        for name, document in DOCUMENTS.items()
        for i, item in enumerate(getattr(document, part), 1)
    ]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for document in DOCUMENTS.values():
        document.write_specs(tmp_path)
    tiny = Path("tiny.yaml").read_text(encoding="utf-8")
    Path("typo.yaml").write_text(tiny.replace("Sigmoid", "Sigmod"), encoding="utf-8")


def test_there_are_blocks():
    assert (len(README.sessions), len(README.programs), len(README.specs)) == (7, 2, 2)
    headings = re.findall(r"^## (\d+)\. ", NOTES.text, flags=re.M)
    assert headings == [str(n) for n in range(1, 17)]
    for section in NOTES.text.split("\n## ")[1:]:
        assert "```console" in section or "```python" in section, section.splitlines()[0]


@pytest.mark.parametrize(("document", "text"), each("specs"))
def test_specs(document, text):
    graph = archgraph.parse(text)
    assert not graph.warnings
    assert archgraph.check(graph, batch=2).ok


@pytest.mark.parametrize(("document", "session"), each("sessions"))
def test_console(document, session, capsys):
    command, expected = session
    program, *arguments = shlex.split(command)
    assert program == "archgraph"
    code = main(arguments)
    printed = capsys.readouterr()
    assert code == (1 if "typo" in command else 0)
    assert_shows(printed.out + printed.err, expected)


@pytest.mark.parametrize(("document", "text"), each("programs"))
def test_python(document, text):
    exec(compile(text, document.path.name, "exec"), {})


def test_every_verb_is_in_the_table():
    from archgraph.cli.arguments import build_parser

    for verb in build_parser().get_default("verbs"):
        assert re.search(rf"^\|.*`{verb}[ `]", README.text, flags=re.M), verb
