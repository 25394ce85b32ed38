"""Cotangents of one value, one for each grade: a polynomial whose coefficients are tensors.

A coefficient is a tensor times a power of two of its own. Without it the high grades of a deep
network would fall below the smallest float32, or into denormal numbers, which are slow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

__all__ = ["Graded"]

REST: Final = 8
"""How many ops a coefficient may pass before its size is looked at again."""
NORMAL: Final = {torch.float32: 20, torch.float64: 200}
"""By dtype: the powers of two between which coefficients are left as they are."""
LARGEST: Final = 120
"""The largest power of two by which a float32 is multiplied at once."""


@dataclass(frozen=True, slots=True)
class Graded:
    """Σ_k t^k · 2^exponent · coefficient, over the grades k that some path has."""

    grades: tuple[int, ...]
    """Ascending."""
    stack: Tensor
    """The coefficients, shape (grades, *shape of the value)."""
    exponents: tuple[int, ...]
    age: int = 0
    """How many ops were passed since the sizes were looked at."""

    @classmethod
    def one(cls, cotangent: Tensor) -> Graded:
        """Return a cotangent of grade 0."""
        return cls((0,), cotangent[None], (0,))

    def pulled(self, stack: Tensor, degree: int) -> Graded:
        """Return what comes of it behind an op and an edge of some degree."""
        grades = tuple(grade + degree for grade in self.grades) if degree else self.grades
        return Graded(grades, stack, self.exponents, self.age + 1)

    def split(self, limit: int) -> tuple[Graded | None, Graded | None]:
        """Return the grades below a limit and those from there on."""
        if self.grades[-1] < limit:
            return self, None
        if self.grades[0] >= limit:
            return None, self
        cut = next(i for i, grade in enumerate(self.grades) if grade >= limit)
        return self._rows(slice(0, cut)), self._rows(slice(cut, None))

    def _rows(self, rows: slice) -> Graded:
        return replace(
            self,
            grades=self.grades[rows],
            # A copy, since a view would keep the memory of all.
            stack=self.stack[rows].clone(),
            exponents=self.exponents[rows],
        )

    def plus(self, other: Graded) -> Graded:
        """Return the sum, its coefficients of normal size."""
        grades = tuple(sorted({*self.grades, *other.grades}))
        row = {grade: i for i, grade in enumerate(grades)}
        known: dict[int, int] = {}
        for grade, exponent in (*self._by_grade(), *other._by_grade()):
            known[grade] = max(exponent, known.get(grade, exponent))
        total = self.stack.new_empty((len(grades), *self.stack.shape[1:]))
        for grade in set(grades).difference(self.grades):
            total[row[grade]] = 0
        self._put(total, [row[g] for g in self.grades], known, add=False)
        other._put(total, [row[g] for g in other.grades], known, add=True)
        return Graded(grades, total, tuple(known[g] for g in grades)).normalised(own=True)

    def _by_grade(self) -> Iterator[tuple[int, int]]:
        return zip(self.grades, self.exponents, strict=True)

    def _put(self, total: Tensor, rows: list[int], exponents: dict[int, int], *, add: bool) -> None:
        """Write or add the coefficients into rows of a tensor that has other exponents."""
        shifts = [exponent - exponents[grade] for grade, exponent in self._by_grade()]
        stack = _times(self.stack, shifts) if any(shifts) else self.stack
        if rows[-1] - rows[0] + 1 == len(rows):
            place = total[rows[0] : rows[-1] + 1]
            place.add_(stack) if add else place.copy_(stack)
        elif add:
            total.index_add_(0, torch.tensor(rows, device=total.device), stack)
        else:
            total.index_copy_(0, torch.tensor(rows, device=total.device), stack)

    def normalised(self, *, own: bool = False) -> Graded:
        """Return the same with coefficients of normal size.

        Args:
            own: Whether the stack is nobody else's, so that it may be changed in place.
        """
        limit = NORMAL[self.stack.dtype]
        shifts = [_shift(size, limit) for size in _sizes(self.stack)]
        if not any(shifts):
            return replace(self, age=0)
        stack = _times(self.stack, shifts, own=own)
        exponents = tuple(e - s for e, s in zip(self.exponents, shifts, strict=True))
        return Graded(self.grades, stack, exponents)

    def rested(self) -> Graded:
        """Return the same, its sizes looked at if that was long ago."""
        return self.normalised() if self.age >= REST else self


def _sizes(stack: Tensor) -> list[float]:
    """Return the norm of each coefficient; where squares underflow, its largest element."""
    rows = stack.flatten(1)
    sizes: list[float] = torch.linalg.vector_norm(rows, dim=1).tolist()
    if all(size and math.isfinite(size) for size in sizes):
        return sizes
    largest: list[float] = torch.linalg.vector_norm(rows, math.inf, dim=1).tolist()
    return largest


def _shift(size: float, limit: int) -> int:
    """Return by which power of two a coefficient is to be multiplied."""
    if size == 0 or not math.isfinite(size):
        return 0
    exponent = math.frexp(size)[1]
    return 0 if abs(exponent) <= limit else max(-LARGEST, min(LARGEST, -exponent))


def _times(stack: Tensor, shifts: Sequence[int], *, own: bool = False) -> Tensor:
    """Return each coefficient times its power of two."""
    factors = torch.tensor([2.0**shift if shift > -2000 else 0.0 for shift in shifts])
    shaped = factors.to(stack).reshape(-1, *(1 for _ in stack.shape[1:]))
    return stack.mul_(shaped) if own else stack * shaped
