"""Sums over paths, sorted by what each path takes of every stage: polynomials, never enumerated.

A polynomial is a mapping from monomials to coefficients. A monomial t₀^a·t₁^b·… is one integer,
a + b·2^32 + …, so that monomials multiply by adding. Coefficients are of any semiring: counts,
ranges, sums of products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

from archgraph.paths.walk import Walk

__all__ = ["Polynomial", "Semiring", "exponents", "monomial", "multiply", "of_part"]

_BITS: Final = 32

T = TypeVar("T")
Polynomial: TypeAlias = dict[int, T]


@dataclass(frozen=True, slots=True)
class Semiring(Generic[T]):
    """How coefficients multiply along a path, and add up over paths."""

    one: T
    add: Callable[[T, T], T]
    multiply: Callable[[T, T], T]


def monomial(stage: int | None, degree: int) -> int:
    """Return t_stage^degree; 1 without a stage."""
    return 0 if stage is None else degree << (_BITS * stage)


def exponents(monomial: int, stages: Sequence[int]) -> tuple[int, ...]:
    """Return the exponents of some stages in a monomial."""
    return tuple(monomial >> (_BITS * stage) & ((1 << _BITS) - 1) for stage in stages)


def of_part(
    paths: Walk,
    part: Sequence[int],
    ring: Semiring[T],
    monomials: Sequence[int],
    coefficients: Sequence[T],
) -> Polynomial[T]:
    """Return the sum over the ways through one of `Walk.parts`.

    Args:
        paths: The paths.
        part: Its nodes, the last first.
        ring: Of the coefficients.
        monomials: Of each hop.
        coefficients: Of each hop.

    Cost: O(hops · monomials that occur).
    """
    add, times = ring.add, ring.multiply
    found: dict[int, Polynomial[T]] = {part[0]: {0: ring.one}}
    for node in part[1:]:
        own: Polynomial[T] = {}
        for hop in paths.steps[node]:
            shift, factor = monomials[hop], coefficients[hop]
            for key, value in found[paths.targets[hop]].items():
                product = times(factor, value)
                key += shift
                own[key] = add(own[key], product) if key in own else product
        found[node] = own
    return found[part[-1]]


def multiply(a: Polynomial[T], b: Polynomial[T], ring: Semiring[T]) -> Polynomial[T]:
    """Return the product of two polynomials.

    Cost: O(terms of a · terms of b).
    """
    add, times = ring.add, ring.multiply
    product: Polynomial[T] = {}
    for shift, factor in b.items():
        for key, value in a.items():
            term = times(factor, value)
            key += shift
            product[key] = add(product[key], term) if key in product else term
    return product
