"""What the families of changes write into the specs that ship, and into some that are hard."""

from __future__ import annotations

import pytest

from archgraph.errors import SpecError
from archgraph.module import infer
from archgraph.suggestion.norms import norms
from archgraph.suggestion.origin import Origin, read_origin
from archgraph.suggestion.scales import scales
from archgraph.suggestion.search import FAMILIES
from archgraph.suggestion.skips import skips
from archgraph.suggestion.starts import activations, initialisers
from archgraph.suggestion.text import Source

VARIED = (
    "densenet_block",
    "gpt2",
    "highway",
    "hyper_connections",
    "identity_mappings/original",
    "mobilenet_v3",
    "projection_shortcut",
    "rnn",
    "squeezenet",
    "unet",
    "value_residual",
)
"""Of the specs that ship one of each kind."""

SMALL = ("mlp", "mlp3", "post_ln", "gpt2", "rezero", "residual", "skip", "scaled_residual")


def titles(family, text):
    """The changed texts of a family, by title."""
    origin = Origin(text, "net.yaml")
    return {c.title: origin.changed(c) for c in family(origin.subject())}


@pytest.mark.parametrize("name", VARIED)
def test_every_candidate_of_a_shipped_spec_is_a_spec(name):
    """Guesses may not fit (a skip between shapes that differ), but they are never broken text."""
    origin = read_origin(name)
    subject = origin.subject()
    fitting = 0
    for family in FAMILIES:
        for candidate in family(subject):
            text = origin.changed(candidate)
            assert text != origin.text
            kept = {line.strip() for line in origin.text.splitlines() if line.startswith("#")}
            assert kept <= {line.strip() for line in text.splitlines()}
            Source(text)
            codes = problems(origin, text)
            assert codes <= {"shape-mismatch", "unknown-argument"}, codes
            fitting += not codes
    assert fitting > 0


def problems(origin, text):
    """The codes of what is wrong with a changed spec."""
    try:
        infer(origin.graph(text))
    except SpecError as error:
        return {problem.code for problem in error.problems}
    return set()


@pytest.mark.parametrize("name", SMALL)
def test_of_the_plain_specs_every_candidate_fits(name):
    origin = read_origin(name)
    for family in FAMILIES:
        for candidate in family(origin.subject()):
            infer(origin.graph(origin.changed(candidate)))


GATED = """\
archgraph: 1
inputs: {x: [8]}
layers:
  z1: Linear(8)
  a1: Sigmoid()
  z2: Linear(8)
  a2: Sigmoid()
  g: Linear(8)
  gate: Sigmoid()
  out: gate*a2
"""


def test_a_gate_keeps_its_activation():
    text = titles(activations, GATED)["Tanh instead of Sigmoid"]
    assert "a1: Tanh()" in text
    assert "gate: Sigmoid()" in text
    assert "a2: Sigmoid()" in text  # it is the other factor of the product


@pytest.mark.parametrize("held", ["ReLU", "ReLU(inplace=True)", "ReLU if 2 > 1 else Tanh"])
def test_a_param_that_holds_the_activation_is_changed_and_its_arguments_go(held):
    text = GATED.replace("inputs:", f"params: {{act: {held}}}\ninputs:")
    arguments = "" if "(" in held else "inplace=True"
    text = text.replace("a1: Sigmoid()", f"a1: act({arguments})")
    text = text.replace("a2: Sigmoid()", "a2: act()").replace("gate: Sigmoid()", "gate: Tanh()")
    changed = titles(activations, text)["Tanh instead of ReLU"]
    assert "params: {act: Tanh" in changed
    assert "a1: act()" in changed
    graph = Origin(changed, "net.yaml").graph()
    assert {graph.node(name).op.name for name in ("a1", "a2", "gate")} == {"Tanh"}


@pytest.mark.parametrize(
    ("init", "line"),
    [
        ("", "init: {weight: kaiming_normal(nonlinearity='relu'), bias: 0}"),
        ("init: {bias: 0}", "init: {bias: 0, weight: kaiming_normal(nonlinearity='relu')}"),
        (
            'init: {weight: "xavier_normal"}',
            "init: {weight: \"kaiming_normal(nonlinearity='relu')\", bias: 0}",
        ),
    ],
)
def test_an_init_is_set_or_replaced(init, line):
    text = GATED.replace("Sigmoid", "ReLU").replace("gate: ReLU", "gate: Sigmoid") + init
    (changed,) = titles(initialisers, text).values()
    assert line in changed.splitlines()


def test_an_init_that_is_there_is_not_proposed():
    text = GATED.replace("Sigmoid", "ReLU")
    assert (
        titles(initialisers, text + "init: {weight: kaiming_normal(nonlinearity='relu'), bias: 0}")
        == {}
    )


RESIDUAL = """\
archgraph: 1
params: {depth: 6, lam: 0.5}
inputs: {x: [8]}
blocks:
  block:
    layers:
      z: Linear(8)
      a: ReLU()
      out: LayerNorm()(lam*input + a)
layers:
  h: {op: block(), repeat: depth}
"""


OWN = """\
archgraph: 1
inputs: {x: [8]}
layers:
  h: {op: Linear(8), repeat: 12, init: {weight: normal(std=3), bias: 1}}
  n: {op: LayerNorm, init: {weight: 2}}
  y: Linear(8)
init: {weight: orthogonal, bias: 0}
"""


