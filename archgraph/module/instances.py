"""Ops as real modules: with which arguments a call is built, and what one run of it gives."""

from __future__ import annotations

import copy
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

import torch
from torch import Tensor, nn

from archgraph.expression import ExpressionError, evaluate
from archgraph.module.text import literal
from archgraph.module.values import Value
from archgraph.ops import Op, OpCall, SizeExpression
from archgraph.ops.rules import tensor_expression, track_channel_axis

__all__ = [
    "RefusalError",
    "construct",
    "constructor_of",
    "instantiate",
    "is_expression_call",
    "is_small",
    "place",
    "resolve",
    "run",
    "usual_text",
]

META_BATCH: Final = 1009
"""A batch that costs nothing on `meta`, and that no other axis has the size of by chance."""
CPU_BATCH: Final = 101
TINY_BATCH: Final = 3
SMALL: Final = 300_000
"""Most elements, weights included, of a layer that is run on the CPU."""


class RefusalError(Exception):
    """An op cannot be built or run as asked; the text is the reason, in one line."""

    def __init__(self, reason: object) -> None:
        first = str(reason).strip().partition("\n")[0] or type(reason).__name__
        super().__init__(re.sub(rf"\b({META_BATCH}|{CPU_BATCH})\b", "batch", first))


def resolve(call: OpCall, ports: Mapping[str, Value]) -> dict[str, Any]:
    """Return every argument that the constructor is given, inferred sizes too.

    Args:
        call: The op and the arguments that the spec gives.
        ports: What each port reads.

    Raises:
        RefusalError: a size cannot be inferred, or an expression of `cin` has no value.
    """
    op = call.op
    resolved = {argument.name: argument.default for argument in op.arguments if _is_fixed(argument)}
    for name, rule in op.inferred.items():
        if call.get(name) is None:
            resolved[name] = _infer(op, name, rule, ports)
    for name, value in call.arguments:
        if value is None and name in resolved:
            continue
        resolved[name] = _plain(value, lambda: _cin(op, resolved, ports))
    if op.variadic in resolved:
        resolved[op.variadic] = _flat(resolved[op.variadic])
    return resolved


def _flat(value: Any) -> tuple[Any, ...]:
    """Return the values of a variadic argument, however an expression nested them."""
    if not isinstance(value, tuple | list):
        return (value,)
    return tuple(item for part in value for item in _flat(part))


def _is_fixed(argument: Any) -> bool:
    """Whether it has one value that is passed even if the call does not say so."""
    return argument.type == "bool" and len(argument.choices) == 1


def _infer(op: Op, name: str, rule: str, ports: Mapping[str, Value]) -> int:
    kind, _, port = rule.partition(":")
    value = ports[port] if port else next(iter(ports.values()))
    axis = value.channel_axis
    if kind == "last":
        axis = len(value.shape)
    elif kind == "channels" and op.channel_axis is not None:
        axis = op.channel_axis
    if axis is None:
        raise RefusalError(
            f"{name} is by default that of the channels, which is not known: give {name}"
        )
    if not 1 <= axis <= len(value.shape):
        raise RefusalError(f"there is no axis {axis} to take {name} from")
    if kind == "axis":
        return axis if axis < len(value.shape) else -1  # as a person writes the last one
    return value.shape[axis - 1]


def _cin(op: Op, resolved: Mapping[str, Any], ports: Mapping[str, Value]) -> int:
    """Return the size that `cin` stands for: the inferred one, else that of the channel axis."""
    sizes = [resolved[name] for name, rule in op.inferred.items() if rule != "axis"]
    if sizes and isinstance(sizes[0], int):
        return sizes[0]
    channels = next(iter(ports.values())).channels if ports else None
    if channels is None:
        raise RefusalError(
            "cin is the size of the channel axis, and which one that is is not known"
        )
    return channels


def _plain(value: Any, cin: Callable[[], int]) -> Any:
    """Return an argument as torch takes it: sizes evaluated, exact numbers as floats."""
    if isinstance(value, SizeExpression):
        try:
            return _plain(evaluate(value.text, {"cin": cin()}), cin)
        except ExpressionError as error:
            raise RefusalError(f"{value.text}: {error.message}") from None
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else float(value)
    if isinstance(value, list | tuple):
        return type(value)(_plain(item, cin) for item in value)
    return value


