"""A user's own classes as ops: registered in a module that the caller names, never in a spec.

Nothing here imports torch; whoever writes a class of modules has done so.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar, overload

from archgraph.errors import UsageError, suggest
from archgraph.expression import ExpressionError, evaluate
from archgraph.ops import catalogue
from archgraph.ops.family import Facts
from archgraph.ops.op import Argument, Op, OpCall, SizeExpression
from archgraph.ops.signature import describe, read_parameters

__all__ = ["load_plugins", "register"]

C = TypeVar("C", bound=type)

_RULES: Final = ("channels", "last", "axis")
_LEFT_OUT: Final = ("device", "dtype")
_TRIAL_SIZE: Final = 960
"""A size that most numbers of heads and groups divide."""

_registered: Final[dict[str, dict[str, Op]]] = {}
"""By the module that registered them: ops by name."""


@overload
def register(cls: C) -> C: ...


@overload
def register(
    cls: C | None = None,
    *,
    name: str | None = None,
    inferred: Mapping[str, str] | None = None,
    ports: Sequence[str] | None = None,
    parameters: Sequence[str] = (),
    weight_layer: bool = False,
    linear: bool = False,
    elementwise: bool = False,
    activation: bool = False,
    channel_axis: int | None = None,
    tuple_output: bool = False,
) -> Callable[[C], C]: ...


def register(
    cls: C | None = None,
    *,
    name: str | None = None,
    inferred: Mapping[str, str] | None = None,
    ports: Sequence[str] | None = None,
    parameters: Sequence[str] = (),
    weight_layer: bool = False,
    linear: bool = False,
    elementwise: bool = False,
    activation: bool = False,
    channel_axis: int | None = None,
    tuple_output: bool = False,
) -> C | Callable[[C], C]:
    """Make a class of `nn.Module` an op of the specs that are loaded with this plugin.

    The arguments that a spec may write are those of the class's `__init__`, checked against their
    annotations and defaults. Everything said here is optional: a class that says nothing is
    compiled, recorded and split like any other.

    Args:
        cls: The class; left out, this returns a decorator.
        name: How a spec calls it; default the class's name.
        inferred: Arguments that the input decides, and the rule: `last` (size of the last axis),
            `channels` (size of the channel axis), `axis` (its number), of the first port or of
            the one named behind a colon (`last:query`).
        ports: The tensor arguments of `forward`; default those annotated as tensors, else those
            without a default.
        parameters: Names of its parameters; default those of a layer built on trial.
        weight_layer: Whether it is a linear map with weights, which counts in `weights`.
        linear: Whether the output is linear (affine) in the input.
        elementwise: Whether output element k depends on input element k alone.
        activation: Whether it is an elementwise nonlinearity.
        channel_axis: The channel axis of its output, batch counted; default the input's.
        tuple_output: Whether it returns a tuple.

    Raises:
        UsageError: it is no class of modules, or something said here does not fit it.

    Example:
        ::

            @archgraph.register(inferred={"dim": "last"}, weight_layer=True)
            class Mix(nn.Module):
                def __init__(self, dim: int, rank: int = 4) -> None: ...
                def forward(self, x: Tensor) -> Tensor: ...

        and in a spec loaded with `plugins=["my_module"]`: `mixed: Mix(rank=8)`.
    """
    facts = Facts(
        inferred=dict(inferred or {}),
        ports=None if ports is None else tuple(ports),
        weight_layer=weight_layer,
        linear=linear,
        elementwise=elementwise or activation,
        activation=activation,
        channel_axis=channel_axis,
        parameters=tuple((parameter, None) for parameter in parameters),
        tuple_output=tuple_output,
    )
    module = str(sys._getframe(1).f_globals.get("__name__", "__main__"))

    def decorate(cls: C) -> C:
        _refuse(cls, facts)
        chosen = name or cls.__name__
        if not chosen.isidentifier():
            raise UsageError(f"{chosen!r} is no name that a spec could call an op by")
        ops = _registered.setdefault(module, {})
        known = ops.get(chosen)
        if known is not None and _place(known) != (cls.__module__, cls.__qualname__):
            raise UsageError(f"{module!r} registers two classes as {chosen!r}: give one a name=")
        ops[chosen] = _describe(cls, chosen, facts)
        return cls

    return decorate if cls is None else decorate(cls)


def load_plugins(modules: Iterable[str]) -> Mapping[str, Op]:
    """Import plugins and return the ops that they register, by name.

    Args:
        modules: Names of modules as `import` takes them, in the search path or the working
            directory. Of a package, what its modules register counts too.

    Raises:
        UsageError: a module cannot be imported or registers nothing, or two ops have one name.
    """
    found: dict[str, Op] = {}
    homes: dict[str, str] = {}
    for module in modules:
        _import(module)
        ops = {
            name: op
            for home, registered in _registered.items()
            if home == module or home.startswith(f"{module}.")
            for name, op in registered.items()
        }
        if not ops:
            raise UsageError(
                f"plugin {module!r} registers no op; put @archgraph.register above its classes"
            )
        for name, op in ops.items():
            other = found.get(name)
            if other is not None and other.function is not op.function:
                raise UsageError(
                    f"plugins {homes[name]!r} and {module!r} both register {name!r}: give one a "
                    "name of its own, @archgraph.register(name=…)"
                )
            found[name], homes[name] = _unless_known(name, op, module), module
    return found


# --- one class -----------------------------------------------------------------------------------


def _refuse(cls: type, facts: Facts) -> None:
    """Raise if a class is none of modules, or what was said does not fit its signatures."""
    torch = sys.modules.get("torch")
    if not inspect.isclass(cls) or torch is None or not issubclass(cls, torch.nn.Module):
        raise UsageError(f"{getattr(cls, '__name__', cls)!r} is no class of nn.Module")
    takes = [p.name for p in read_parameters(cls)]
    reads = [p.name for p in read_parameters(cls.forward) if p.name != "self"]  # type: ignore[attr-defined]
    for what, names, known in (
        ("argument", facts.inferred, takes),
        ("port", facts.ports or (), reads),
    ):
        for name in names:
            if name not in known:
                close = suggest(name, known)
                hint = f"did you mean {close!r}?" if close else f"there are: {', '.join(known)}"
                raise UsageError(f"{cls.__name__} has no {what} {name!r}; {hint}")
    ports = [port.name for port in _describe(cls, cls.__name__, facts).ports]
    for name, rule in facts.inferred.items():
        kind, colon, port = rule.partition(":")
        if kind not in _RULES or (colon and port not in ports):
            raise UsageError(
                f"{cls.__name__}'s {name} is inferred by {rule!r}; the rules are "
                f"{', '.join(_RULES)}, and one of the ports {', '.join(ports)} behind a colon"
            )


def _describe(cls: type, name: str, facts: Facts) -> Op:
    op = describe(cls, "plugin", "unknown", facts, left_out=_LEFT_OUT)
    forward = read_parameters(cls.forward)  # type: ignore[attr-defined]
    if not op.ports:  # nothing is annotated
        bare = [p for p in forward if p.name != "self" and p.kind is p.POSITIONAL_OR_KEYWORD]
        names = tuple(p.name for p in bare if p.default is p.empty)
        op = describe(cls, "plugin", "unknown", replace(facts, ports=names), left_out=_LEFT_OUT)
    arguments = tuple(replace(a, default=_hashable(a)) for a in op.arguments)
    reader = None if facts.parameters else _trial_parameters
    return replace(op, name=name, arguments=arguments, function=cls, parameter_reader=reader)


def _hashable(argument: Argument) -> Any:
    """Return a default that models can be kept by; what is not given is not passed anyway."""
    if isinstance(argument.default, list):
        return tuple(argument.default)
    return argument.default if argument.default.__hash__ else None


def _trial_parameters(call: OpCall) -> tuple[str, ...]:
    """Return the parameters of a layer built without memory, at a size that fits most."""
    torch = sys.modules["torch"]
    assert call.op.function is not None
    sizes: dict[str, Any] = {
        name: 1 if rule == "axis" else _TRIAL_SIZE for name, rule in call.op.inferred.items()
    }
    given = dict(call.arguments)
    leading = given.pop(call.op.variadic, ()) if call.op.variadic else ()
    try:
        plain = {name: _trial_value(value) for name, value in given.items()}
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            layer = call.op.function(*leading, **{**sizes, **plain})
    except Exception:  # whatever the constructor meets; the shapes of the graph will say it
        return ()
    return tuple(name for name, _ in layer.named_parameters())


def _trial_value(value: Any) -> Any:
    if not isinstance(value, SizeExpression):
        return value
    try:
        return evaluate(value.text, {"cin": _TRIAL_SIZE})
    except ExpressionError:
        return _TRIAL_SIZE


def _place(op: Op) -> tuple[str, str]:
    return op.function.__module__, op.function.__qualname__  # type: ignore[union-attr]


# --- modules -------------------------------------------------------------------------------------


def _unless_known(name: str, op: Op, module: str) -> Op:
    """Return the op, or the catalogue's own if it is of the very same class."""
    known = catalogue.get(name)
    if known is None:
        return op
    if known.origin == _place(op)[0][: len(known.origin)] and _place(op)[1] == name:
        return known
    raise UsageError(
        f"plugin {module!r} registers {name!r}, which is an op of {known.origin}; "
        "give it a name of its own: @archgraph.register(name=…)"
    )


def _import(name: str) -> None:
    try:
        with _working_directory():
            importlib.import_module(name)
    except UsageError as error:
        raise UsageError(f"plugin {name!r}: {error}") from error
    except Exception as error:  # whatever the user's module meets
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"plugin {name!r} cannot be imported: {reason}") from error


@contextmanager
def _working_directory() -> Iterator[None]:
    """Look for modules in the working directory too, as `python -m` does."""
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.append(here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
