"""The verb that splits a measured gradient, as a person and as a program see it."""

from __future__ import annotations

import json
import re

import pytest
import torch

from archgraph.cli import main
from archgraph.module import compile as compile_graph
from archgraph.spec import load

RESNET = ("resnet", "--set", "depth=18", "--set", "size=32", "--wrt", "conv1", "--batch", "2")


def run(capsys, *arguments):
    code = main(["decompose", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def as_json(capsys, *arguments):
    return json.loads(run(capsys, *arguments, "--json"))


def refused(capsys, *arguments):
    assert main(["decompose", *map(str, arguments)]) in (1, 2)
    return capsys.readouterr().err


def test_edges_are_folded_by_block(capsys):
    text = run(capsys, *RESNET)
    assert "by edge" in text.splitlines()[0]
    assert "effective depth" in text
    assert "dB per block" in text
    lines = [line.split() for line in text.splitlines()]
    rows = [words for words in lines if words and words[0].startswith("layer")]
    assert sorted(row[0] for row in rows) == [f"layer{i}.{j}" for i in range(1, 5) for j in (0, 1)]
    branches = [float(row[3]) for row in rows]
    assert branches == sorted(branches, reverse=True)
    assert "layer4.1.bn2->layer4.1.out" in run(capsys, *RESNET, "--flat", "--limit", 500)


def test_json_keys(capsys):
    found = as_json(capsys, *RESNET, "--by", "branches")
    assert list(found) == ["wrt", "by", "norm", "parts", "residual", "note", "headline"]
    assert [part["key"] for part in found["parts"]] == list(range(9))
    assert sum(part["share"] for part in found["parts"]) == pytest.approx(1)
    assert sum(part["paths"] for part in found["parts"]) == 2**8
    assert found["headline"]["effective_depth"] > 0


@pytest.mark.parametrize("by", ["path", "edge", "node", "weights", "skips", "branches", "loss"])
def test_every_split_prints_a_table(capsys, by):
    text = run(capsys, "residual", "--wrt", "x1", "--by", by)
    assert f"by {by}" in text
    assert "share" in text or "by skips" in text


def test_the_heaviest_of_too_many(capsys, monkeypatch):
    monkeypatch.setattr("archgraph.gradient.run_once", None)  # said before anything is run
    error = refused(capsys, "preact_resnet", "--set", "depth=56", "--wrt", "conv1", "--by", "path")
    assert "134,217,728 paths lead from 'conv1' to 'L'" in error
    assert "by edge, weights or branches" in error
    assert "did you mean 'conv1'" in refused(capsys, "preact_resnet", "--wrt", "conv11")
    monkeypatch.undo()
    text = run(capsys, "scaled_residual", "--wrt", "x0", "--by", "path", "--top", 2)
    assert "2 of 256 paths: no other has a larger norm" in text


def test_long_paths_are_folded_by_their_blocks(capsys):
    arguments = (*RESNET, "--by", "path", "--top", 1, "--budget", 300)
    text = run(capsys, *arguments)
    assert re.search(r" conv1 → bn1 → relu → maxpool → \(?layer1\.0", text)
    assert "layer1.0.bn2" not in text
    short = run(capsys, "residual", "--wrt", "x1", "--by", "path", "--of", "x5")
    assert " x1 → x3 → x5 " in short


def test_a_degree_for_any_edge(capsys):
    found = as_json(capsys, "residual", "--wrt", "x1", "--degree", "x1->x3=2", "--degree", "*F4=1")
    assert found["by"] == "degree"
    assert [part["key"] for part in found["parts"]] == [0, 1, 2, 3]
    assert "matches no edge" in refused(capsys, "residual", "--wrt", "x1", "--degree", "q->r=1")
    assert "whole number" in refused(capsys, "residual", "--wrt", "x1", "--degree", "x1->x3=-1")


def test_too_many_paths_names_the_options(capsys):
    said = refused(capsys, "residual", "--wrt", "x1", "--by", "path", "--budget", "3")
    assert "at most 3 are followed one by one; --budget N follows more, --top K the" in said
    assert "raise the budget" not in said


def test_sizes_of_memory(capsys):
    few = ("residual", "--wrt", "x1", "--by", "skips", "--memory")
    assert as_json(capsys, *few, "1.5MiB")["parts"]
    said = refused(capsys, *few, "1")
    assert "one grade takes about" in said
    assert "; --memory SIZE allows more, and a smaller --batch N takes less" in said
    assert "--memory takes a size such as 500M" in refused(capsys, *few, "lots")


def test_weights_and_data_from_files(capsys, tmp_path):
    graph = load("residual")
    torch.save(compile_graph(graph, seed=5).state_dict(), tmp_path / "w.pt")
    torch.save(torch.ones(3, *graph.inputs[0].shape), tmp_path / "x.pt")
    files = ("--weights", tmp_path / "w.pt", "--data", tmp_path / "x.pt")
    found = as_json(capsys, "residual", "--wrt", "x1", *files)
    assert found["norm"] != as_json(capsys, "residual", "--wrt", "x1")["norm"]
    assert found == as_json(capsys, "residual", "--wrt", "x1", *files, "--seed", 0)
    assert "cannot read" in refused(capsys, "residual", "--wrt", "x1", "--weights", "no.pt")
    assert "no device 'tpu'" in refused(capsys, "residual", "--wrt", "x1", "--device", "tpu")


def test_all_parameters_of_a_block(capsys):
    found = as_json(capsys, *RESNET[:5], "--wrt", "layer1.*", "--by", "weights")
    assert found["wrt"] == "layer1.*"
    assert sum(part["share"] for part in found["parts"]) == pytest.approx(1)


def test_several_targets_of_one_pass(capsys, monkeypatch):
    from archgraph import gradient

    alone = [as_json(capsys, "residual", "--wrt", wrt) for wrt in ("x1", "x3")]
    passes, recorded = [], gradient.run_once
    monkeypatch.setattr(gradient, "run_once", lambda *a, **k: passes.append(a) or recorded(*a, **k))
    both = ("residual", "--wrt", "x1", "--wrt", "x3")
    assert as_json(capsys, *both) == {"targets": alone}
    assert len(passes) == 1
    text = run(capsys, *both)
    assert "∂L/∂x1 in residual" in text
    assert "\n\n∂L/∂x3 in residual" in text


def test_norms_of_sampled_paths(capsys):
    arguments = ("scaled_residual", "--wrt", "x0", "--sample", 100)
    text = run(capsys, *arguments)
    assert "100 of 256 paths" in text.splitlines()[0]
    assert re.search(r"Σ‖g_p‖ over all paths: [\d.]+ ± [\d.]+, [\d.]+ times ‖g‖", text)
    found = as_json(capsys, *arguments)
    listed = as_json(capsys, "scaled_residual", "--wrt", "x0", "--by", "path")
    total = found["total"]
    exact = sum(part["norm"] for part in listed["parts"])
    assert abs(total["value"] - exact) <= 4 * total["standard_error"]
    assert [part["paths"] for part in found["parts"]] == [1, 8, 28, 56, 70, 56, 28, 8, 1]
    assert as_json(capsys, *arguments, "--by", "weights")["by"] == "weights"
    assert as_json(capsys, "mlp", "--wrt", "x", "--sample", 2)["by"] == "weights"


def test_a_zero_gradient_is_said(capsys):
    text = run(capsys, "fixup", "--set", "depth=8", "--wrt", "conv1", "--batch", 2)
    assert "∂L/∂conv1 is exactly zero, so shares are not defined" in text  # its head starts at zero
