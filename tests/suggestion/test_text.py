"""Edits of a spec's text: the wanted characters change, and no others."""

from __future__ import annotations

import pytest
import yaml

from archgraph.errors import UsageError
from archgraph.suggestion.text import Source, diff

SPEC = """\
archgraph: 1
params: {depth: 4, act: ReLU}          # of the trunk

blocks:
  unit:                                # one step
    layers:
      z: Linear(8)   # with a bias
      a: "act()"

layers:
  # the trunk
  h: {op: unit(), repeat: depth}
  y: >-
    ReLU() if depth > 3
    else Tanh()

loss: MSELoss()
"""


def edited(text, *edits):
    source = Source(text)
    return source.apply([edit(source) for edit in edits])


def changed_lines(old, new):
    """The lines that went and those that came, in order."""
    lines = diff(old, new, "f").splitlines()[2:]
    return [line for line in lines if line[0] in "+-"]


@pytest.mark.parametrize(
    ("edit", "lines"),
    [
        (
            lambda s: s.set(("params",), "act", "Tanh"),
            [
                "-params: {depth: 4, act: ReLU}          # of the trunk",
                "+params: {depth: 4, act: Tanh}          # of the trunk",
            ],
        ),
        (
            lambda s: s.set(("params",), "lam", "[1, 2]"),
            [
                "-params: {depth: 4, act: ReLU}          # of the trunk",
                "+params: {depth: 4, act: ReLU, lam: [1, 2]}          # of the trunk",
            ],
        ),
        (
            lambda s: s.replace(("blocks", "unit", "layers", "a"), "Tanh()"),
            ['-      a: "act()"', '+      a: "Tanh()"'],
        ),
        (
            lambda s: s.set(("blocks", "unit", "layers", "z"), "symbol", "z, 1"),
            [
                "-      z: Linear(8)   # with a bias",
                '+      z: {op: Linear(8), symbol: "z, 1"}   # with a bias',
            ],
        ),
        (
            lambda s: s.set(("layers", "h"), "connect", "add"),
            [
                "-  h: {op: unit(), repeat: depth}",
                "+  h: {op: unit(), repeat: depth, connect: add}",
            ],
        ),
        (
            lambda s: s.before(("blocks", "unit", "layers", "a"), {"n": "LayerNorm()"}),
            ["+      n: LayerNorm()"],
        ),
        (
            lambda s: s.after(("blocks", "unit", "layers", "z"), {"n": "LayerNorm()"}),
            ["+      n: LayerNorm()"],
        ),
        (
            lambda s: s.after(("layers",), {"init": {"weight": "normal(std=1, mean=0)"}}),
            ['+init: {weight: "normal(std=1, mean=0)"}', "+"],
        ),
        (lambda s: s.after(("layers", "y"), {"out": "Linear(1)"}), ["+  out: Linear(1)"]),
        (
            lambda s: s.after(("blocks", "unit"), {"two": {"layers": {"u": "unit()"}}}),
            ["+  two:", "+    layers:", "+      u: unit()"],
        ),
        (
            lambda s: s.replace(("layers", "y"), "GELU() if depth > 3 else Tanh()"),
            ["-    ReLU() if depth > 3", "+    GELU() if depth > 3"],
        ),
        (
            lambda s: s.replace(("layers", "y"), "Linear(2)"),
            ["-  y: >-", "-    ReLU() if depth > 3", "-    else Tanh()", "+  y: Linear(2)"],
        ),
    ],
)
def test_an_edit_changes_these_lines_alone(edit, lines):
    text = edited(SPEC, edit)
    assert changed_lines(SPEC, text) == lines
    yaml.safe_load(text)


def test_edits_are_made_together():
    text = edited(
        SPEC,
        lambda s: s.set(("params",), "depth", "5"),
        lambda s: s.set(("params",), "act", "Tanh"),
    )
    assert "params: {depth: 5, act: Tanh} " in text


def test_edits_of_the_same_characters_are_refused():
    with pytest.raises(UsageError, match="same part"):
        edited(
            SPEC,
            lambda s: s.set(("params",), "act", "Tanh"),
            lambda s: s.set(("params",), "act", "SELU"),
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a: 1, layers: {y: Linear(2)}}", "{a: 1, layers: {y: Linear(2)}, init: {weight: 0}}"),
        ("a: 1\nlayers: {}", "a: 1\nlayers: {}\ninit: {weight: 0}"),
        ("a: 1\r\nlayers: {}\r\n", "a: 1\r\nlayers: {}\r\ninit: {weight: 0}\r\n"),
        (
            "layers:\n  y: Linear(2)  # last\n",
            "layers:\n  y: Linear(2)  # last\ninit: {weight: 0}\n",
        ),
    ],
    ids=["flow", "no newline at the end", "windows", "comment at the end"],
)
def test_a_section_is_added_in_the_style_of_the_file(text, expected):
    assert edited(text, lambda s: s.after(("layers",), {"init": {"weight": "0"}})) == expected


@pytest.mark.parametrize("value", ["a, b", "{x}", "a: b", "# no", "it's", '"', "- a", "1", "x]"])
@pytest.mark.parametrize("path", [("params",), ("blocks", "unit", "layers", "z")])
def test_a_value_reads_back_as_it_was_given(path, value):
    tree = yaml.compose(edited(SPEC, lambda s: s.set(path, "k", value)), Loader=yaml.SafeLoader)
    for step in (*path, "k"):
        tree = next(v for k, v in tree.value if k.value == step)
    assert tree.value == value


def test_the_layers_of_a_document_and_their_places():
    entries = list(Source(SPEC).layers())
    assert [(e.name, e.line, e.column) for e in entries] == [
        ("z", 7, 7),
        ("a", 8, 7),
        ("h", 12, 3),
        ("y", 13, 3),
    ]
    assert [e.formula for e in entries][2:] == ["unit()", "ReLU() if depth > 3 else Tanh()"]


def test_a_diff_says_where_a_newline_is_missing():
    assert diff("a: 1", "a: 2", "f.yaml") == (
        "--- f.yaml\n+++ f.yaml\n@@ -1 +1 @@\n"
        "-a: 1\n\\ No newline at end of file\n+a: 2\n\\ No newline at end of file\n"
    )
