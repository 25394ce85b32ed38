"""A JSON Schema for specs, for editors: keys, kinds, and snippets that complete op calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from archgraph.ops import catalogue
from archgraph.ops.op import Op
from archgraph.spec.model import BlockModel, EdgeModel, InputModel, LayerModel, LossModel, SpecModel

__all__ = ["schema"]

_ABOUT: Final[Mapping[str, str]] = {
    "archgraph": "Version of the spec format.",
    "name": "Name of the network; default: the file's name.",
    "about": "What it shows, in a sentence.",
    "params": "Numbers, lists, ops, or expressions of earlier params; --set changes them.",
    "inputs": "Inputs by name: their shape without the batch axis.",
    "layers": "Layers by name, each following the one above unless its formula says otherwise.",
    "edges": "Edges beside the chain.",
    "states": "The nodes between which derivations are written.",
    "outputs": "Default: the last layer.",
    "init": "Initialisers by parameter name: a torch.nn.init function, or a number.",
    "tie": "Parameters that are one: {lm_head.weight: wte.weight}.",
    "loss": "A torch.nn loss, or several by name; default: a fixed random readout.",
    "shape": "Sizes, batch axis excluded.",
    "dtype": "Integers say their type.",
    "below": "Integers are drawn from 0 … below − 1.",
    "op": "Op(arguments), Op(arguments)(inputs), or an expression of layers.",
    "from": "What is read.",
    "label": "How pictures call the layer.",
    "symbol": "How equations call the layer, in LaTeX.",
    "to": "The layer that reads.",
    "kind": "How the edge joins what the layer reads.",
    "scale": "λ: a number, an expression of params, or learn(start).",
    "port": "Which input of the op; default the first.",
    "dim": "Axis of a concat, batch counted; default the channel axis.",
    "of": "The output that the loss reads.",
    "include": "Files of blocks, in the spec's own folder.",
    "blocks": "Layers under a name, called like an op: block(64)(x).",
    "repeat": "How many copies: name.0, name.1, …; i counts them.",
    "connect": "How copies are joined: each reads the one before, x + F(x), or all before it.",
    "names": "How copies are called: layer{i} counts from 0, layer{n} from 1.",
    "share": "true: one set of weights for all copies; or the layer whose weights it uses.",
    "when": "Where this is false there is no layer, and its name stands for what it would read.",
}
_NUMBER: Final = {"type": ["number", "string"]}
_TYPES: Final[Mapping[str, Any]] = {
    "include": {"type": "array", "items": {"type": "string"}},
    "repeat": _NUMBER,
    "names": {"type": "string"},
    "share": {"anyOf": [{"const": True}, {"type": "string"}]},
    "when": {"type": ["boolean", "number", "string"]},
    "name": {"type": "string"},
    "about": {"type": "string"},
    "shape": {"type": "array", "items": _NUMBER},
    "below": _NUMBER,
    "scale": _NUMBER,
    "to": {"type": "string"},
    "of": {"type": "string"},
    "port": {"type": "string"},
    "dim": {"type": "integer"},
    "label": {"type": "string"},
    "symbol": {"type": "string"},
    "params": {"type": "object"},
    "init": {"type": "object", "additionalProperties": _NUMBER},
    "tie": {"type": "object", "additionalProperties": {"type": "string"}},
    "states": {"type": "array", "items": {"type": "string"}},
    "outputs": {
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"type": "string"}},
            {"type": "object", "additionalProperties": {"type": "string"}},
        ]
    },
}


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) that editors check and complete specs with.

    Name it in a spec's first line: ``# yaml-language-server: $schema=archgraph.schema.json``.
    """
    formula = {"type": ["string", "number"], "defaultSnippets": _snippets(loss=False)}
    loss = {"type": "string", "defaultSnippets": _snippets(loss=True)}
    edge = _object(EdgeModel, {"from": _names(), "kind": _enum(EdgeModel, "kind")})
    edges = {"type": "array", "items": edge}
    layer = _object(
        LayerModel,
        {
            "op": formula,
            "from": {"type": "string"},
            "layers": {"$ref": "#/$defs/layers"},
            "edges": edges,
            "connect": {"type": "string", "enum": ["sequential", "add", "concat"]},
        },
    )
    layers = _by_name({"anyOf": [formula, layer, {"type": "null"}]})
    block = _object(
        BlockModel,
        {"layers": {"$ref": "#/$defs/layers"}, "edges": edges, "inputs": _TYPES["states"]},
    )
    source = _object(InputModel, {"dtype": _enum(InputModel, "dtype")})
    term = _object(LossModel, {"op": loss})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "archgraph spec",
        "$defs": {"layers": layers},
        **_object(
            SpecModel,
            {
                "archgraph": {"const": 1},
                "inputs": _by_name({"anyOf": [_TYPES["shape"], source]}),
                "blocks": {"type": "object", "additionalProperties": block},
                "layers": {"$ref": "#/$defs/layers"},
                "edges": edges,
                "loss": {"anyOf": [loss, _by_name({"anyOf": [loss, term]})]},
            },
        ),
    }


def _object(model: type[BaseModel], types: Mapping[str, Any]) -> dict[str, Any]:
    keys = {field.alias or name: field for name, field in model.model_fields.items()}
    return {
        "type": "object",
        "properties": {
            key: {**(types.get(key) or _TYPES.get(key, {})), "description": _ABOUT[key]}
            for key in keys
        },
        "patternProperties": {"^x-": {}},
        "required": [key for key, field in keys.items() if field.is_required()],
        "additionalProperties": False,
    }


def _by_name(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "patternProperties": {"^x-": {}},
        "additionalProperties": value,
        "minProperties": 1,
    }


def _names() -> dict[str, Any]:
    return {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


def _enum(model: type[BaseModel], name: str) -> dict[str, Any]:
    choices = model.model_json_schema()["properties"][name]["enum"]
    return {"type": "string", "enum": choices}


def _snippets(*, loss: bool) -> list[dict[str, str]]:
    ops = [op for name in catalogue.names() if (op := catalogue.get(name)) and op.loss is loss]
    return [{"label": op.name, "body": _body(op)} for op in ops]


def _body(op: Op) -> str:
    required = [a.name for a in op.arguments if a.required]
    places = ", ".join(f"${{{i}:{name}}}" for i, name in enumerate(required, 1))
    return f"{op.name}({places})"
