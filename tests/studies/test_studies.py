"""The studies of docs/studies.md: the cheap ones again, small, and the page against its results."""

from __future__ import annotations

import importlib
import json
import math

import pytest
import torch

from archgraph.spec import load
from benchmarks.studies import dense, networks, scales, veit
from benchmarks.studies.common import PAGE, RESULTS, spec
from benchmarks.studies.page import STUDIES, page

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def stored():
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def test_the_page_is_that_of_the_stored_results(stored):
    stale = "docs/studies.md is stale; run python -m benchmarks.studies --redraw"
    assert page(stored) == PAGE.read_text(encoding="utf-8"), stale
    assert RESULTS.stat().st_size < 50_000


def test_every_study_has_its_picture(stored):
    for name in STUDIES:
        picture = RESULTS.parent / f"{name}.svg"
        assert f"](studies/{picture.name})" in page(stored)
        assert picture.read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.parametrize("name", ["veit", "dense_layer"])
def test_specs_of_studies_are_in_order(name):
    assert load(spec(name)).name == name


def assert_within(found, expected, errors, bias=0.0):
    assert abs(found["mean"] - expected) <= errors * found["error"] + bias * expected


def test_veit_s_network_small():
    found = veit.measure(networks=2, blocks=6, batch=16, epochs=1, paths=30, keep=False)
    for state in ("init", "trained"):
        result = found[state]
        for kind in ("share", "energy", "estimate"):
            assert len(result[kind]) == 7
            assert sum(result[kind]) == pytest.approx(1)
        assert all(0 < mean["mean"] < 6 for mean in result["length"].values())
    assert veit.section(found).startswith("## Which paths")


def test_what_is_stored_of_veit_s_network(stored):
    """Exact paths are shorter than count × norm says, before and after training."""
    found = stored["veit"]
    assert found["accuracy"]["mean"] > 0.9
    for state in ("init", "trained"):
        length = found[state]["length"]
        apart = length["estimate"]["mean"] - length["share"]["mean"]
        assert apart > 5 * math.hypot(length["estimate"]["error"], length["share"]["error"])
        assert abs(length["energy"]["mean"] - length["share"]["mean"]) < 0.5


def test_scales_follow_their_law():
    """Within 4 standard errors, and 1.5·Σ 1/width for the width, of 27 figures."""
    found = scales.measure(networks=12, width=128, batch=2)
    assert_scales(found)
    assert scales.section(found).count("| 0.5 |") == 1


def test_what_is_stored_of_scales(stored):
    assert_scales(stored["scales"])


def assert_scales(found):
    bias = 1.5 * scales.BLOCKS / found["width"]
    for scale, result in found["scales"].items():
        expected = scales.law(float(scale))
        assert_within(result["gain"], (float(scale) ** 2 + 1) ** scales.BLOCKS, 4, bias)
        for energy, law in zip(result["energy"], expected, strict=True):
            assert_within(energy, law, 4, bias)


def test_the_missed_path_has_five_sixths():
    """Within 4 standard errors, and 1/width for the width, in each case."""
    found = dense.measure(networks=40, width=24, batch=4)
    assert_dense(found)
    assert "| 0.833 |" in dense.section(found)


def test_what_is_stored_of_the_missed_path(stored):
    assert_dense(stored["dense"])


def assert_dense(found):
    for name, share in found["direct"].items():
        assert_within(share, dense.CASES[name][1], 4, bias=1 / found["width"])


def test_networks_small():
    cases = {"ResNet-18": ("resnet", {"depth": 18, "size": 32}, "conv1", 2)}
    found = networks.measure(cases=cases)
    rows = found["ResNet-18"]["rows"]
    assert [name for name, _, _ in rows] == [f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)]
    assert all(skip + branch == pytest.approx(1, abs=1e-3) for _, skip, branch in rows)
    text = networks.section(found)
    assert "archgraph decompose resnet --set depth=18 --set size=32 --wrt conv1 --train" in text


def test_pictures_are_drawn(stored, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("benchmarks.studies.common.FOLDER", tmp_path)
    for name in STUDIES:
        importlib.import_module(f"benchmarks.studies.{name}").draw(stored[name])
        assert (tmp_path / f"{name}.svg").stat().st_size > 5_000
