"""What a formula reads: Σ scale·term + constant, of readings, products and concatenations."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from archgraph.graph.records import ONE, Scale
from archgraph.numbers import Number

__all__ = [
    "TENSOR_FUNCTIONS",
    "Concat",
    "Linear",
    "Names",
    "Product",
    "Reading",
    "TensorTerm",
]

TENSOR_FUNCTIONS: Final = ("concat", "learn", "mix")


@dataclass(frozen=True, slots=True)
class Reading:
    """The value of a node, or one element of the tuple it returns."""

    node: str
    element: int = 0


@dataclass(frozen=True, slots=True)
class Product:
    """An elementwise product; its coefficient stands on the term that holds it."""

    factors: tuple[Linear, ...]


@dataclass(frozen=True, slots=True)
class Concat:
    """A concatenation along `dim` (None: the channel axis)."""

    slots: tuple[Linear, ...]
    dim: int | None


@dataclass(frozen=True, slots=True)
class TensorTerm:
    """One summand: scale · value."""

    value: Reading | Product | Concat | Linear
    scale: Scale = ONE
    forced: bool | None = None
    node: ast.AST | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Linear:
    """A sum of terms and a constant."""

    terms: tuple[TensorTerm, ...]
    constant: Number = 0

    @property
    def reading(self) -> Reading | None:
        """The node that is read, if that is all there is."""
        if len(self.terms) == 1 and not self.constant and self.terms[0].scale.is_one:
            value = self.terms[0].value
            return value if isinstance(value, Reading) else None
        return None


class Names(Protocol):
    """Where a formula's names come from."""

    @property
    def numbers(self) -> Mapping[str, Any]:
        """Params and loop variables."""

    def readings(self, node: ast.expr) -> list[Reading] | None:
        """Return what a name, attribute or subscript reads: several for a slice.

        None if it is no layer; raises `ExpressionError` for a layer that cannot be read here.
        """

    def names(self) -> Sequence[str]:
        """Return every name that could stand here, for suggestions."""

    def parameter(self, name: str) -> str:
        """Return the path of the learnable λ called `name`.

        Raises `ExpressionError` if it cannot be called so.
        """
