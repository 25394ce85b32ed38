"""The table in docs/ and the list of `archgraph zoo` say what the specs are."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from archgraph.cli import main
from archgraph.spec import load, zoo
from benchmarks import path_counts

ROOT = Path(__file__).parent.parent.parent
STALE = "make docs writes it anew"


@pytest.fixture(scope="module")
def measured():
    return path_counts.measure()


def without_times(text: str) -> str:
    return re.sub(r"\| [0-9.]+ \|\n", "|\n", text)


def test_the_table_is_what_the_command_writes(measured):
    committed = path_counts.TABLE.read_text(encoding="utf-8")
    assert without_times(path_counts.table(measured)) == without_times(committed), STALE


def test_the_index_is_what_the_command_writes(measured):
    assert path_counts.index(measured) == path_counts.INDEX.read_text(encoding="utf-8"), STALE


def test_every_spec_is_listed(capsys):
    assert main(["zoo", "--json"]) == 0
    specs = json.loads(capsys.readouterr().out)["specs"]
    assert [spec["name"] for spec in specs] == list(zoo())
    keys = {"name", "shows", "about", "parameters", "depth", "nodes", "wrt", "paths"}
    assert all(set(spec) == keys for spec in specs)
    by_name = {spec["name"]: spec for spec in specs}
    assert by_name["preact_resnet"]["paths"] == 2**54
    assert by_name["residual"]["shows"].startswith("two identity skips make four paths")
    assert main(["zoo"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"identity_mappings/original .* 2\^54 ", printed)
    assert re.search(r"residual .* 1,088 .* 4 ", printed)


def test_a_spec_in_a_folder_has_the_folder_in_its_name():
    assert load("identity_mappings/original", depth=8).name == "original"


def test_counting_needs_no_torch(tmp_path):
    (tmp_path / "torch.py").write_text("raise RuntimeError('torch was imported')\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    code = (
        "from archgraph import count_paths, load\n"
        "assert count_paths(load('preact_resnet', depth=1001), 'image') == 2**333"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (4, "4"),
        (1 << 54, "18,014,398,509,481,984 = 2^54"),
        (2 * 3**7, "4,374 = 2·3^7"),
        (10**20, "2^20·5^20 ≈ 1.000e20"),
        (10**20 - 1, "99,999,999,999,999,999,999"),
        (2**67 - 1, "≈ 1.475e20"),
        (2**333, "2^333 ≈ 1.749e100"),
    ],
)
def test_how_a_count_is_written(number, text):
    assert path_counts.describe_count(number) == text