def constructor_of(op: Op) -> Callable[..., Any]:
    """Return the class that makes a layer of this kind."""
    if op.origin == "torch.nn":
        return getattr(nn, op.name)  # type: ignore[no-any-return]
    if op.origin == "archgraph":
        from archgraph import nn as own

        return getattr(own, op.name)  # type: ignore[no-any-return]
    assert op.function is not None
    return op.function


def usual_text(op: Op, name: str) -> str | None:
    """Return the text of what a constructor takes if an argument is left out; None if unknown.

    Example:
        >>> from archgraph.ops import catalogue
        >>> usual_text(catalogue.get("Conv2d"), "stride")
        '1'
    """
    try:
        parameter = inspect.signature(constructor_of(op)).parameters.get(name)
    except (TypeError, ValueError):  # a callable that does not say
        return None
    if parameter is None or parameter.default is parameter.empty:
        return None
    return literal(parameter.default)


def place(op: Op, arguments: Mapping[str, Any]) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    """Split a constructor's arguments as a person would write the call.

    Returns:
        The positional ones as (name, value) pairs, then the others by name. A variadic argument
        is one positional pair for each of its values.
    """
    if op.variadic is not None:
        values = arguments[op.variadic]
        values = values if isinstance(values, tuple | list) else (values,)
        rest = {name: value for name, value in arguments.items() if name != op.variadic}
        return [(op.variadic, value) for value in values], rest
    positional: list[tuple[str, Any]] = []
    for name in op.signature or [a.name for a in op.arguments[:1] if not a.keyword_only]:
        if name not in arguments:
            break
        positional.append((name, arguments[name]))
    taken = {name for name, _ in positional}
    return positional, {name: value for name, value in arguments.items() if name not in taken}


def instantiate(call: OpCall, arguments: Mapping[str, Any]) -> Callable[..., Any]:
    """Build the op with all its arguments; an opaque callable is returned as it is.

    Raises:
        RefusalError: its constructor does not accept them.
    """
    if call.op.origin == "opaque":
        assert call.op.function is not None
        return call.op.function
    as_tensors = {a.name for a in call.op.arguments if a.type.startswith("tensor")}
    given = {
        name: torch.tensor(value) if name in as_tensors and value is not None else value
        for name, value in arguments.items()
    }
    positional, keywords = place(call.op, given)
    try:
        return constructor_of(call.op)(*(v for _, v in positional), **keywords)  # type: ignore[no-any-return]
    except Exception as error:  # torch raises whatever its constructors meet
        raise RefusalError(error) from None


def construct(call: OpCall, arguments: Mapping[str, Any]) -> Callable[..., Any]:
    """Build a layer without memory; a user's class that cannot be on `meta`, on the CPU.

    Raises:
        RefusalError: its constructor does not accept the arguments.
    """
    try:
        with torch.device("meta"):
            return instantiate(call, arguments)
    except RefusalError:
        if call.op.origin != "plugin":
            raise
    with torch.random.fork_rng(devices=[]):
        return instantiate(call, arguments)


def is_expression_call(call: OpCall) -> bool:
    """Whether an op, its arguments filled in, is written as a tensor expression."""
    if call.op.origin != "archgraph" or call.op.is_parameter:
        return False
    return tensor_expression(call, {port.name: port.name for port in call.op.ports}) is not None


def run(
    call: OpCall, layer: Callable[..., Any], ports: Mapping[str, Value]
) -> tuple[tuple[Value | None, ...], bool]:
    """Run a layer once, to see what comes out.

    A large layer runs on the `meta` device, without its arithmetic. A small one runs on the CPU on
    zeros: torch's kernels for `meta` are exact about shapes only, and the first one called imports
    torch's compiler, which takes longer than importing torch.

    Args:
        call: The op and its arguments, sizes filled in.
        layer: The callable, on the `meta` device; an opaque one wherever it is, and left alone.
        ports: What each port reads.

    Returns:
        The elements of the result, and whether it is a tuple.

    Raises:
        RefusalError: torch complains, or the result is no tensor with the batch in front.
    """
    with torch.random.fork_rng(devices=[]):
        if is_small(layer, ports.values()):
            result, batch = _attempt(call, layer, ports, "cpu", CPU_BATCH), CPU_BATCH
        else:
            result, batch = _run_large(call, layer, ports)
    values = result if isinstance(result, tuple | list) else (result,)
    elements = tuple(_describe(call, value, ports, batch) for value in values)
    if not elements or elements[0] is None:
        raise RefusalError(_complaint(values, batch))
    return elements, isinstance(result, tuple | list)


