"""Classes of paths, by what they take of each stage: for groups of stages, and then combined.

Stages that follow one another, with a node between that every path visits, are independent: their
classes combine freely, and need never be listed together.
"""

from __future__ import annotations

import heapq
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, TypeAlias, TypeVar

from archgraph.paths.polynomial import (
    Polynomial,
    Semiring,
    exponents,
    monomial,
    multiply,
    of_part,
)
from archgraph.paths.stage import Stages
from archgraph.paths.walk import Walk
from archgraph.paths.weight import exact_scale

__all__ = ["MAX_WORK", "PathClass", "fits", "iter_classes"]

MAX_WORK: Final = 400_000
"""Stages that no node separates are told apart only if their classes, times the hops between the
nodes around them, are at most so many."""

T = TypeVar("T")
_Exact: TypeAlias = int | Fraction
_Numbers: TypeAlias = tuple[_Exact, ...]
_Lengths: TypeAlias = tuple[int, int]
_Part: TypeAlias = tuple[int, ...]


def _range_of_products(a: _Numbers, b: _Numbers) -> _Numbers:
    """Return the least and the greatest product of one number of each range."""
    if a[0] >= 0 and b[0] >= 0:
        return a[0] * b[0], a[1] * b[1]
    ends = [x * y for x in a for y in b]
    return min(ends), max(ends)


_COUNTS: Final[Semiring[int]] = Semiring(1, operator.add, operator.mul)
_SUMS: Final[Semiring[_Numbers]] = Semiring(
    (1,), lambda a, b: (a[0] + b[0],), lambda a, b: (a[0] * b[0],)
)
_RANGES: Final[Semiring[_Numbers]] = Semiring(
    (1, 1), lambda a, b: (min(a[0], b[0]), max(a[1], b[1])), _range_of_products
)
_LENGTHS: Final[Semiring[_Lengths]] = Semiring(
    (0, 0),
    lambda a, b: (min(a[0], b[0]), max(a[1], b[1])),
    lambda a, b: (a[0] + b[0], a[1] + b[1]),
)


@dataclass(frozen=True, slots=True)
class PathClass:
    """The paths, or parts of them between two nodes, that take the same of each stage."""

    taken: tuple[int, ...]
    """Of each stage."""
    count: int
    weights: _Lengths
    """Fewest and most weight layers."""
    scale: _Numbers
    """Least and greatest product of λ."""
    total: _Exact
    """The sum of the products of the weights of their hops."""


def iter_classes(
    paths: Walk, stages: Stages, weights: Mapping[int, _Exact] | None = None
) -> Iterator[PathClass]:
    """Iterate over the classes of paths, the largest total first.

    Args:
        paths: The paths.
        stages: What tells them apart.
        weights: Of each hop that lies on a path; without them every path counts 1.
    """
    if not paths.order:
        return
    summing = _Summing(paths, stages, weights)
    groups = [summing.group(key, parts) for key, parts in _parts_by_stages(paths, stages).items()]
    for chosen in _iter_choices([[found.total for found in group.classes] for group in groups]):
        yield _combined(groups, chosen)


def fits(paths: Walk, stages: Stages) -> bool:
    """Return whether the classes of stages that no node separates are few enough to be listed."""
    for group, parts in _parts_by_stages(paths, stages).items():
        classes = math.prod(stages.most[stage] + 1 for stage in group)
        hops = sum(len(paths.steps[node]) for part in parts for node in part[1:])
        if len(group) > 1 and classes * hops > MAX_WORK:
            return False
    return True


def _parts_by_stages(paths: Walk, stages: Stages) -> dict[tuple[int, ...], list[_Part]]:
    """Return the parts of the walk by the stages that they are about.

    Stages that meet in one part belong together, and so do those that meet them elsewhere.
    """
    group: dict[int, frozenset[int]] = {}
    found: list[tuple[frozenset[int], _Part]] = []
    for part in paths.parts:
        hops = (hop for node in part[1:] for hop in paths.steps[node])
        met = frozenset(stage for hop in hops if (stage := stages.of_hop[hop]) is not None)
        found.append((met, part))
        joined = met.union(*(group.get(stage, ()) for stage in met))
        group.update(dict.fromkeys(joined, joined))
    groups: dict[tuple[int, ...], list[_Part]] = {}
    for met, part in found:
        key = tuple(sorted(group[min(met)])) if met else ()
        groups.setdefault(key, []).append(part)
    return dict(sorted(groups.items()))


# --- the classes of one group -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Group:
    """The classes of some stages, the largest total first; λ and totals in whole numbers."""

    stages: tuple[int, ...]
    classes: list[PathClass]
    scale_unit: int
    """What λ are to be divided by: a common denominator."""
    total_unit: int


