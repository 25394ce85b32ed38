from __future__ import annotations

import pytest
from torch import nn

from archgraph.spec.names import MODULE_ATTRIBUTES, name_problem


def test_the_attributes_are_those_of_the_installed_torch():
    assert {name for name in dir(nn.Module()) if not name.startswith("_")} == MODULE_ATTRIBUTES


@pytest.mark.parametrize(
    "name", ["x", "fc1", "0", "layer1.0.conv", "y~1", "h.3.out~2", "mlp", "ReLU"]
)
def test_names_that_a_layer_may_bear(name):
    assert name_problem(name, "layer") is None


@pytest.mark.parametrize(
    "name", ["", "a b", "2a", "a.", "~1", "é", "a-b", "class", "a.if", "train", "L", "j"]
)
def test_names_that_it_may_not(name):
    assert name_problem(name, "layer") is not None


def test_an_input_may_be_called_input():
    assert name_problem("input", "input") is None
    assert name_problem("input", "layer") is not None
