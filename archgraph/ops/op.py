"""The records that describe an op (a kind of layer) and a call of one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, Literal

from archgraph.numbers import format_number

__all__ = ["REQUIRED", "Argument", "Op", "OpCall", "Port", "SizeExpression", "opaque"]


_FIELD: Final = re.compile(r"\{(?P<name>\w+)(?::(?P<text>\w+))?\}")
"""A field of a parameter's name, see `Op.parameters`."""


class _Required:
    """The type of `REQUIRED`, the default of an argument that has none."""

    def __repr__(self) -> str:
        return "required"


REQUIRED: Final = _Required()


@dataclass(frozen=True, slots=True)
class SizeExpression:
    """An argument that needs `cin`, the size of the input's channel axis; it waits for shapes."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of an op that a spec may write."""

    name: str
    type: str
    """`int`, `float`, `bool`, `str`, `size` (an int or a tuple of ints), `numbers` (a float or a
    tuple of floats), `tensor` (a tuple of floats, which torch takes as a tensor), `any`; a trailing
    `?` also allows None."""
    default: Any = REQUIRED
    positive: bool = False
    """Whether every number in it must be at least 1."""
    choices: tuple[str, ...] = ()
    """The strings allowed: all there are for a `str`, beside the numbers for another type. A `bool`
    with one choice has that value, and it is passed even if the call does not say so."""
    keyword_only: bool = False

    @property
    def implied(self) -> bool:
        """Whether it is a `bool` that can have but one value, and so is passed unsaid."""
        return self.type == "bool" and len(self.choices) == 1

    @property
    def required(self) -> bool:
        """Whether a call must give it."""
        return self.default is REQUIRED


@dataclass(frozen=True, slots=True)
class Port:
    """A tensor argument of an op's `forward`."""

    name: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Op:
    """What archgraph knows about one kind of layer.

    A node whose op has origin `opaque` is legal everywhere: nothing is known about it but how to
    call it.
    """

    name: str
    origin: Literal["torch.nn", "archgraph", "plugin", "opaque"]
    family: str = "unknown"
    """The op family's name; see the modules beside this one."""
    arguments: tuple[Argument, ...] = ()
    """What a spec may write, in positional order; inferred sizes, `device` and `dtype` left out."""
    inferred: Mapping[str, str] = field(default_factory=dict)
    """Arguments that the input decides, and the rule: `channels` (size of the channel axis: of axis
    1 if this op's `channel_axis` is 1), `last` (size of the last axis), `last:query` (of a named
    port), `axis` (the number of the channel axis). One that also stands in `arguments` may be given
    instead."""
    ports: tuple[Port, ...] = (Port("input"),)
    weight_layer: bool = False
    """A linear map with weights: Linear, convolutions, attention projections, recurrent cells."""
    gradient: bool = True
    """Whether its output carries a gradient (integers do not)."""
    linear: bool = False
    """Whether the output is linear (affine) in the input."""
    elementwise: bool = False
    """Whether output element k depends on input element k alone: its Jacobian is diagonal."""
    activation: bool = False
    """An elementwise nonlinearity φ."""
    loss: bool = False
    """A loss: called with an output and a target, gives a scalar."""
    channel_axis: int | None = None
    """The channel axis of the output, batch axis counted; None keeps the input's."""
    parameters: tuple[tuple[str, str | None], ...] = ()
    """Names of its parameters, each with the condition on which it exists, or None for always.

    `affine bias`: both arguments hold; `!kdim`: it does not; `a|b`: one does. In a name `{n}` runs
    over 0 … n − 1 (for a tuple: its positions), `{flag:text}` over nothing and, if it holds,
    `text`. `OpCall.parameter_names` reads all this."""
    is_parameter: bool = False
    """Whether a layer of it is no submodule but a parameter of the module around it, under the
    layer's own name: `self.class_token`."""
    tuple_output: bool = False
    """Whether it returns a tuple, whose element 0 is the value of a bare name."""
    function: Callable[..., Any] | None = field(default=None, compare=False)
    """The callable itself, for opaque and plugin ops."""
    parameter_reader: Callable[[OpCall], tuple[str, ...]] | None = field(
        default=None, compare=False, repr=False
    )
    """Finds the names of its parameters where `parameters` cannot say them."""
    tuple_switch: str | None = None
    """The boolean argument that makes it return a tuple."""
    target: str | None = None
    """What a loss compares an output with: `classes`, `normal`, `binary`, `sign`, `distribution`,
    `counts` or `labels`, see `loss.py`; None if not an output and one target."""
    variadic: str | None = None
    """The argument that takes all positional values: `Reshape(8, 4)`."""
    signature: tuple[str, ...] = ()
    """Torch's own positional arguments as far as the last one that is required or inferred."""

    def argument(self, name: str) -> Argument | None:
        """Return the argument called `name`, or None."""
        return next((a for a in self.arguments if a.name == name), None)


