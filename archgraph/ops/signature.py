"""What a class says of itself: the arguments of its constructor, the ports of its `forward`.

The catalogue is made with this, and so are the ops of plugins. Nothing here imports torch.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from typing import Any, Literal

from archgraph.ops.family import Facts
from archgraph.ops.op import REQUIRED, Argument, Op, Port

__all__ = ["describe", "read_argument", "read_parameters"]


def describe(
    cls: type,
    origin: Literal["torch.nn", "archgraph", "plugin"],
    family: str,
    facts: Facts,
    *,
    left_out: Collection[str] = (),
    positive: Collection[str] = (),
) -> Op:
    """Return what there is to know of a class of modules.

    Args:
        cls: The class.
        origin: Where it comes from.
        family: Name of its op family.
        facts: What the signatures do not say.
        left_out: Arguments of the constructor that a spec cannot write.
        positive: Arguments whose numbers must be at least 1.
    """
    parameters = read_parameters(cls)
    shared = {f.name for f in fields(Facts)} & {f.name for f in fields(Op)}
    known = {name: getattr(facts, name) for name in shared - {"arguments", "inferred", "ports"}}
    arguments = _arguments(parameters, facts, left_out, positive)
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


def read_parameters(function: Any) -> list[inspect.Parameter]:
    """Return the parameters of a callable, their annotations evaluated where they can be."""
    # Torch's own annotations are read as they stand: some name what is not there.
    evaluate = not function.__module__.startswith("torch.")
    try:
        signature = inspect.signature(function, eval_str=evaluate)
    except NameError:  # of what is imported for type checkers only
        signature = inspect.signature(function)
    return list(signature.parameters.values())


def _is_silent(parameter: inspect.Parameter) -> bool:
    """Whether it is `*args: Any` or `**kwargs`, which say nothing; `*shape: int` does."""
    if parameter.kind is parameter.VAR_KEYWORD:
        return True
    starred = parameter.kind is parameter.VAR_POSITIONAL
    return starred and parameter.annotation in (parameter.empty, Any)


def _arguments(
    parameters: Sequence[inspect.Parameter],
    facts: Facts,
    left_out: Collection[str],
    positive: Collection[str],
) -> tuple[Argument, ...]:
    replaced = {argument.name: argument for argument in facts.arguments}
    result = []
    moved = False  # whether what follows has another position than in the class
    for parameter in parameters:
        name = parameter.name
        if name in replaced:
            argument = replaced.pop(name)
            result.append(replace(argument, keyword_only=moved or argument.keyword_only))
        elif name in left_out or name.startswith("_"):
            moved = True
        elif name not in facts.inferred and not _is_silent(parameter):
            result.append(read_argument(parameter, moved=moved, positive=name in positive))
    return (*result, *replaced.values())  # the latter where the class says `*args`


def read_argument(
    parameter: inspect.Parameter, *, moved: bool = False, positive: bool = False
) -> Argument:
    """Return what a spec may write for one parameter.

    Args:
        parameter: Of a callable.
        moved: Whether its position is another one in a spec, so that it is given by name.
        positive: Whether its numbers must be at least 1.
    """
    default = REQUIRED if parameter.default is parameter.empty else parameter.default
    if parameter.kind is parameter.VAR_POSITIONAL:
        default = REQUIRED
    kind, choices = _type(parameter.annotation, default)
    return Argument(
        parameter.name,
        kind,
        default,
        positive=positive,
        choices=choices,
        keyword_only=moved or parameter.kind is parameter.KEYWORD_ONLY,
    )


def _own_signature(
    parameters: Sequence[inspect.Parameter], facts: Facts, arguments: Sequence[Argument]
) -> tuple[str, ...]:
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [p.name for p in parameters if p.kind in by_position]
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
        for p in read_parameters(forward)
        if p.name != "self" and any(map(_is_tensor, _leaves(p)))
    )


# --- types ---------------------------------------------------------------------------------------


def _leaves(parameter: inspect.Parameter | Any) -> list[Any]:
    """Return the alternatives of an annotation: of `int | None` int and NoneType."""
    annotation = getattr(parameter, "annotation", parameter)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [leaf for part in typing.get_args(annotation) for leaf in _leaves(part)]
    return [annotation]


def _is_tensor(leaf: Any) -> bool:
    return getattr(leaf, "__name__", str(leaf).rpartition(".")[2]) == "Tensor"


def _type(annotation: Any, default: Any) -> tuple[str, tuple[str, ...]]:
    """Return the catalogue's type of an argument, and its choices."""
    leaves = _leaves(annotation)
    if leaves == [inspect.Parameter.empty] and default not in (None, REQUIRED):
        leaves = [type(default)]
    mark = "?" if default is None or type(None) in leaves else ""
    choices = [c for x in leaves if typing.get_origin(x) is typing.Literal for c in x.__args__]
    if choices and all(isinstance(choice, str) for choice in choices):
        return "str" + mark, tuple(choices)
    if any(map(_is_tensor, leaves)):
        return "tensor" + mark, ()
    sequences = [x for x in leaves if _is_sequence(x)]
    if sequences:
        items = {leaf for x in sequences for part in typing.get_args(x) for leaf in _leaves(part)}
        kind = "numbers" if float in items else "size" if int in items else "any"
        return kind + mark, ()
    for plain in (bool, float, int, str):
        if plain in leaves:
            return plain.__name__ + mark, ()
    return "any" + mark, ()


def _is_sequence(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    return inspect.isclass(origin) and issubclass(origin, Sequence)
