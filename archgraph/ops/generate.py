"""Make `catalogue.json`: the signatures of torch.nn and archgraph.nn, joined by the op families.

Run ``python -m archgraph.ops.generate`` after a new torch release or a change of a family. This is
the one module of the package that reads torch, and only inside its functions.
"""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, Literal

from archgraph.ops.families import FACTS, UNKNOWN
from archgraph.ops.family import POSITIVE
from archgraph.ops.op import Argument, Op
from archgraph.ops.signature import describe, read_argument, read_parameters

__all__ = ["PATH", "make_catalogue", "render_catalogue"]

PATH: Final = Path(__file__).with_name("catalogue.json")

_NOT_LAYERS: Final = frozenset(
    {
        "Container",
        "DataParallel",
        "Module",
        "ModuleDict",
        "ModuleList",
        "NLLLoss2d",  # an old name of NLLLoss
        "ParameterDict",
        "ParameterList",
        "RNNBase",
        "RNNCellBase",
        "Sequential",
        "TransformerDecoder",  # a stack of a module that is given; a spec repeats a layer
        "TransformerEncoder",
    }
)
_LEFT_OUT: Final = frozenset(
    {
        "custom_decoder",
        "custom_encoder",
        "device",
        "distance_function",
        "dtype",
        "max_value",  # Hardtanh's old names
        "min_value",
        "options",
        "process_group",
        "reduce",  # the losses' old names
        "size_average",
    }
)
"""Arguments a spec cannot write or should not: objects, and what torch itself calls deprecated."""


def make_catalogue() -> dict[str, Any]:
    """Return the catalogue as JSON values: `torch` (version), `ops` and `initialisers` by name."""
    import torch
    from torch import nn

    from archgraph import nn as own

    ops = [_describe(getattr(nn, name), "torch.nn") for name in _layer_names(nn)]
    ops += [_describe(getattr(own, name), "archgraph") for name in own.__all__]
    return {
        "torch": torch.__version__.partition("+")[0],
        "ops": {op.name: _as_json(op) for op in sorted(ops, key=lambda op: op.name)},
        "initialisers": {op.name: _as_json(op) for op in _initialisers(nn.init)},
    }


def render_catalogue() -> str:
    """Return the text of `catalogue.json`, the same for the same torch and families."""
    return json.dumps(make_catalogue(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _layer_names(nn: types.ModuleType) -> Iterator[str]:
    for name, value in sorted(vars(nn).items()):
        is_layer = inspect.isclass(value) and issubclass(value, nn.Module)
        if is_layer and name not in _NOT_LAYERS and not name.startswith(("Lazy", "_")):
            yield name


def _initialisers(init: types.ModuleType) -> Iterator[Op]:
    for name, function in sorted(vars(init).items()):
        if not name.endswith("_") or name.startswith("_"):
            continue
        given = [p for p in read_parameters(function) if p.name not in ("tensor", "generator")]
        yield Op(
            name.removesuffix("_"),
            "torch.nn",
            family="initialiser",
            arguments=tuple(read_argument(p, positive=p.name in POSITIVE) for p in given),
            ports=(),
        )


def _describe(cls: type, origin: Literal["torch.nn", "archgraph"]) -> Op:
    family, facts = FACTS.get(cls.__name__, UNKNOWN)
    return describe(cls, origin, family, facts, left_out=_LEFT_OUT, positive=POSITIVE)


# --- JSON ----------------------------------------------------------------------------------------


def _as_json(op: Op) -> dict[str, Any]:
    """Return the fields that differ from their defaults; `catalogue` reads them back."""
    plain = Op(op.name, op.origin)
    record: dict[str, Any] = {
        field_.name: getattr(op, field_.name)
        for field_ in fields(Op)
        if field_.compare and getattr(op, field_.name) != getattr(plain, field_.name)
    }
    record["origin"] = op.origin
    record["ports"] = [p.name if p.required else f"{p.name}?" for p in op.ports]
    if op.arguments:
        record["arguments"] = [_argument_as_json(argument) for argument in op.arguments]
    return record


def _argument_as_json(argument: Argument) -> dict[str, Any]:
    record: dict[str, Any] = {"name": argument.name, "type": argument.type}
    if not argument.required:
        record["default"] = argument.default
    for name in ("positive", "choices", "keyword_only"):
        if getattr(argument, name):
            record[name] = getattr(argument, name)
    return record


if __name__ == "__main__":
    PATH.write_text(render_catalogue(), encoding="utf-8")
