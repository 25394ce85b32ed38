"""The catalogue file: up to date, fast, and read without torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from archgraph.ops import REQUIRED, catalogue
from archgraph.ops.generate import PATH, make_catalogue, render_catalogue


def test_file_is_what_the_installed_torch_gives() -> None:
    if catalogue.torch_version() != torch.__version__.partition("+")[0]:
        pytest.skip(f"the catalogue is torch {catalogue.torch_version()}'s")
    assert PATH.read_text(encoding="utf-8") == render_catalogue()


def test_generation_is_deterministic() -> None:
    assert json.dumps(make_catalogue()) == json.dumps(make_catalogue())


def test_names_are_sorted_and_known() -> None:
    names = catalogue.names()
    assert list(names) == sorted(names)
    assert all(catalogue.get(name).name == name for name in names)
    assert catalogue.get("Linaer") is None
    assert catalogue.get("Sequential") is None
    assert not [name for name in names if name.startswith("Lazy")]
    assert not [name for name in names if catalogue.get(name).family == "unknown"]


def test_linear_in_full() -> None:
    linear = catalogue.get("Linear")
    assert linear.origin == "torch.nn"
    assert [(a.name, a.type, a.default, a.positive) for a in linear.arguments] == [
        ("out_features", "int", REQUIRED, True),
        ("bias", "bool", True, False),
    ]
    assert linear.inferred == {"in_features": "last"}
    assert linear.channel_axis == -1


@pytest.mark.parametrize(
    ("name", "argument", "expected"),
    [
        ("Conv2d", "kernel_size", "size"),
        ("Conv2d", "padding_mode", "str"),
        ("MaxPool2d", "stride", "size?"),
        ("Upsample", "scale_factor", "numbers?"),
        ("CrossEntropyLoss", "weight", "tensor?"),
        ("BatchNorm2d", "momentum", "float?"),
        ("MultiheadAttention", "dropout", "float"),
        ("Slice", "stop", "int?"),
        ("Reshape", "shape", "size"),
    ],
)
def test_types_come_from_annotations_and_defaults(name: str, argument: str, expected: str) -> None:
    assert catalogue.get(name).argument(argument).type == expected


def test_initialisers_are_those_of_torch() -> None:
    expected = {n.removesuffix("_") for n in vars(torch.nn.init) if n[0] != "_" and n[-1] == "_"}
    assert set(catalogue.initialisers()) == expected
    kaiming = catalogue.initialiser("kaiming_normal")
    assert [a.name for a in kaiming.arguments] == ["a", "mode", "nonlinearity"]
    assert "relu" in kaiming.argument("nonlinearity").choices
    assert catalogue.initialiser("kaiming") is None


SCRIPT = """
import sys, time
sys.modules["torch"] = None  # a poisoned torch: importing it raises ImportError
sys.modules["numpy"] = None
from archgraph.ops import catalogue, parse_call
start = time.perf_counter()
catalogue.get("Linear")
seconds = time.perf_counter() - start
for name in catalogue.names():
    catalogue.get(name)
str(parse_call("Conv2d(64, 3)"))
print(seconds)
"""


def test_reading_needs_no_torch_and_10_ms() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.01
