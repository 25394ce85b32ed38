from __future__ import annotations

import jsonschema
import pytest
import yaml

from archgraph.ops import catalogue
from archgraph.spec import zoo
from archgraph.spec.schema import schema
from tests.goldens import GOLDEN
from tests.spec.test_dump import ODD

VALIDATOR = jsonschema.Draft202012Validator(schema())


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("name", zoo())
def test_shipped_specs_fit(name):
    VALIDATOR.validate(yaml.safe_load(zoo()[name].read_text(encoding="utf-8")))


def test_a_spec_with_everything_fits():
    VALIDATOR.validate(yaml.safe_load(ODD))


@pytest.mark.parametrize("name", ["unknown_key", "wrong_kinds", "no_layers", "only_a_list"])
def test_bad_specs_do_not(name):
    bad = yaml.safe_load((GOLDEN / "errors" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert list(VALIDATOR.iter_errors(bad))


def test_snippets_complete_every_op():
    formula, *_ = schema()["$defs"]["layers"]["additionalProperties"]["anyOf"]
    bodies = {s["label"]: s["body"] for s in formula["defaultSnippets"]}
    assert bodies["Conv2d"] == "Conv2d(${1:out_channels}, ${2:kernel_size})"
    losses = {name for name in catalogue.names() if catalogue.get(name).loss}
    assert set(bodies) == set(catalogue.names()) - losses
