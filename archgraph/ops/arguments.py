"""Check the arguments of a call of an op against its signature, and give them their types.

Every op has a Pydantic model, made from the catalogue on first use. Its validators speak in noun
phrases ("a whole number"), from which the messages are put together here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, create_model
from pydantic_core import PydanticCustomError

from archgraph.errors import suggest
from archgraph.ops.op import Argument, Op, OpCall
from archgraph.ops.values import WrongValueError, convert, describe_type, describe_value

__all__ = ["ArgumentProblem", "bind", "positional_name"]


@dataclass(frozen=True, slots=True)
class ArgumentProblem:
    """One thing wrong with a call's arguments."""

    code: str
    message: str
    help: str | None = None
    argument: int | str | None = None
    """Which one: a position, counted from 0, or a keyword; None means the call as a whole."""
    why: str | None = None


def bind(
    op: Op, positional: Sequence[Any], keywords: Mapping[str, Any]
) -> tuple[OpCall | None, list[ArgumentProblem]]:
    """Give a call's values to the arguments of the op.

    Numbers get the type that torch expects: exact fractions become floats, whole ones ints. A
    `SizeExpression` stands wherever a number may.

    Args:
        op: The op.
        positional: Values without a name: numbers, bools, strings, None, tuples or lists of these.
        keywords: Values by name.

    Returns:
        The call and no problems, or None and all the problems.

    Example:
        >>> from archgraph.ops.catalogue import get
        >>> str(bind(get("Conv2d"), [64, 3], {"padding": 1})[0])
        'Conv2d(64, 3, padding=1)'
        >>> bind(get("Linear"), ["big"], {})[1][0].message
        "Linear's out_features must be a whole number, not 'big'"
        >>> bind(get("Linear"), [64, 32], {})[1][0].help
        'write Linear(32)'
    """
    if problem := _repeats_inferred(op, positional, keywords):
        return None, [problem]
    return _bind(op, positional, keywords)


def positional_name(op: Op, index: int) -> str | None:
    """Return the name of the argument that the value at position `index` (from 0) is given to."""
    names = _positional_names(op)
    return op.variadic or (names[index] if index < len(names) else None)


def _positional_names(op: Op) -> list[str]:
    return [argument.name for argument in op.arguments if not argument.keyword_only]


def _bind(
    op: Op, positional: Sequence[Any], keywords: Mapping[str, Any]
) -> tuple[OpCall | None, list[ArgumentProblem]]:
    if op.variadic and positional:
        # Reshape(8, 4) and Reshape((8, 4)) are the same, as in torch.
        alone = len(positional) == 1 and isinstance(positional[0], tuple | list)
        positional = [positional[0] if alone else tuple(positional)]
    names = _positional_names(op)
    values: dict[str, Any] = dict(zip(names, positional, strict=False))
    place: dict[str, int | str] = {name: i for i, name in enumerate(values)}
    problems = [_too_many(op, names, len(positional))] if len(positional) > len(names) else []
    for name, value in keywords.items():
        if name in values:
            message = f"{op.name} gets {name} twice, without and with its name"
            problems.append(ArgumentProblem("too-many-arguments", message, argument=name))
        elif op.argument(name) is None:
            problems.append(_unknown(op, name, positional, keywords))
        else:
            place[name], values[name] = name, value
    # Torch's own default is another than the one value allowed, so that is always passed.
    values = {a.name: a.default for a in op.arguments if a.implied} | values
    meant = {suggest(name, _names(op)) for name in keywords if op.argument(name) is None}
    checked, wrong = _validate(op, values, place, meant)
    problems += wrong
    if problems or checked is None:
        return None, problems
    given = tuple((a.name, getattr(checked, a.name)) for a in op.arguments if a.name in values)
    return OpCall(op, given), []


# --- models --------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _model(name: str, arguments: tuple[Argument, ...]) -> type[BaseModel]:
    """Return the model of an op's arguments."""
    fields: dict[str, Any] = {
        argument.name: (
            Annotated[Any, BeforeValidator(_validator(argument))],
            ... if argument.required else argument.default,
        )
        for argument in arguments
    }
    # No field of torch's is private, but some bear names that Pydantic would warn of.
    config = ConfigDict(extra="forbid", protected_namespaces=())
    model: type[BaseModel] = create_model(name, __config__=config, **fields)
    return model


def _validator(argument: Argument) -> Callable[[Any], Any]:
    def validate(value: Any) -> Any:
        try:
            return convert(argument, value)
        except WrongValueError as error:
            # The braces of a message would be fields of Pydantic's template.
            raise PydanticCustomError("value", "{wanted}", {"wanted": str(error)}) from None

    return validate


