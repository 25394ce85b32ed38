"""Suggestions: the first, applied and measured, mends the gradient, or nothing needs mending."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import archgraph
from archgraph.errors import UsageError
from archgraph.spec import zoo
from archgraph.suggestion import search, suggest
from archgraph.suggestion.candidate import Candidate
from archgraph.suggestion.origin import Origin
from archgraph.suggestion.search import advise, predicted
from tests.suggestion.measuring import measured_ratio


def shipped(name):
    return zoo()[name].read_text()


MLP = shipped("mlp")
TORCH_INIT = MLP.replace("init: {weight: xavier_uniform, bias: 0}\n", "")
POST_LN = {"depth": 48, "width": 16, "heads": 2, "length": 4}


@pytest.fixture
def hasty(monkeypatch):
    """Less time for each prediction, where its number does not matter."""
    monkeypatch.setattr(search, "QUICK", (2e7, 8, 8))
    monkeypatch.setattr(search, "THOROUGH", (5e7, 16, 16))


def advice_for(text, **settings):
    return advise(Origin(text, "net.yaml"), settings, limit=4)


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (MLP, {"width": 32}),
        (TORCH_INIT, {"width": 32}),
        (TORCH_INIT, {"width": 32, "act": "ReLU"}),
    ],
    ids=["sigmoid", "sigmoid, torch's init", "ReLU, torch's init"],
)
def test_the_first_suggestion_measured_mends_the_gradient(text, settings):
    advice = advice_for(text, **settings)
    before, first = advice.before, advice.suggestions[0]
    assert not advice.flat
    assert before.ratio < 1e-6
    assert first.mends
    for batch in (4, 64):
        assert 0.1 < measured_ratio(first.text, batch=batch, seeds=8) < 10


def test_what_is_predicted_is_what_is_measured():
    """48 networks tell the ratio to about 7 %, at four standard errors to a third."""
    first = advice_for(MLP, depth=8, width=16).suggestions[0]
    ratio = measured_ratio(first.text, batch=first.after.batch, seeds=48)
    assert math.isclose(ratio, first.after.ratio, rel_tol=0.3)


@pytest.mark.parametrize(
    ("name", "settings", "batch"),
    [("scaled_residual", {"lam": 0.5}, 32), ("post_ln", POST_LN, 4)],
)
def test_nothing_is_said_to_need_mending_where_nothing_does(name, settings, batch):
    advice = suggest(name, **settings)
    assert advice.flat
    assert advice.suggestions == ()
    text = Origin(shipped(name), "net.yaml").with_settings(settings).text
    assert 0.1 < measured_ratio(text, batch=batch, seeds=3) < 10
    assert 0.1 < advice.before.ratio < 10


def test_a_skip_every_five_layers_brings_the_energy_back():
    """THEORY §2: 9.1e-35 to 9.5e-35 between the first state and the last with torch's init."""
    sigmoid = predicted(archgraph.parse(TORCH_INIT, width=128), batch=4)
    assert sigmoid.energy < 1e-33
    skips = TORCH_INIT.replace(
        "blocks:\n", "blocks:\n  five: {layers: {f: {op: layer(), repeat: 5}}}\n"
    )
    skips = skips.replace("{op: layer(), repeat: depth}", "{op: five(), repeat: 4, connect: add}")
    assert 0.05 < predicted(archgraph.parse(skips, width=128), batch=4).energy < 20


def test_settings_become_the_defaults_of_what_is_suggested(hasty):
    advice = advice_for(TORCH_INIT, depth=12, width=24, act="ReLU")
    assert advice.settings == ("depth", "width", "act")
    for suggestion in advice.suggestions:
        graph = archgraph.parse(suggestion.text)
        assert (graph.params["depth"], graph.params["width"]) == (12, 24)
        assert suggestion.diff.startswith("--- net.yaml\n+++ net.yaml\n")
    other = next(s for s in advice.suggestions if s.title.startswith("Tanh"))
    assert "act: Tanh" in other.text


def test_suggestions_are_sorted_and_each_is_better_than_before(hasty):
    advice = advise(Origin(MLP, "net.yaml"), {"depth": 8, "width": 12}, limit=99)
    sizes = [s.after.distance for s in advice.suggestions]
    assert all(size < advice.before.distance for size in sizes)
    assert [s.mends for s in advice.suggestions] == sorted(
        (s.mends for s in advice.suggestions), reverse=True
    )
    rest = [s.after.distance for s in advice.suggestions if not s.mends]
    assert rest == sorted(rest)
    assert len({s.text for s in advice.suggestions}) == len(advice.suggestions)


