"""Skips that blocks, or layers between blocks, lack beside others that have one."""

from __future__ import annotations

import pytest

from archgraph.suggestion import search
from archgraph.suggestion.effect import Effect
from archgraph.suggestion.missing import missing_skips
from archgraph.suggestion.origin import Origin, read_origin
from archgraph.suggestion.search import advise, suggest

UNIT = """\
archgraph: 1
inputs: {x: [8]}
blocks:
  unit:
    params: {n: 8, skip: True}
    layers:
      z: Linear(n)
      a: ReLU
      out: "input + a if skip else a"
layers:
"""

COPIES = """\
  stage: {op: "unit(skip=i != 2)", repeat: 5}
  y: Linear(8)
"""
CALLS = """\
  u1: unit(8)
  u2: unit(8, skip=False)  # to be mended
  u3: unit(8)
  u4: unit(8, False)
  u5: unit
"""
LAYERS = """\
  a: {op: unit, repeat: 3}
  f1: Linear(8)
  f1a: ReLU
  f2: Linear(8)
  b: unit
  y: Linear(8)
"""


def candidates(text):
    """The changed texts by title."""
    origin = Origin(text, "net.yaml")
    return {c.title: origin.changed(c) for c in missing_skips(origin.subject())}


def skips(text):
    return [(e.source, e.target) for e in Origin(text, "n.yaml").graph().edges if e.role == "skip"]


def test_a_copy_that_is_an_exception_is_one_no_more():
    changed = candidates(UNIT + COPIES)["the missing skip of stage.2"]
    assert changed == UNIT + COPIES.replace("unit(skip=i != 2)", "unit()")
    assert ("stage.1.out", "stage.2.out") in skips(changed)


def test_a_param_that_is_no_default_is_given_as_the_others_have_it():
    text = (UNIT + COPIES).replace("skip: True", "skip: False")
    changed = candidates(text)["the missing skip of stage.2"]
    assert 'op: "unit(skip=True)"' in changed


def test_calls_without_a_skip_get_what_the_others_have():
    changed = candidates(UNIT + CALLS)["the missing skip of u2, u4"]
    wanted = CALLS.replace("(8, skip=False)", "(8)").replace("(8, False)", "(8)")
    assert changed == UNIT + wanted
    assert len(skips(changed)) == 5


def test_a_copy_that_calls_another_block_calls_that_of_the_others():
    text = (UNIT + COPIES).replace(
        "layers:\n  stage", "  plain: {layers: {z: Linear(8), a: ReLU}}\nlayers:\n  stage"
    )
    text = text.replace("unit(skip=i != 2)", "unit(8) if i != 2 else plain()")
    changed = candidates(text)["unit with its skip for stage.2 too"]
    assert changed == text.replace("unit(8) if i != 2 else plain()", "unit(8)")
    assert len(skips(changed)) == 5


def test_layers_between_residual_blocks_get_a_sum_behind_them():
    changed = candidates(UNIT + LAYERS)["the missing skip a → f2"]
    assert changed == UNIT + LAYERS.replace(
        "  f2: Linear(8)\n", "  f2: Linear(8)\n  f2_skip: f2 + a\n"
    )
    assert ("a.2.out", "f2_skip") in skips(changed)


@pytest.mark.parametrize(
    "layers",
    [
        LAYERS.replace("f2: Linear(8)", "f2: Linear(4)").replace("b: unit", "b: unit(4)"),
        LAYERS.replace("  b: unit\n", ""),
        CALLS.replace("unit(8)", "unit(8, False)"),
        COPIES.replace("i != 2", "i > -1"),
    ],
    ids=["another shape", "no block behind", "few have one", "all have one"],
)
def test_nothing_is_missing(layers):
    assert candidates(UNIT + layers) == {}


@pytest.mark.parametrize("name", ["residual", "gpt2", "resnet", "unet"])
def test_shipped_networks_lack_no_skip(name):
    assert list(missing_skips(read_origin(name).subject())) == []


def test_the_missing_skip_is_among_the_changes(tmp_path):
    """A saturated branch that is not skipped lets next to nothing through."""
    path = tmp_path / "net.yaml"
    path.write_text(
        "archgraph: 1\ninputs: {x: [8]}\nblocks:\n  unit:\n    params: {skip: True}\n    layers:\n"
        "      z: Linear(8)\n      s: Sigmoid\n      z2: Linear(8)\n      s2: Sigmoid\n"
        '      y: Linear(8)\n      out: "input + y if skip else y"\n'
        'layers:\n  h: {op: "unit(i != 3)", repeat: 8}\n  y: Linear(8)\nloss: MSELoss()\n'
    )
    advice = suggest(path, batch=8)
    found = [suggestion.title for suggestion in advice.suggestions]
    assert "the missing skip of h.3" in found
    assert "unit()" in advice.suggestions[found.index("the missing skip of h.3")].text


def test_a_param_that_has_nothing_to_do_with_skips_is_left_alone(monkeypatch):
    """What lacks a skip has another width too, which is no reason to change that."""
    text = UNIT.replace("skip: True", "skip: True, wide: 16").replace("Linear(n)", "Linear(wide)")
    text = text.replace("a: ReLU", "a: Linear(8)")
    text += '  h: {op: "unit(8, i != 3, 4 if i == 3 else 16)", repeat: 6}\n  y: Linear(8)\n'
    origin = Origin(text, "net.yaml")
    changed = [origin.changed(c) for c in missing_skips(origin.subject())]
    assert [len(skips(text)) for text in changed] == [6, 5]
    looked = []

    def predicted(graph, **_):
        looked.append(sum(edge.role == "skip" for edge in graph.edges))
        return real(graph, batch=2, quick=True)

    real = search.predicted
    monkeypatch.setattr(search, "FAMILIES", (missing_skips,))
    monkeypatch.setattr(search, "predicted", predicted)
    monkeypatch.setattr(Effect, "trouble", "it is to be looked at")
    advise(origin, {}, batch=2)
    assert looked.count(5) == 1  # as it was
    assert 6 in looked