def _validate(
    op: Op, values: Mapping[str, Any], place: Mapping[str, int | str], meant: Set[str | None]
) -> tuple[BaseModel | None, list[ArgumentProblem]]:
    """Return the checked values, or what is wrong; what a misspelt name meant is not missing."""
    try:
        return _model(op.name, op.arguments).model_validate(values), []
    except ValidationError as error:
        found = [(str(item["loc"][0]), item["type"], item["msg"]) for item in error.errors()]
    return None, [
        _missing(op, name)
        if kind == "missing"
        else _wrong(op, name, message, values[name], place.get(name))
        for name, kind, message in found
        if kind != "missing" or name not in meant
    ]


# --- problems ------------------------------------------------------------------------------------


def _names(op: Op) -> list[str]:
    return [argument.name for argument in op.arguments]


def _template(op: Op) -> str:
    return f"{op.name}({', '.join(a.name for a in op.arguments if a.required)})"


def _missing(op: Op, name: str) -> ArgumentProblem:
    argument = op.argument(name)
    wanted = f", {describe_type(argument)}" if argument else ""
    return ArgumentProblem(
        "missing-argument",
        f"{op.name} needs {name}{wanted}",
        help=f"write {_template(op)}",
    )


def _wrong(
    op: Op, name: str, wanted: str, value: Any, argument: int | str | None
) -> ArgumentProblem:
    choices = [choice for a in op.arguments if a.name == name for choice in a.choices]
    close = suggest(value, choices) if isinstance(value, str) else None
    return ArgumentProblem(
        "argument-type",
        f"{op.name}'s {name} must be {wanted}, not {describe_value(value)}",
        help=f"did you mean {close!r}?" if close else None,
        argument=argument,
    )


def _unknown(
    op: Op, name: str, positional: Sequence[Any], keywords: Mapping[str, Any]
) -> ArgumentProblem:
    if name in op.inferred:
        return _inferred(op, [name], _corrected(op, positional, keywords), name)
    known = _names(op)
    close = suggest(name, known)
    return ArgumentProblem(
        "unknown-argument",
        f"{op.name} has no argument {name!r}",
        help=f"did you mean {close!r}?" if close else None,
        argument=name,
        why=f"its arguments are {', '.join(known)}" if known else f"{op.name} takes no arguments",
    )


def _too_many(op: Op, names: Sequence[str], count: int) -> ArgumentProblem:
    by_name = [argument.name for argument in op.arguments if argument.keyword_only]
    takes = f"takes {len(names)} ({', '.join(names)})" if names else "takes none"
    return ArgumentProblem(
        "too-many-arguments",
        f"{op.name} gets {count} argument{'s' * (count > 1)} without a name; it {takes}",
        help=f"give {', '.join(by_name)} by name" if by_name else None,
        argument=len(names),
    )


def _inferred(
    op: Op, names: Sequence[str], help: str | None, argument: int | str
) -> ArgumentProblem:
    verb = "is" if len(names) == 1 else "are"
    return ArgumentProblem(
        "inferred-argument",
        f"{op.name}'s {' and '.join(names)} {verb} taken from the input",
        help=help,
        argument=argument,
        why="what the input decides is left out, so that a change above needs no change here",
    )


def _repeats_inferred(
    op: Op, positional: Sequence[Any], keywords: Mapping[str, Any]
) -> ArgumentProblem | None:
    """Return the problem with a call that reads as torch's own, such as `Linear(64, 32)`."""
    if not op.signature or len(positional) < len(op.signature):
        return None
    allowed = set(_positional_names(op))
    inferred = [i for i, n in enumerate(op.signature) if n in op.inferred and n not in allowed]
    if not inferred:
        return None
    pairs = zip(op.signature, positional, strict=False)
    if not all(_fits(op, name, value) for name, value in pairs):
        return None
    first, given = op.signature[inferred[0]], positional[inferred[0]]
    if op.argument(first) and isinstance(given, tuple | list):  # LayerNorm((8, 8))
        rest, named = positional[1:], {first: given, **keywords}
    else:
        rest, named = [v for i, v in enumerate(positional) if i not in inferred], dict(keywords)
    help = _corrected(op, rest, named)
    if help and (ours := _own_reading(op, positional, keywords)):
        help += f", or {ours} if that is meant"
    return _inferred(op, [op.signature[i] for i in inferred], help, inferred[0])


def _fits(op: Op, name: str, value: Any) -> bool:
    argument = op.argument(name) or Argument(name, "int", positive=True)
    try:
        return convert(argument, value) is not None
    except WrongValueError:
        return False


def _own_reading(op: Op, positional: Sequence[Any], keywords: Mapping[str, Any]) -> str | None:
    """Return the call that gives optional counts by name: `Conv2d(64, 3, stride=2)`."""
    optional = [a for a in op.arguments if not a.required and not a.keyword_only]
    if not optional or optional[0].type not in ("int", "size"):
        return None
    call, _ = _bind(op, positional, keywords)
    return str(call) if call else None


def _corrected(op: Op, positional: Sequence[Any], keywords: Mapping[str, Any]) -> str:
    names = _names(op)
    call, _ = _bind(op, positional, {k: v for k, v in keywords.items() if k in names})
    return f"write {call}" if call else f"write {_template(op)}"