def test_an_init_of_a_layer_s_own_is_replaced_or_said_to_be_kept():
    found = titles(initialisers, OWN)
    lecun = "kaiming_normal(nonlinearity='linear')"
    assert set(found) == {
        f"start weights by {lecun}, biases at 0; h keeps its own",
        f"start weights by {lecun}, biases at 0, those of h too",
        "start weights by orthogonal, biases at 0, those of h too",
    }
    kept = found[f"start weights by {lecun}, biases at 0; h keeps its own"]
    assert kept == OWN.replace("weight: orthogonal", f"weight: {lecun}")
    replaced = found["start weights by orthogonal, biases at 0, those of h too"]
    assert replaced == OWN.replace("normal(std=3), bias: 1", "orthogonal, bias: 0")


def test_lambdas_are_written_into_the_formula_and_depend_on_the_depth():
    found = titles(scales, RESIDUAL)
    written = {
        "lam = 1.0": "params: {depth: 6, lam: 1.0}",
        "λ = 1 on every skip": "      out: LayerNorm()(input + a)",
        "λ = √½ on every skip and every branch": "out: LayerNorm()(sqrt(1/2)*input + sqrt(1/2)*a)",
        "branches times depth**(-1/2)": "out: LayerNorm()(lam*input + depth**(-1/2)*a)",
        "DeepNet's α = depth**(1/4) on every skip": "LayerNorm()(depth**(1/4)*input + a)",
    }
    assert set(written) <= set(found)
    for title, line in written.items():
        assert line in found[title], title
    graph = Origin(found["branches times depth**(-1/2)"], "net.yaml").graph()
    branches = [e for e in graph.edges if e.role == "branch"]
    assert {round(float(e.scale.value), 12) for e in branches} == {round(6**-0.5, 12)}


def test_a_lambda_beside_the_chain_is_an_edge_s_scale():
    changed = titles(scales, read_origin("residual").text.replace("lam: 1.0", "lam: 0.5"))
    text = changed["λ = 1 on every skip"]
    assert "{from: x1, to: x3, kind: add-skip, scale: 1}" in text


def test_the_norm_moves_to_the_start_of_the_branch():
    changed = titles(norms, RESIDUAL)["the norm before each branch, not after its sum"]
    assert changed.splitlines()[6:] == [
        "      out_norm: LayerNorm()",
        "      z: Linear(8)",
        "      a: ReLU()",
        "      out: lam*input + a",
        "layers:",
        "  h: {op: block(), repeat: depth}",
        "  norm: LayerNorm()",
    ]


def test_copies_get_skips_one_by_one_or_several_at_a_time():
    text = RESIDUAL.replace("LayerNorm()(lam*input + a)", "Linear(8)")
    found = titles(skips, text)
    assert "repeat: depth, connect: add}" in found["a skip around every copy of h"]
    threes = Origin(found["a skip over every 3 copies of h"], "net.yaml").graph()
    assert [e.source for e in threes.edges if e.role == "skip"] == ["x", "h.0.sum"]
    assert sum(n.op is not None and n.op.op.weight_layer for n in threes.nodes) == 12


def test_copies_that_have_skips_get_no_more():
    assert titles(skips, RESIDUAL) == {}


def test_a_chain_gets_sums_behind_its_layers():
    found = titles(skips, read_origin("gradient_flow_demo").text)
    graph = Origin(found["a skip over every 5 weight layers of the chain"], "net.yaml").graph()
    assert [(e.source, e.target) for e in graph.edges if e.role == "skip"] == [
        ("x", "a5_skip"),
        ("a5_skip", "a10_skip"),
    ]


def test_a_norm_stands_before_each_activation_of_a_weight_layer():
    changed = titles(norms, GATED)
    lines = changed["LayerNorm before every activation"].splitlines()
    assert lines[lines.index("  a1: Sigmoid()") - 1] == "  a1_norm: LayerNorm()"
    assert sum("LayerNorm" in line for line in lines) == 1  # a2 and gate multiply
    assert "  a1_norm: BatchNorm1d()" in changed["BatchNorm before every activation"]


def test_what_stands_in_another_file_is_left_alone(tmp_path):
    """The activation of `step` stands at 7:7 of its file, where the spec has the `a` of `own`."""
    (tmp_path / "blocks.yaml").write_text(
        "archgraph: 1\n# Two layers.\nblocks:\n  step:\n    layers:\n"
        "      z: Linear(8)\n      a: ReLU()\n"
    )
    path = tmp_path / "net.yaml"
    path.write_text(
        "archgraph: 1\ninclude: [blocks.yaml]\ninputs: {x: [8]}\nblocks:\n  own: {layers: {\n"
        "      z: Linear(8),\n      a: Linear(8)}}\nlayers:\n"
        "  h: {op: step(), repeat: 4}\n  y: Linear(8)\n"
    )
    origin = read_origin(str(path))
    assert list(activations(origin.subject())) == []
    assert list(norms(origin.subject())) == []
    for family in FAMILIES:
        for candidate in family(origin.subject()):
            infer(origin.graph(origin.changed(candidate)))
