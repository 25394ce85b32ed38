"""The verb diagnose, and a spec where a verb would stand."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import pytest
import torch

from archgraph.cli import main
from archgraph.cli.progress import progress

torch.set_num_threads(1)

SPEC = """\
archgraph: 1
name: chain
params: {gain: 1}
inputs: {x: [8]}
layers:
  a: {op: Linear(8), init: {weight: normal(std=gain)}}
  b: Linear(8)
"""


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "chain.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


def test_a_spec_alone_is_diagnosed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["residual", "--seed", "1"]) == 0
    alone = capsys.readouterr().out
    assert main(["diagnose", "residual", "--seed", "1"]) == 0
    assert capsys.readouterr().out == alone
    lines = alone.splitlines()
    assert lines[0] == "residual: the gradient arrives at x1"
    labels = [line.split()[0] for line in lines[1:-1]]
    assert labels == [
        "gradient",
        "paths",
        "depth",
        "skips",
        "gain",
        "steepest",
        "notes",
        "fp16",
        "bf16",
    ]


def test_a_word_that_is_neither_a_verb_nor_a_spec(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnoes", "residual"]) == 2
    assert "did you mean 'diagnose'?" in capsys.readouterr().err


def test_json_has_the_same_numbers(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["./chain.yaml", "--json", "--expect", "paths < 2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert found["wrt"] == "x"
    assert found["reference"] == "b"
    assert found["paths"] == 1
    assert found["effective_depth"] == pytest.approx(2)
    assert found["relative"] == pytest.approx(found["rms"] / _rms_of_output(found))
    assert found["expectations"] == [{"text": "paths < 2", "value": 1.0, "ok": True}]
    assert set(found["precision"]) == {"fp16", "bf16"}


def _rms_of_output(found: dict[str, float]) -> float:
    # The loss is a mean over the batch of a readout with N(0, 1) weights, so this is one number.
    from archgraph.gradient import autograd, run_once
    from archgraph.spec import load

    gradient = autograd(run_once(load("./chain.yaml"), train=True), "b")[0]
    return float(gradient.square().mean().sqrt())


def test_an_expectation_that_fails_sets_the_exit_code(
    chain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["./chain.yaml", "--expect", "rms(a) > 1e9", "--expect", "paths >= 1"]) == 1
    out = capsys.readouterr().out
    assert "FAILS: rms(a) > 1e9 (it is " in out
    assert "holds: paths >= 1 (it is 1)" in out


def test_against_a_setting(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "./chain.yaml", "--json", "--against", "gain=10"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["against"]["rms"] == pytest.approx(10 * found["rms"])


def test_against_a_spec(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = chain.with_name("other.yaml")
    other.write_text(SPEC.replace("b: Linear(8)", "b: Sigmoid()\n  c: Detach()(a)\n  d: b + c"))
    assert main(["diagnose", "./chain.yaml", "--against", "./other.yaml"]) == 0
    assert "only ./other.yaml: c: it is detached" in capsys.readouterr().out


def test_against_a_git_revision(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def git(*arguments: str) -> None:
        names = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *names, *arguments], cwd=chain.parent, check=True)

    git("init", "-q")
    git("add", "chain.yaml")
    git("commit", "-qm", "first")
    chain.write_text(SPEC.replace("gain: 1", "gain: 10"), encoding="utf-8")
    assert main(["diagnose", "./chain.yaml", "--json", "--against", "HEAD"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rms"] == pytest.approx(10 * found["against"]["rms"])


@pytest.mark.parametrize("other", ["nothing", "--output"])
def test_against_what_is_not_there(
    chain: Path, capsys: pytest.CaptureFixture[str], other: str
) -> None:
    assert main(["diagnose", "./chain.yaml", f"--against={other}"]) == 2
    error = capsys.readouterr().err
    assert "--against takes a spec, a setting such as lam=0.5, or a git revision" in error
    assert not chain.with_name("x").exists()


def test_a_spec_from_stdin_alone_is_diagnosed(
    chain: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(SPEC.encode())))
    assert main(["-"]) == 0
    assert capsys.readouterr().out.startswith("chain: the gradient arrives at x")


def test_a_gradient_that_is_not_finite_is_an_answer(
    chain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SPEC.replace("b: Linear(8)", "b: {op: Linear(8), init: {weight: normal(std=1e30)}}")
    chain.write_text(text.replace("normal(std=gain)", "normal(std=1e30)"))
    assert main(["./chain.yaml", "--dtype", "float32"]) == 1
    assert "is infinite or not a number" in capsys.readouterr().out
    assert main(["./chain.yaml", "--dtype", "float32", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["verdict"]) == (False, "not finite")


@pytest.mark.parametrize("verb", ["compile", "render", "sweep"])
def test_no_output_overwrites_the_spec(
    chain: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert main([verb, "./chain.yaml", "-o", str(chain)]) == 2
    assert "would overwrite the spec itself" in capsys.readouterr().err
    assert chain.read_text(encoding="utf-8") == SPEC


def test_a_misspelt_shipped_spec(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["residul"]) == 2
    assert "did you mean 'residual'?" in capsys.readouterr().err


def test_long_work_off_a_terminal_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter([0.0, 4.0, 11.0, 11.0, 12.0, 30.0])
    monkeypatch.setattr("archgraph.cli.progress.time.monotonic", lambda: next(now))
    with progress("jobs") as report:
        for done in (1, 2, 3):
            report(done, 24_000)
        report(24_000, 24_000)
    assert capsys.readouterr().err == "jobs: 2 of 24,000\n"