def test_the_same_seed_gives_the_same_advice(hasty):
    settings = {"depth": 8, "width": 12}
    one, other = advice_for(MLP, **settings), advice_for(MLP, **settings)
    assert one.to_dict() == other.to_dict()


@pytest.mark.parametrize("std", [0.02, 2])
def test_a_chain_that_vanishes_or_explodes_evenly_is_not_taken_for_sound(hasty, std):
    """∂L/∂W is then G^l · G^(L−l), the same in every layer, and of no use in any."""
    text = MLP.replace("weight: xavier_uniform", f"weight: normal(std={std})")
    text = text.replace("Linear(1)", "Linear(width)").replace("act: Sigmoid", "act: ReLU")
    text = text.replace("depth: 20, width: 64", "depth: 10, width: 16")
    advice = advice_for(text)
    first = advice.suggestions[0]
    assert 0.1 < measured_ratio(text, batch=4) < 10
    assert not advice.flat
    assert "∂L/∂output" in advice.before.trouble
    assert first.title.startswith("start weights by kaiming_normal")
    assert first.mends
    assert 0.1 < measured_ratio(first.text, batch=4) < 10
    assert 0.01 < first.after.smallest < first.after.largest < 100


def test_a_lambda_that_starts_at_0_is_not_taken_for_a_vanishing_gradient():
    advice = suggest("rezero", depth=6, width=16)
    assert advice.flat
    assert math.isclose(advice.before.ratio, 1, rel_tol=0.1)  # the identity


def test_a_layer_that_starts_at_0_is_named():
    advice = suggest("fixup", depth=8)
    assert advice.before.closed == "fc"
    assert advice.suggestions == ()
    assert advice.to_dict()["before"]["closed"] == "fc"


def test_a_lambda_below_1_is_named_as_the_cause(hasty):
    """A sigmoid's branch passes little back, and keeps values large: λ² + T is .31 a block."""
    text = """\
archgraph: 1
params: {lam: 0.5}
inputs: {x: [16]}
blocks:
  block: {layers: {z: Linear(16), a: Sigmoid(), out: lam*input + a}}
layers:
  h: {op: block(), repeat: 14}
init: {weight: xavier_normal, bias: 0}
"""
    advice = advice_for(text)
    first = advice.suggestions[0]
    assert advice.before.ratio < 1e-3
    assert first.title == "lam = 1.0"
    assert 0.1 < measured_ratio(first.text, batch=8) < 10
    # `input + …` in the formula is the same network, and is not told again.
    assert [s.title for s in advice.suggestions].count("λ = 1 on every skip") == 0


def test_two_changes_are_tried_where_one_is_not_enough(hasty, monkeypatch):
    """Odd layers start too small by `p` and even ones by `q`; each change mends only its own."""
    text = """\
archgraph: 1
params: {p: 0.01, q: 0.01}
inputs: {x: [16]}
blocks:
  unit:
    layers:
      one: Linear(16)(p*input)
      two: Linear(16)(q*one)
layers:
  h: {op: unit(), repeat: 4}
init: {weight: xavier_normal, bias: 1}
"""

    def family(name, *values):
        def made(subject):
            for value in values:
                edit = subject.source.replace(("params", name), value)
                yield Candidate(name, f"{name} = {value}", "as a test", (edit,), 0)

        return made

    monkeypatch.setattr(search, "FAMILIES", (family("p", "0.001", "1"), family("q", "1")))
    first, *rest = advice_for(text).suggestions
    assert first.title == "p = 1; q = 1"
    assert first.mends
    assert {s.title for s in rest} == {"p = 1", "q = 1"}  # p = 0.001 makes it worse
    assert not any(s.mends for s in rest)


def test_a_network_of_one_weight_layer_has_nothing_to_compare():
    with pytest.raises(UsageError, match="fewer than two weight layers"):
        advice_for("{archgraph: 1, inputs: {x: [4]}, layers: {y: Linear(2)}}")


def test_json_says_what_it_says(hasty, tmp_path):
    path = Path(tmp_path) / "net.yaml"
    path.write_text(MLP)
    found = suggest(str(path), limit=1, depth=8, width=12).to_dict()
    assert found["needs_mending"] is True
    assert found["settings"] == ["depth", "width"]
    (first,) = found["suggestions"]
    assert set(first) >= {"title", "why", "diff", "before", "after", "standard_error", "method"}
    assert first["before"] == found["before"]["ratio"]
    assert first["after"] == first["effect"]["ratio"]
    assert first["diff"].startswith(f"--- {path}\n")
