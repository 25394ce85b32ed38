"""The log of a sweep: whole lines, and only its own."""

from __future__ import annotations

import json

import pytest

from archgraph.errors import UsageError
from archgraph.sweeping.job import Outcome
from archgraph.sweeping.log import Log

HEADER = {"spec": "x", "options": {"batch": 4, "seed": 0}}
ONE = Outcome("one", ({"energy": 0.1},))
TWO = Outcome("two", ({"energy": 1e-300},))


@pytest.fixture
def path(tmp_path):
    where = tmp_path / "log.jsonl"
    with Log(where, HEADER) as log:
        log.append([ONE, TWO])
    return where


def test_what_was_written_is_read(path):
    with Log(path, HEADER) as log:
        assert {key: outcome.rows for key, outcome in log.done.items()} == {
            "one": ONE.rows,
            "two": TWO.rows,
        }


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_line_is_cut_off(path, cut):
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Log(path, HEADER) as log:
        assert set(log.done) == {"one"}
        log.append([TWO])
    assert path.read_bytes() == whole


def test_nothing_is_trusted_behind_a_broken_line(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\x00\x00\n" + lines[2])
    with Log(path, HEADER) as log:
        assert log.done == {}
    assert path.read_bytes() == lines[0]


def test_a_torn_header_starts_anew(path):
    path.write_bytes(path.read_bytes()[:5])
    with Log(path, HEADER) as log:
        assert log.done == {}
    assert json.loads(path.read_bytes()) == HEADER


def test_failed_jobs_are_done_again(tmp_path):
    with Log(tmp_path / "log", HEADER) as log:
        log.append([Outcome("a", error="no"), Outcome("b", ({"x": None},), error="not finite")])
    with Log(tmp_path / "log", HEADER) as log:
        assert set(log.done) == {"b"}  # which gave what there is


def test_another_sweep_is_refused(path):
    with pytest.raises(UsageError, match=r"another sweep; what differs: batch \(4, now 8\)"):
        Log(path, {**HEADER, "options": {"batch": 8, "seed": 0}})
    with pytest.raises(UsageError, match="differs: spec"):
        Log(path, {**HEADER, "spec": "y"})
    with Log(path, {**HEADER, "spec": "y"}, fresh=True) as log:
        assert log.done == {}


def test_two_at_once_are_refused(path):
    pytest.importorskip("fcntl")
    with Log(path, HEADER), pytest.raises(UsageError, match="another sweep is writing"):
        Log(path, HEADER)


def test_no_folder(tmp_path):
    with pytest.raises(UsageError, match="cannot write"):
        Log(tmp_path / "no" / "log", HEADER)
