"""Every shipped spec, in a small size, through all that can be done with one."""

from __future__ import annotations

import pytest
import torch

from archgraph.checking import check
from archgraph.module import compile
from archgraph.module.shapes import infer
from archgraph.spec import load, parse, zoo
from archgraph.spec.dump import dump
from tests.zoo.small import SIZES, small


def test_every_size_is_that_of_a_spec():
    assert set(SIZES) <= set(zoo())


@pytest.mark.parametrize("name", zoo())
def test_the_flat_form_loads_back(name):
    graph = load(name)
    text = dump(graph)
    again = parse(text, file=f"{graph.name}.yaml")
    assert again == graph
    assert dump(again) == text
    assert graph.warnings == ()


@pytest.mark.parametrize("name", zoo())
def test_the_module_has_the_parameters_that_shapes_foretell(name):
    graph = load(name, **small(name))
    shapes = infer(graph)
    module = compile(graph, seed=0)
    assert shapes.total == sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", zoo())
def test_the_paths_add_up_to_the_gradient(name):
    torch.set_num_threads(1)
    found = check(load(name, **small(name)), batch=2, budget=2000)
    assert found.ok
    assert found.targets
