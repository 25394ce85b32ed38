"""What-if questions: each against the spec that a person would have written instead."""

from __future__ import annotations

import math

import pytest

import archgraph
from archgraph.errors import SpecError, TargetError, UsageError
from archgraph.suggestion import what_if
from archgraph.suggestion.origin import Origin, read_origin
from archgraph.suggestion.search import predicted
from archgraph.suggestion.what_if import ask

CHAIN = """\
archgraph: 1
name: chain
params: {n: 6, lam: 1.0}
inputs: {x: [6]}
layers:
  a: Linear(n)
  b: Tanh()
  c: Linear(n)
  d: Tanh()(c + lam*b)
  e: Linear(n)
outputs: [e]
loss: MSELoss()
"""


def asked(text=CHAIN, settings=(), **changes):
    return ask(Origin(text, "net.yaml"), dict(settings), batch=4, **changes)


def effect(text):
    return predicted(archgraph.parse(text, file="net.yaml"), batch=4)


def assert_agree(one, other):
    """The two are predictions of the same network, by networks drawn anew or not."""
    for name, error in (("ratio", "standard_error"), ("energy", "energy_error")):
        apart = abs(getattr(one, name) - getattr(other, name))
        assert apart <= 4 * math.hypot(getattr(one, error), getattr(other, error)), name


CUT = CHAIN.replace("c + lam*b", "c")
SCALED = CHAIN.replace("lam: 1.0", "lam: 3")
BOTH = CHAIN.replace("  e: Linear(n)", "  s: d + a\n  e: Linear(n)")
HALF = CHAIN.replace("  e: Linear(n)", "  s: d + 0.5*a\n  e: Linear(n)")
LAST = CHAIN.replace("outputs: [e]", "  s: e + b\noutputs: [s]")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"cut": ["b->d"]}, CUT),
        ({"cut": ["b->*d"]}, CUT),
        ({"edit": ["b->d: lambda=3"]}, SCALED),
        ({"edit": ["b->d: λ = 6/2"]}, SCALED),
        ({"edit": ["lam=3"]}, SCALED),
        ({"edit": ["params.lam = 3"]}, SCALED),
        ({"edit": ["skip a->d"]}, BOTH),
        ({"edit": ["skip a -> d: lambda=0.5"]}, HALF),
        ({"edit": ["skip b->e"]}, LAST),
        ({"edit": ["init.weight=normal(std=2)"]}, CHAIN + "init: {weight: normal(std=2)}\n"),
        ({"edit": ["layers.b=Sigmoid()"]}, CHAIN.replace("b: Tanh", "b: Sigmoid")),
    ],
    ids=str,
)
def test_it_is_as_if_the_spec_said_so(changes, text):
    answer = asked(**changes)
    assert_agree(answer.after, effect(text))
    assert_agree(answer.before, effect(CHAIN))
    # The change is seen at all: the two networks are further apart than the errors.
    gap = abs(math.log(answer.after.energy / answer.before.energy))
    assert gap > 4 * answer.before.energy_error / answer.before.energy


def test_changes_of_the_text_have_a_diff_and_changes_of_edges_have_none():
    answer = asked(edit=["lam=3", "n=7"])
    assert answer.text == CHAIN.replace("{n: 6, lam: 1.0}", "{n: 7, lam: 3}")
    assert "-params: {n: 6, lam: 1.0}\n+params: {n: 7, lam: 3}\n" in answer.diff
    answer = asked(edit=["lam=3"], cut=["b->d"])
    assert (answer.text, answer.diff) == (None, None)
    assert answer.changes == ("cut b->d", "lam=3")


def test_settings_hold_before_and_after():
    answer = asked(settings={"lam": 3}, edit=["n=7"])
    assert_agree(answer.before, effect(SCALED))


def test_a_cut_chain_lets_no_gradient_through():
    answer = asked(cut=["a->b"])
    assert answer.after.energy == 0
    assert answer.after.ratio == 0


def test_copies_get_a_skip_over_several_of_them():
    origin = read_origin("mlp")
    answer = ask(origin, {"depth": 10}, edit=["skip hidden every 5"], batch=4)
    assert answer.before.energy < 1e-10
    assert 0.05 < answer.after.energy < 20
    assert "group()" in answer.diff


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cut": ["b->e"]}, "no edge 'b->e'"),
        ({"cut": ["*->nothing"]}, "no edge of 'chain' matches"),
        ({"cut": ["e->L"]}, "without which there is no gradient"),
        ({"edit": ["nonsense"]}, "is not understood; a what-if is one of"),
        ({"edit": ["beta=2"]}, r"no param 'beta' \(there are: n, lam\)"),
        ({"edit": ["skip d->a"]}, "a skip runs forwards"),
        ({"edit": ["skip d->d"]}, "a skip runs forwards"),
        ({"edit": ["skip x->L"]}, "adds to the value of a layer"),
        ({"edit": ["skip zz->d"]}, "no node or parameter 'zz'"),
        ({"edit": ["b->d: lambda=two"]}, "there is no 'two'"),
        ({"edit": ["b->d: 3"]}, "is no λ"),
        ({"edit": ["skip a every 2"]}, "no layer with copies"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_before_anything_is_predicted(changes, message, monkeypatch):
    monkeypatch.setattr(what_if, "predicted", lambda *_, **__: pytest.fail("it predicted"))
    with pytest.raises((UsageError, TargetError), match=message):
        asked(**changes)


def test_shapes_must_agree_for_a_skip():
    with pytest.raises(UsageError, match="adds values of one shape"):
        asked(CHAIN.replace("e: Linear(n)", "e: Linear(2)"), edit=["skip a->e"])


def test_an_edit_that_makes_a_bad_spec_is_shown_where_it_stands():
    with pytest.raises(SpecError, match="unknown op 'Tanhh'"):
        asked(edit=["layers.b=Tanhh()"])


@pytest.mark.parametrize(
    ("every", "message"), [(3, "has 10 copies, which 3 does not divide"), (0, "does not divide")]
)
def test_a_group_must_divide_the_copies(every, message):
    with pytest.raises(UsageError, match=message):
        ask(read_origin("mlp"), {"depth": 10}, edit=[f"skip hidden every {every}"])