@dataclass(frozen=True, slots=True)
class OpCall:
    """An op with its arguments, as a node bears it: `Conv2d(64, 3, padding=1)`."""

    op: Op
    arguments: tuple[tuple[str, Any], ...] = ()
    """Arguments given, by name, in the order of the op's signature."""
    expressions: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    """The spec's own text of an argument, where it was more than a literal (`width`, `4*w`)."""

    @property
    def name(self) -> str:
        """The op's name."""
        return self.op.name

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument's value: as given, else the op's default, else `default`."""
        for key, value in self.arguments:
            if key == name:
                return value
        argument = self.op.argument(name)
        return default if argument is None or argument.required else argument.default

    def parameter_names(self) -> tuple[str, ...]:
        """Return the names of the parameters that a layer made by this call has."""
        if self.op.parameter_reader is not None:
            return self.op.parameter_reader(self)
        return tuple(
            name
            for template, condition in self.op.parameters
            if condition is None or self._holds(condition)
            for name in self._expand(template)
        )

    def parameter_paths(self, module: str) -> tuple[str, ...]:
        """Return the full names of the parameters of a layer that is held at `module`."""
        if self.op.is_parameter:
            return (module,)
        return tuple(f"{module}.{name}" for name in self.parameter_names())

    @property
    def returns_tuple(self) -> bool:
        """Whether the layer returns a tuple, whose element 0 is the value of a bare name."""
        return self.op.tuple_output or bool(self.op.tuple_switch and self.get(self.op.tuple_switch))

    def _holds(self, condition: str) -> bool:
        return any(
            all(bool(self.get(w.lstrip("!"), True)) != w.startswith("!") for w in clause.split())
            for clause in condition.split("|")
        )

    def _expand(self, template: str) -> list[str]:
        match = _FIELD.search(template)
        if match is None:
            return [template]
        value = self.get(match["name"])
        if match["text"] is not None:
            fillings = ["", match["text"]] if value else [""]
        else:
            count = len(value) if isinstance(value, tuple) else value
            fillings = [str(i) for i in range(count if isinstance(count, int) else 0)]
        head, tail = template[: match.start()], template[match.end() :]
        return [name for filling in fillings for name in self._expand(head + filling + tail)]

    def __str__(self) -> str:
        positional = [a.name for a in self.op.arguments if not a.keyword_only]
        parts: list[str] = []
        in_order = True
        for index, (name, value) in enumerate(self.arguments):
            # Positional while the prefix is whole and short: Conv2d(64, 3, stride=2).
            in_order = in_order and index < len(positional) and positional[index] == name
            argument = self.op.argument(name)
            if argument is not None and argument.implied:
                continue
            bare = in_order and (argument is None or argument.required)
            if name == self.op.variadic and isinstance(value, tuple):
                parts += map(format_value, value)
            else:
                parts.append(format_value(value) if bare else f"{name}={format_value(value)}")
        return f"{self.name}({', '.join(parts)})"


def format_value(value: Any) -> str:
    """Return an argument's value as a spec would write it.

    Example:
        >>> format_value((3, 3)), format_value("same"), format_value(Fraction(1, 10))
        ('(3, 3)', "'same'", '0.1')
    """
    if isinstance(value, tuple | list):
        inner = ", ".join(map(format_value, value))
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, Fraction):
        text = format_number(value, 17)
        return text if Fraction(text) == value else f"{value.numerator}/{value.denominator}"
    if isinstance(value, SizeExpression):
        return value.text
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def opaque(function: Callable[..., Any], ports: tuple[str, ...] = ("input",)) -> OpCall:
    """Return a call of a callable that archgraph knows nothing about.

    Args:
        function: A callable of tensors, or an `nn.Module` (whose parameters are then the layer's).
        ports: Names of its tensor arguments, in order.
    """
    name = getattr(function, "__name__", type(function).__name__)
    op = Op(name, "opaque", ports=tuple(Port(port) for port in ports), function=function)
    return OpCall(op)
