"""Make `catalogue.json`: the signatures of torch.nn and archgraph.nn, joined by the op families.

Run ``python -m archgraph.ops.generate`` after a new torch release or a change of a family. This is
the one module of the package that reads torch, and only inside its functions.
"""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

from archgraph.ops.families import FACTS, UNKNOWN
from archgraph.ops.family import POSITIVE, Facts
from archgraph.ops.op import REQUIRED, Argument, Op, Port

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
        given = [p for p in _parameters(function) if p.name not in ("tensor", "generator")]
        yield Op(
            name.removesuffix("_"),
            "torch.nn",
            family="initialiser",
            arguments=tuple(_argument(parameter, False) for parameter in given),
            ports=(),
        )


# --- one op --------------------------------------------------------------------------------------


def _describe(cls: type, origin: typing.Literal["torch.nn", "archgraph"]) -> Op:
    family, facts = FACTS.get(cls.__name__, UNKNOWN)
    parameters = _parameters(cls)
    shared = {f.name for f in fields(Facts)} & {f.name for f in fields(Op)}
    known = {name: getattr(facts, name) for name in shared - {"arguments", "inferred", "ports"}}
    arguments = _arguments(parameters, facts)
    variadic = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL and not _is_silent(p)]
    return Op(
        cls.__name__,
        origin,
        family=family,
        arguments=arguments,
        inferred=dict(facts.inferred),
        ports=_ports(cls, facts),
        variadic=variadic[0] if variadic else None,
        signature=_own_signature(parameters, facts, arguments),
        **known,
    )


def _parameters(function: Any) -> list[inspect.Parameter]:
    evaluate = function.__module__.startswith("archgraph.")
    return list(inspect.signature(function, eval_str=evaluate).parameters.values())


def _is_silent(parameter: inspect.Parameter) -> bool:
    """Whether it is torch's `*args: Any` or `**kwargs`, which say nothing; `*shape: int` does."""
    starred = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return starred and parameter.annotation in (parameter.empty, Any)


def _arguments(parameters: Sequence[inspect.Parameter], facts: Facts) -> tuple[Argument, ...]:
    replaced = {argument.name: argument for argument in facts.arguments}
    result = []
    moved = False  # whether what follows has another position than in torch
    for parameter in parameters:
        name = parameter.name
        if name in replaced:
            argument = replaced.pop(name)
            result.append(replace(argument, keyword_only=moved or argument.keyword_only))
        elif name in _LEFT_OUT or name.startswith("_"):
            moved = True
        elif name not in facts.inferred and not _is_silent(parameter):
            result.append(_argument(parameter, moved))
    return (*result, *replaced.values())  # the latter where the class says `*args`


def _argument(parameter: inspect.Parameter, moved: bool) -> Argument:
    default = REQUIRED if parameter.default is parameter.empty else parameter.default
    if parameter.kind is parameter.VAR_POSITIONAL:
        default = REQUIRED
    kind, choices = _type(parameter.annotation, default)
    return Argument(
        parameter.name,
        kind,
        default,
        positive=parameter.name in POSITIVE,
        choices=choices,
        keyword_only=moved or parameter.kind is parameter.KEYWORD_ONLY,
    )


def _own_signature(
    parameters: Sequence[inspect.Parameter], facts: Facts, arguments: Sequence[Argument]
) -> tuple[str, ...]:
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    if not names and facts.arguments:  # `*args`: in each such class the inferred sizes come first
        names = [*facts.inferred, *(a.name for a in arguments)]
    positional = {a.name for a in arguments if not a.keyword_only}
    needed = {a.name for a in arguments if a.required} | (facts.inferred.keys() - positional)
    last = max((i for i, name in enumerate(names) if name in needed), default=-1)
    return tuple(names[: last + 1])


def _ports(cls: type, facts: Facts) -> tuple[Port, ...]:
    if facts.ports is not None:
        return tuple(Port(name) for name in facts.ports)
    forward = cls.forward  # type: ignore[attr-defined]
    return tuple(
        Port(p.name, required=p.default is p.empty)
        for p in _parameters(forward)
        if p.name != "self" and any(getattr(t, "__name__", "") == "Tensor" for t in _leaves(p))
    )


# --- types ---------------------------------------------------------------------------------------


def _leaves(parameter: inspect.Parameter | Any) -> list[Any]:
    """Return the alternatives of an annotation: of `int | None` int and NoneType."""
    annotation = getattr(parameter, "annotation", parameter)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [leaf for part in typing.get_args(annotation) for leaf in _leaves(part)]
    return [annotation]


def _type(annotation: Any, default: Any) -> tuple[str, tuple[str, ...]]:
    """Return the catalogue's type of an argument, and its choices."""
    leaves = _leaves(annotation)
    if leaves == [inspect.Parameter.empty] and default not in (None, REQUIRED):
        leaves = [type(default)]
    mark = "?" if default is None or type(None) in leaves else ""
    choices = [c for x in leaves if typing.get_origin(x) is typing.Literal for c in x.__args__]
    if choices:
        return "str" + mark, tuple(choices)
    if any(getattr(x, "__name__", "") == "Tensor" for x in leaves):
        return "tensor" + mark, ()
    sequences = [x for x in leaves if _is_sequence(x)]
    if sequences:
        numbers = {leaf for x in sequences for part in typing.get_args(x) for leaf in _leaves(part)}
        return ("numbers" if float in numbers else "size") + mark, ()
    for plain in (bool, float, int, str):
        if plain in leaves:
            return plain.__name__ + mark, ()
    return "any" + mark, ()


def _is_sequence(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    return inspect.isclass(origin) and issubclass(origin, Sequence)


# --- JSON ----------------------------------------------------------------------------------------


def _as_json(op: Op) -> dict[str, Any]:
    """Return the fields that differ from their defaults; `catalogue` reads them back."""
    plain = Op(op.name, op.origin)
    record: dict[str, Any] = {
        field_.name: getattr(op, field_.name)
        for field_ in fields(Op)
        if getattr(op, field_.name) != getattr(plain, field_.name)
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
