"""The rule for skips, held against what a person called skips."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from archgraph.graph import GraphBuilder, Term
from archgraph.ops.calls import parse_call
from archgraph.spec import parse

CASES = yaml.safe_load((Path(__file__).parent / "roles.yaml").read_text(encoding="utf-8"))
MISSED = pytest.mark.xfail(strict=True, reason="a residual unit on the shortcut is not seen")
"""The one case in which the rule is known to differ from a person; such a skip is forced."""


def test_all_cases_are_there():
    assert len(CASES) == 55


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=MISSED) if n == "hourglass" else n for n in CASES]
)
def test_skips(name):
    graph = parse(CASES[name]["spec"], file=name)
    assert sorted(e.id for e in graph.edges if e.role == "skip") == sorted(CASES[name]["skips"])


@pytest.mark.parametrize("name", CASES)
def test_branches_stand_beside_skips_only(name):
    graph = parse(CASES[name]["spec"], file=name)
    for node in graph.nodes:
        roles = {
            e.role
            for e in graph.edges_into(node.name)
            if e.kind in ("add", "concat") and e.gradient
        }
        assert roles <= {"skip", "branch"} if "skip" in roles else roles <= {"none"}


def test_of_two_terms_that_bypass_each_other_the_upstream_one_is_the_skip():
    # y = a + b with a = σ(W₂w)·x and b = w = W₁x: x reaches y through w, and w through the gate.
    builder = GraphBuilder("mutual")
    x = builder.input("x", (4,))
    w = builder.layer("w", parse_call("Linear(4)"), [x])
    t = builder.layer("t", parse_call("Linear(4)"), [w])
    gate = builder.layer("gate", parse_call("Sigmoid"), [t])
    a = builder.layer("a", None, [gate, x], merge="multiply")
    builder.layer("y", None, [a, w])
    assert [e.role for e in builder.build().edges_into("y")] == ["skip", "branch"]


def gated(second: str) -> list[str]:
    """Return the roles in y = g·a + (1 − g)·b: the gate reads a and b, and b reads `second`."""
    builder = GraphBuilder("gated")
    values = {"x": builder.input("x", (4,)), "z": builder.input("z", (4,))}
    values["a"] = builder.layer("a", parse_call("Linear(4)"), [values["x"]])
    b = builder.layer("b", parse_call("Linear(4)"), [values[second]])
    t = builder.layer("t", parse_call("Linear(4)"), [values["a"], b], merge="concat")
    gate = builder.layer("gate", parse_call("Sigmoid"), [t])
    rest = builder.layer("rest", parse_call("Affine(-1, 1)"), [gate])
    one = builder.layer("one", None, [gate, values["a"]], merge="multiply")
    other = builder.layer("other", None, [rest, b], merge="multiply")
    builder.layer("y", None, [one, other])
    return [edge.role for edge in builder.build().edges_into("y")]


def test_a_gate_between_two_encoders_makes_no_skip():
    assert gated("z") == gated("x") == ["none", "none"]


def test_a_gate_between_a_value_and_what_is_made_of_it_makes_one():
    assert gated("a") == ["skip", "branch"]


def test_a_force_beats_the_rule():
    builder = GraphBuilder("forced")
    x = builder.input("x", (4,))
    f = builder.layer("f", parse_call("Linear(4)"), [x])
    builder.layer("y", None, [Term(f, forced=True), Term(x, forced=False)])
    assert [e.role for e in builder.build().edges_into("y")] == ["skip", "branch"]
