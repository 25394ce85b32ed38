"""`archgraph sweep`: tables, files, exit codes, and a sweep that is killed and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archgraph.cli import main
from tests.sweeping.networks import RESIDUAL


@pytest.fixture
def spec(tmp_path):
    where = tmp_path / "by_depth.yaml"
    where.write_bytes(RESIDUAL)
    return str(where)


QUICK = ["--samples", "4", "--workers", "1", "--wrt", "x"]


def test_json(spec, capsys):
    grid = ["--set", "lam=0.5,1", "--set", "depth=1:3:2"]
    assert main(["sweep", spec, *grid, *QUICK, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["params"] == {"lam": [0.5, 1], "depth": [1, 3]}
    assert (found["what"], found["jobs"], found["failed"]) == ("predict", 4, 0)
    assert [point["settings"] for point in found["points"]][1] == {"lam": 0.5, "depth": 3}
    assert set(found["points"][0]) >= {"target", "value", "standard_error", "errors"}
    assert [set(row) for row in found["rows"]] == [set(found["columns"])] * 4


def test_the_table(spec, capsys):
    assert main(["sweep", spec, "--set", "lam=0.5,1", "--what", "decompose", "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert "by_depth: decompose at 2 points × 1 seeds" in out
    assert "effective depth" in out


def test_failures_are_told_and_counted(spec, capsys):
    assert main(["sweep", spec, "--set", "depth=1,-1", *QUICK]) == 1
    captured = capsys.readouterr()
    assert "1 of 2 jobs failed" in captured.err
    assert "repeat" in captured.err
    assert "1/1" in captured.out


def test_wrong_usage(spec, capsys, tmp_path):
    output = ["-o", str(tmp_path / "a.csv")]
    assert main(["sweep", spec, "--set", "lan=1:0", "--set", "dpth=1"]) == 2
    error = capsys.readouterr().err
    assert "never gets to its stop" in error
    assert "no param 'dpth'; did you mean 'depth'?" in error
    assert main(["sweep", spec, "-o", str(tmp_path / "a.xls")]) == 2
    assert main(["sweep", spec, "--fresh"]) == 2
    assert main(["sweep", spec, *QUICK, *output]) == 0
    assert main(["sweep", spec, *QUICK, *output, "--seed", "1"]) == 2
    assert "seed (0, now 1)" in capsys.readouterr().err
    assert main(["sweep", spec, *QUICK, *output, "--seed", "1", "--fresh"]) == 0
    assert main(["sweep", str(tmp_path / "none.yaml")]) == 1
    capsys.readouterr()


def test_the_spec_may_come_from_stdin(monkeypatch, capsys):
    import io

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(RESIDUAL)))
    assert main(["sweep", "-", "--set", "depth=1,2", *QUICK]) == 0
    assert "predict at 2 points" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads what runs from /proc")
def test_killed_and_continued(spec, tmp_path):
    command = [sys.executable, "-m", "archgraph", "sweep", spec, "--workers", "2"]
    command += ["--what", "decompose", "--set", "depth=2:12:2"]
    output, log = tmp_path / "a.csv", tmp_path / "a.csv.jobs.jsonl"
    # So many that it cannot be done before it is killed.
    many = [*command, "--seeds", "500", "-o", str(output)]
    process = subprocess.Popen(many, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_bytes().count(b"\n") > 8):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = _children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(workers) >= 2
    kept = log.read_bytes()
    assert not output.exists()
    while any(_alive(worker) for worker in workers):  # nobody else could end them
        assert time.monotonic() < deadline
        time.sleep(0.02)

    log.write_bytes(kept[:-7])  # as a crash of the machine might leave it
    few = [*command[3:], "--seeds", "5", "--workers", "1", "-o"]
    assert main([*few, str(output)]) == 0
    whole = kept[: kept.rindex(b"\n", 0, -7) + 1]
    assert log.read_bytes().startswith(whole)
    assert log.read_bytes()[len(whole) :].count(b"\n") < 30  # of the thirty, some were there
    assert main([*few, str(tmp_path / "b.csv")]) == 0
    assert output.read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_terminated_it_ends_quietly(spec, tmp_path):
    output, log = tmp_path / "a.csv", tmp_path / "a.csv.jobs.jsonl"
    many = [sys.executable, "-m", "archgraph", "sweep", spec, "--set", "depth=2:12:2"]
    many += ["--seeds", "500", "--workers", "2", "-o", str(output)]
    process = subprocess.Popen(many, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_bytes().count(b"\n") > 2):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "leaked" not in said
    assert said.splitlines()[-1] == "interrupted"


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
