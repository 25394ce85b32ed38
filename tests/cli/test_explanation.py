"""What is said of an op is true, and what it shows can be written."""

import pytest

from archgraph.cli.explanation import example, facts, inferred_texts, parameters_text, sentence
from archgraph.cli.main import main
from archgraph.ops import catalogue
from archgraph.spec import parse

NO_SPEC = (
    "CTCLoss",
    "CosineEmbeddingLoss",
    "GaussianNLLLoss",
    "MarginRankingLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
)


@pytest.mark.parametrize("name", catalogue.names())
def test_every_op_has_a_sentence_and_an_example_that_is_a_spec(name):
    op = catalogue.get(name)
    assert 10 < len(sentence(op)) <= 160
    shown = example(op)
    if shown is None:
        assert name in NO_SPEC
        return
    layer = "y: Linear(2)" if shown.startswith("loss: ") else shown
    loss = shown if shown.startswith("loss: ") else ""
    inputs = "inputs: {a: [4], b: [4], c: [4], d: [4]}"
    text = f"archgraph: 1\n{inputs}\nlayers:\n  first: Identity()(a)\n  {layer}\n{loss}\n"
    assert parse(text, file="example.yaml").nodes


def test_an_op_is_explained(capsys):
    assert main(["ops", "MultiheadAttention"]) == 0
    said = capsys.readouterr().out
    assert "a weight layer" in said
    assert "decided by the input: embed_dim: the size of the last axis of 'query'" in said
    assert "inputs: query, key, value, key_padding_mask (optional), attn_mask (optional)" in said
    assert "in a spec: y: MultiheadAttention(8)(query=a, key=b, value=c)" in said


def test_what_an_op_is_for_the_gradient_is_said():
    get = catalogue.get
    assert "carries no gradient" in facts(get("Positions"))
    assert "linear in its input" in facts(get("Flatten"))
    assert "an activation" in facts(get("ReLU"))
    assert "has parameters, but is no weight layer" in facts(get("BatchNorm2d"))
    assert inferred_texts(get("BatchNorm2d")) == ["num_features: the size of its channel axis"]
    assert parameters_text(get("GRU")).startswith("weight_ih_l*, weight_hh_l*, bias_ih_l*")
