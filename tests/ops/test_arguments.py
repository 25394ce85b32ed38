"""Binding: what is taken, what torch gets, and what is said about the rest."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from archgraph.errors import UsageError
from archgraph.expression import evaluate
from archgraph.ops import (
    Argument,
    Op,
    OpCall,
    SizeExpression,
    bind,
    catalogue,
    jacobian_symbol,
    parse_call,
    positional_name,
)


def call(text: str) -> dict[str, Any]:
    return dict(parse_call(text).arguments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Linear(64)", {"out_features": 64}),
        ("Linear(64, False)", {"out_features": 64, "bias": False}),
        ("Linear(128/2)", {"out_features": 64}),
        ("Conv2d(64, 3, padding=1)", {"out_channels": 64, "kernel_size": 3, "padding": 1}),
        ("Conv2d(8, (3, 5), padding='same')", {"kernel_size": (3, 5), "padding": "same"}),
        ("BatchNorm2d", {}),
        ("BatchNorm2d(1e-3)", {"eps": 0.001}),
        ("BatchNorm2d(momentum=None)", {"momentum": None}),
        ("LayerNorm()", {}),
        ("LayerNorm(normalized_shape=(4, 4))", {"normalized_shape": (4, 4)}),
        ("GroupNorm(8, 1e-3)", {"num_groups": 8, "eps": 0.001}),
        ("Embedding(10, 8)", {"num_embeddings": 10, "embedding_dim": 8}),
        ("LSTM(32)", {"hidden_size": 32, "batch_first": True}),
        ("MultiheadAttention(4)", {"num_heads": 4, "batch_first": True}),
        ("MultiheadAttention(4, batch_first=True)", {"num_heads": 4, "batch_first": True}),
        ("AdaptiveAvgPool2d((None, 7))", {"output_size": (None, 7)}),
        ("Upsample(scale_factor=[2, 0.5])", {"scale_factor": (2, 0.5)}),
        ("CrossEntropyLoss(weight=[1, 0.5])", {"weight": (1, 0.5)}),
        ("Reshape(8, 4)", {"shape": (8, 4)}),
        ("Reshape((8, 4))", {"shape": (8, 4)}),
        ("Parameter(8, init='zeros')", {"shape": (8,), "init": "zeros"}),
        ("Linear(2 * cin)", {"out_features": SizeExpression("2 * cin")}),
        ("Conv2d(8, (cin//2, 3))", {"kernel_size": (SizeExpression("(cin//2, 3)"))}),
    ],
)
def test_values_as_torch_gets_them(text: str, expected: dict[str, Any]) -> None:
    assert expected.items() <= call(text).items()


def test_exact_numbers_become_the_nearest_float() -> None:
    p = call("Dropout(0.1)")["p"]
    assert p == 0.1
    assert type(p) is float
    assert type(call("Dropout(1)")["p"]) is int


def test_whole_fractions_become_ints() -> None:
    bound, _ = bind(catalogue.get("Linear"), [Fraction(64, 1)], {})
    assert type(bound.get("out_features")) is int
    bound, _ = bind(catalogue.get("Linear"), [64.0], {})
    assert type(bound.get("out_features")) is int


def problem(text: str) -> str:
    with pytest.raises(UsageError, match=r"\w") as caught:
        parse_call(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Linear('big')", "Linear's out_features must be a whole number, not 'big'"),
        ("Linear(5/2)", "Linear's out_features must be a whole number, not 2.5"),
        ("Linear(True)", "Linear's out_features must be a whole number, not True"),
        ("Linear(None)", "Linear's out_features must be a whole number, not None"),
        ("Linear(0)", "Linear's out_features must be at least 1, not 0"),
        ("Linear(2**70)", "Linear's out_features must be below 2**63, not 1180591620717411303424"),
        ("Conv2d(8, (3, 0))", "Conv2d's kernel_size must be at least 1, not (3, 0)"),
        (
            "Conv2d(8, 3, padding='sme')",
            "Conv2d's padding must be a whole number, a tuple of them, 'valid' or 'same', "
            "not 'sme'; did you mean 'same'?",
        ),
        (
            "GELU('tan')",
            "GELU's approximate must be 'none' or 'tanh', not 'tan'; did you mean 'tanh'?",
        ),
        ("ReLU(1)", "ReLU's inplace must be True or False, not 1"),
        ("LSTM(8, batch_first=False)", "LSTM's batch_first must be True, not False"),
        ("Dropout('x')", "Dropout's p must be a number, not 'x'"),
        ("Dropout(2**2000)", f"Dropout's p must be a number, not {str(2**2000)[:1]}"),
        (
            "MaxPool2d(2, stride='x')",
            "MaxPool2d's stride must be a whole number, a tuple of them or None, not 'x'",
        ),
        (
            "CrossEntropyLoss(weight=3)",
            "CrossEntropyLoss's weight must be a list of numbers or None, not 3",
        ),
        (
            "CrossEntropyLoss(reduction='none')",
            "CrossEntropyLoss's reduction must be 'mean' or 'sum', not 'none'",
        ),
        ("Linear()", "Linear needs out_features, a whole number; write Linear(out_features)"),
        (
            "Conv2d",
            "Conv2d needs out_channels, a whole number; write Conv2d(out_channels, kernel_size)",
        ),
        (
            "Linear(out_featurs=3)",
            "Linear has no argument 'out_featurs'; did you mean 'out_features'?",
        ),
        ("Linear(3, wide=2)", "Linear has no argument 'wide'"),
        ("ReLU(True, 2)", "ReLU gets 2 arguments without a name; it takes 1 (inplace)"),
        ("Tanh(2)", "Tanh gets 1 argument without a name; it takes none"),
        ("MatMul(2)", "MatMul gets 1 argument without a name; it takes none"),
        (
            "CrossEntropyLoss([1, 2], -100)",
            "CrossEntropyLoss gets 2 arguments without a name; it takes 1 (weight); "
            "give ignore_index, reduction, label_smoothing by name",
        ),
        ("Dropout(0.5, p=0.5)", "Dropout gets p twice, without and with its name"),
    ],
)
def test_messages(text: str, message: str) -> None:
    assert problem(text).startswith(message)
    assert len(problem(text)) < 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Linear(64, 32)", "in_features is taken from the input; write Linear(32)"),
        (
            "Linear(64, 32, False)",
            "in_features is taken from the input; write Linear(32, bias=False)",
        ),
        ("Linear(cin, 32)", "in_features is taken from the input; write Linear(32)"),
        ("Linear(32, in_features=64)", "in_features is taken from the input; write Linear(32)"),
        (
            "Linear(in_features=64)",
            "in_features is taken from the input; write Linear(out_features)",
        ),
        (
            "Bilinear(4, 5, 8)",
            "in1_features and in2_features are taken from the input; write Bilinear(8)",
        ),
        (
            "Conv2d(3, 64, 7, padding=3)",
            "in_channels is taken from the input; write Conv2d(64, 7, padding=3), "
            "or Conv2d(3, 64, stride=7, padding=3) if that is meant",
        ),
        ("Conv2d(8, 3, in_channels=4)", "in_channels is taken from the input; write Conv2d(8, 3)"),
        ("BatchNorm2d(64)", "num_features is taken from the input; write BatchNorm2d()"),
        ("LayerNorm(64)", "normalized_shape is taken from the input; write LayerNorm()"),
        (
            "LayerNorm((4, 4))",
            "normalized_shape is taken from the input; write LayerNorm(normalized_shape=(4, 4))",
        ),
        ("GroupNorm(8, 64)", "num_channels is taken from the input; write GroupNorm(8)"),
        (
            "LSTM(8, 32)",
            "input_size is taken from the input; write LSTM(32), "
            "or LSTM(8, num_layers=32) if that is meant",
        ),
        (
            "MultiheadAttention(64, 4)",
            "embed_dim is taken from the input; write MultiheadAttention(4)",
        ),
    ],
)
def test_repeating_an_inferred_size(text: str, message: str) -> None:
    name = text.partition("(")[0]
    assert problem(text).startswith(f"{name}'s {message}")


def test_every_problem_has_a_code_and_says_which_argument() -> None:
    conv = catalogue.get("Conv2d")
    _, problems = bind(conv, ["x", 3], {"strid": 2, "bias": 1})
    assert [(p.code, p.argument) for p in problems] == [
        ("unknown-argument", "strid"),
        ("argument-type", 0),
        ("argument-type", "bias"),
    ]
    _, problems = bind(conv, [8, 3, 1, 0, 1, 1, True, "zeros", 9], {})
    assert [(p.code, p.argument) for p in problems] == [("inferred-argument", 0)]
    _, problems = bind(conv, [8], {})
    assert [(p.code, p.argument) for p in problems] == [("missing-argument", None)]
    _, problems = bind(conv, [], {"out_channel": 8, "kernel_size": 3})
    assert [(p.code, p.argument) for p in problems] == [("unknown-argument", "out_channel")]
    _, problems = bind(catalogue.get("ReLU"), [True, 1], {})
    assert [(p.code, p.argument) for p in problems] == [("too-many-arguments", 1)]


def test_an_op_is_no_number() -> None:
    _, problems = bind(catalogue.get("Linear"), [catalogue.get("ReLU")], {})
    assert problems[0].message == "Linear's out_features must be a whole number, not the op ReLU"


def test_a_message_with_braces_is_shown_as_it_is() -> None:
    op = Op("Odd", "plugin", arguments=(Argument("a", "str", choices=("{x}",)),))
    assert bind(op, ["y"], {})[1][0].message == "Odd's a must be '{x}', not 'y'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Relu", "unknown op 'Relu'; did you mean 'ReLU'?"),
        ("Nothing(3)", "unknown op 'Nothing'"),
        ("Linear(64)(x)", "'Linear(64)(x)' is not a call of an op, such as Linear(64)"),
        ("nn.Linear(3)", "'nn.Linear(3)' is not a call of an op, such as Linear(64)"),
        ("3", "'3' is not a call of an op, such as Linear(64)"),
        ("", "'': an expression is empty"),
        ("Linear(", "'Linear(': '(' was never closed"),
        ("Linear(width)", "'Linear(width)': there is no 'width'"),
        ("Linear(*[3])", "'Linear(*[3])': '*[3]' is not allowed here"),
        ("Linear(**x)", "'Linear(**x)': '**' is not allowed"),
        (
            "Linear(3, bias=True, bias=False)",
            "'Linear(3, bias=True, bias=False)': bias is given twice",
        ),
        ("Linear(cin.x)", "'Linear(cin.x)': 'cin.x' is not allowed here"),
    ],
)
def test_what_is_no_call(text: str, message: str) -> None:
    assert problem(text) == message


@pytest.mark.parametrize(
    "text",
    [
        "Linear(64)",
        "Conv2d(64, 3, stride=2, bias=False)",
        "LSTM(32, num_layers=2)",
        "Reshape(8, 4)",
        "Parameter(1, 8, init='zeros')",
        "LayerNorm(normalized_shape=(4, 4))",
        "Chunk(3, 0, dim=-1)",
        "Linear(2 * cin)",
        "Dropout(p=0.1)",
    ],
)
def test_a_call_prints_as_it_reads(text: str) -> None:
    assert str(parse_call(text)) == text
    assert parse_call(str(parse_call(text))) == parse_call(text)


def test_names_of_positions() -> None:
    assert positional_name(catalogue.get("Conv2d"), 1) == "kernel_size"
    assert positional_name(catalogue.get("Reshape"), 3) == "shape"
    assert positional_name(catalogue.get("Tanh"), 0) is None


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("Linear", "W"), ("LSTM", "W"), ("ReLU", "φ'"), ("LayerNorm", "J"), ("AvgPool2d", "J")],
)
def test_symbols_of_jacobians(name: str, symbol: str) -> None:
    assert jacobian_symbol(catalogue.get(name)) == symbol


def test_binding_is_exact_about_decimals() -> None:
    """What `0.1` means in a spec is the float that Python's own literal gives."""
    for text in ("0.1", "1e-5", "0.3333333333333333", "1/3"):
        bound, _ = bind(catalogue.get("Dropout"), [evaluate(text, {})], {})
        assert isinstance(bound, OpCall)
        assert bound.get("p") == eval(text)