class _Summing:
    """Adds up over the ways through parts of a walk."""

    def __init__(self, paths: Walk, stages: Stages, weights: Mapping[int, _Exact] | None) -> None:
        hops = range(len(paths.hops))
        scales = [exact_scale(hop) for hop in paths.hops]
        live = [hop for node in paths.order for hop in paths.steps[node]]
        self._paths = paths
        self._monomials = [monomial(stages.of_hop[hop], stages.degrees[hop]) for hop in hops]
        self._lengths = [(weight, weight) for weight in paths.weights]
        self._weights = None if weights is None else [(weights.get(hop, 1),) for hop in hops]
        scaled = any(scales[hop] != 1 for hop in live)
        self._scales = [(scale, scale) for scale in scales] if scaled else None

    def group(self, stages: tuple[int, ...], parts: Sequence[_Part]) -> _Group:
        """Return the classes that some stages make in the parts that are about them."""
        counts = self._product(parts, _COUNTS, [1] * len(self._monomials))
        lengths = self._product(parts, _LENGTHS, self._lengths)
        scales, scale_unit = self._whole(parts, _RANGES, self._scales)
        totals, total_unit = self._whole(parts, _SUMS, self._weights)
        classes = [
            PathClass(
                taken=exponents(key, stages),
                count=count,
                weights=lengths[key],
                scale=scales.get(key, (1, 1)),
                total=totals[key][0] if totals else count,
            )
            for key, count in counts.items()
        ]
        classes.sort(key=lambda found: (-found.total, found.taken))
        return _Group(stages, classes, scale_unit, total_unit)

    def _product(
        self, parts: Sequence[_Part], ring: Semiring[T], coefficients: Sequence[T]
    ) -> Polynomial[T]:
        product: Polynomial[T] = {0: ring.one}
        for part in parts:
            factor = of_part(self._paths, part, ring, self._monomials, coefficients)
            product = multiply(product, factor, ring)
        return product

    def _whole(
        self,
        parts: Sequence[_Part],
        ring: Semiring[_Numbers],
        coefficients: Sequence[_Numbers] | None,
    ) -> tuple[Polynomial[_Numbers], int]:
        """Return a product in whole numbers, and what they are to be divided by.

        To reduce fractions at every step would take most of the time: a hundred floats multiply to
        a denominator of thousands of bits.
        """
        if coefficients is None:
            return {}, 1
        product, unit = {0: ring.one}, 1
        for part in parts:
            factor = of_part(self._paths, part, ring, self._monomials, coefficients)
            common = math.lcm(*(x.denominator for value in factor.values() for x in value))
            for key, value in factor.items():
                factor[key] = tuple(x.numerator * (common // x.denominator) for x in value)
            product, unit = multiply(product, factor, ring), unit * common
        return product, unit


# --- combined -----------------------------------------------------------------------------------


def _iter_choices(totals: list[list[_Exact]]) -> Iterator[tuple[int, ...]]:
    """Yield one index into each list, the largest product first, ties by the indices.

    Each list descends. A choice follows from the one with its last index that is not 0 one less,
    which is no smaller: so all that may come next has already been offered, and once.
    """
    first = (0,) * len(totals)
    waiting = [(-math.prod(numbers[0] for numbers in totals), first)]
    while waiting:
        _, chosen = heapq.heappop(waiting)
        yield chosen
        last = max((i for i, index in enumerate(chosen) if index), default=0)
        for i in range(last, len(totals)):
            if chosen[i] + 1 < len(totals[i]):
                following = (*chosen[:i], chosen[i] + 1, *chosen[i + 1 :])
                product = math.prod(totals[j][index] for j, index in enumerate(following))
                heapq.heappush(waiting, (-product, following))


def _combined(groups: list[_Group], chosen: tuple[int, ...]) -> PathClass:
    classes = [group.classes[i] for group, i in zip(groups, chosen, strict=True)]
    taken = dict(
        pair
        for group, found in zip(groups, classes, strict=True)
        for pair in zip(group.stages, found.taken, strict=True)
    )
    scale: _Numbers = (1, 1)
    for found in classes:
        scale = _range_of_products(scale, found.scale)
    scale_unit = math.prod(group.scale_unit for group in groups)
    total = math.prod(found.total for found in classes)
    return PathClass(
        taken=tuple(taken[stage] for stage in sorted(taken)),
        count=math.prod(found.count for found in classes),
        weights=(sum(c.weights[0] for c in classes), sum(c.weights[1] for c in classes)),
        scale=(Fraction(scale[0], scale_unit), Fraction(scale[1], scale_unit)),
        total=Fraction(total, math.prod(group.total_unit for group in groups)),
    )