def is_small(layer: Callable[..., Any], values: Iterable[Value]) -> bool:
    """Whether a run on the CPU takes no time to speak of."""
    elements = sum(CPU_BATCH * math.prod(value.shape) for value in values)
    if isinstance(layer, nn.Module):
        elements += sum(p.numel() for p in layer.parameters())
    return elements <= SMALL


def _run_large(
    call: OpCall, layer: Callable[..., Any], ports: Mapping[str, Value]
) -> tuple[Any, int]:
    try:
        result = _attempt(call, layer, ports, "meta", META_BATCH)
    except RefusalError:
        if call.op.origin not in ("opaque", "plugin"):  # these may not know `meta`
            raise
        return _attempt(call, layer, ports, "cpu", TINY_BATCH), TINY_BATCH
    # What takes no integers says so only where it computes.
    if call.op.family != "embedding" and any(not v.is_float for v in ports.values()):
        _attempt(call, layer, ports, "cpu", TINY_BATCH)
    return result, META_BATCH


def _attempt(
    call: OpCall, layer: Callable[..., Any], ports: Mapping[str, Value], device: str, batch: int
) -> Any:
    """Run a layer on zeros, or a copy of it where it is not on the device or not ours."""
    tensors = {port: _example(value, batch, device) for port, value in ports.items()}
    try:
        with torch.no_grad():
            if call.op.origin == "opaque":
                return _copied(layer, device)(*tensors.values())
            if device == "cpu" and isinstance(layer, nn.Module):
                # Built anew: taking tensors off `meta` is slow the first time.
                layer = instantiate(call, dict(call.arguments))
            return layer(**tensors)
    except Exception as error:  # torch raises whatever its kernels meet
        raise RefusalError(error) from None


def _copied(function: Callable[..., Any], device: str) -> Callable[..., Any]:
    if not isinstance(function, nn.Module):
        return function
    return copy.deepcopy(function).to(device)


def _example(value: Value, batch: int, device: str) -> Tensor:
    shape = (batch if value.batched else 1, *value.shape)
    dtype = torch.get_default_dtype() if value.is_float else getattr(torch, value.dtype)
    return torch.zeros(shape, dtype=dtype, device=device)


def _describe(call: OpCall, result: Any, ports: Mapping[str, Value], batch: int) -> Value | None:
    """Return what is known of one element of a result; None if it has no batch in front."""
    if not isinstance(result, Tensor) or result.ndim == 0:
        return None
    batched = result.shape[0] == batch
    if not batched and result.shape[0] != 1:
        return None
    shape = tuple(result.shape[1:])
    dtype = "float" if result.is_floating_point() else str(result.dtype).removeprefix("torch.")
    return Value(shape, dtype, _channel_axis(call, ports, len(shape) + 1), batched)


def _channel_axis(call: OpCall, ports: Mapping[str, Value], rank: int) -> int | None:
    first = next(iter(ports.values()), None)
    before = None if first is None else first.channel_axis
    axis = track_channel_axis(call, before, 1 if first is None else len(first.shape) + 1)
    if axis is not None and -rank < axis < rank and axis != 0:
        return axis % rank
    return 1 if rank == 2 else None


def _complaint(values: Sequence[Any], batch: int) -> str:
    if not values:
        return "it returns an empty tuple"
    first = values[0]
    if not isinstance(first, Tensor):
        return f"it returns {type(first).__name__}, not a tensor"
    sizes = ", ".join("batch" if n == batch else str(n) for n in first.shape)
    shown = f"a tensor of shape ({sizes})" if sizes else "a single number"
    return f"it returns {shown}, and the first axis must be the batch"
