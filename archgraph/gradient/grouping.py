"""The gradient split into groups of paths: by grade, and by loss term."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Final

import torch
from torch import Tensor

from archgraph.errors import GradientError, UsageError
from archgraph.gradient.bundle import Bundle, difference, inner, norm
from archgraph.gradient.flow import ROUNDING, ZERO, backward_sweep
from archgraph.gradient.grades import Coefficients, Progress, graded_gradient
from archgraph.gradient.parts import Decomposition, Part, cancelling
from archgraph.gradient.routes import gradient_at, uncancelled
from archgraph.gradient.tape import Tape
from archgraph.gradient.tolerance import tolerance_of
from archgraph.graph import LOSS, Graph
from archgraph.paths.count import count_by, role_degrees
from archgraph.paths.walk import Walk, walk

__all__ = ["GRADES", "by_grade"]

GRADES: Final = ("weights", "skips", "branches", "loss")


def by_grade(
    tape: Tape,
    wrt: str,
    by: str | Mapping[str, int],
    *,
    of: str = LOSS,
    seed: Tensor | None = None,
    memory_bytes: int | None = None,
    progress: Progress | None = None,
) -> Decomposition:
    """Split a gradient by the sum of a degree over each path's edges; see `decompose`."""
    paths = walk(tape.graph, wrt, of)
    degrees = _degrees(tape.graph, paths, by, of)
    whole = gradient_at(tape, backward_sweep(tape, paths, wrt, of, seed), wrt)
    coefficients = graded_gradient(
        tape,
        paths,
        wrt,
        degrees,
        tape.seed(of, seed),
        memory_bytes=memory_bytes,
        progress=progress,
    )
    parts = _parts(coefficients, whole, count_by(paths, degrees))
    found = Decomposition(wrt, by if isinstance(by, str) else "degree", norm(whole), parts, 0.0)
    found = _checked(found, tape, coefficients, whole, of, seed)
    return _by_term(found, tape.graph, coefficients) if by == "loss" else found


def _degrees(graph: Graph, paths: Walk, by: str | Mapping[str, int], of: str) -> Sequence[int]:
    if by == "weights":
        return paths.weights
    if by == "loss":
        if of != LOSS:
            raise UsageError(f"the terms of the loss are those of 'L', and not of {of!r}")
        place = {edge: i for i, edge in enumerate(graph.into[graph.loss_position])}
        return [place.get(hop, 0) for hop in range(len(paths.hops))]
    if isinstance(by, str):
        return role_degrees(paths, "skip" if by == "skips" else "branch")
    for edge, degree in by.items():
        if edge not in {hop.id for hop in paths.hops}:
            graph.edge(edge)  # says what it may have been
        if isinstance(degree, bool) or not isinstance(degree, int) or degree < 0:
            raise UsageError(f"the degree of edge {edge!r} is {degree!r}, and not 0, 1, 2 or so")
    return [by.get(hop.id, 0) for hop in paths.hops]


def _parts(
    coefficients: Coefficients, whole: Bundle, counts: Mapping[int, int]
) -> tuple[Part, ...]:
    size = norm(whole)
    unit = {k: (t.double() / (size or 1.0)).to(t.dtype) for k, t in whole.items()}
    grades = sorted({grade for graded in coefficients.values() for grade in graded.grades})
    parts = []
    for grade in grades:
        norms, products = [], []
        for element, row, exponent in _rows(coefficients, grade):
            part = {element: row}
            norms.append(math.ldexp(norm(part), exponent))
            products.append(math.ldexp(inner(part, unit), exponent))
        share = sum(products) / size if size else None
        parts.append(Part(grade, math.hypot(*norms), share, counts.get(grade)))
    return tuple(parts)


def _rows(coefficients: Coefficients, grade: int) -> Iterator[tuple[int, Tensor, int]]:
    """Yield a grade's coefficient for each element that has one, and its exponent."""
    for element, graded in coefficients.items():
        if grade in graded.grades:
            row = graded.grades.index(grade)
            yield element, graded.stack[row], graded.exponents[row]


def _checked(
    found: Decomposition,
    tape: Tape,
    coefficients: Coefficients,
    whole: Bundle,
    of: str,
    seed: Tensor | None,
) -> Decomposition:
    """Return the result with its residual.

    Raises:
        GradientError: the parts do not add up to the gradient.
    """
    error = norm(difference(_sum(coefficients), whole))
    scale = sum(part.norm for part in found.parts)
    note = None if found.norm else ZERO.format(of=of, wrt=found.wrt)
    tolerance = tolerance_of(tape.dtype)
    if not error <= tolerance.algebra * scale:
        scale = max(scale, uncancelled(tape, found.wrt, of, seed))
        if found.norm <= tolerance.cancelled * scale:
            note = ROUNDING.format(of=of, wrt=found.wrt)
            found = replace(found, parts=tuple(replace(p, share=None) for p in found.parts))
    if not error <= tolerance.algebra * scale:
        raise GradientError(
            f"the {len(found.parts)} parts of ∂{of}/∂{found.wrt} do not add up to it (off by "
            f"{error:.3g}, their norms add up to {scale:.3g}), so they are not shown"
        )
    residual = error / scale if scale else 0.0
    return replace(found, residual=residual, note=note or cancelling(found.parts))


def _sum(coefficients: Coefficients) -> Bundle:
    total = {}
    for element, graded in coefficients.items():
        pairs = zip(graded.stack, graded.exponents, strict=True)
        rows = [_value(row, exponent) for row, exponent in pairs]
        total[element] = torch.stack(rows).sum(0)
    return total


def _value(coefficient: Tensor, exponent: int) -> Tensor:
    return coefficient.double() * math.ldexp(1.0, min(exponent, 1023))


def _by_term(found: Decomposition, graph: Graph, coefficients: Coefficients) -> Decomposition:
    """Name the parts by the terms of L, and say how far their gradients agree."""
    grades = sorted({grade for graded in coefficients.values() for grade in graded.grades})
    names = {grade: graph.loss[grade].name for grade in grades}
    bundles = {
        name: {k: _value(row, exponent) for k, row, exponent in _rows(coefficients, grade)}
        for grade, name in names.items()
    }
    cosines = {}
    for (one, left), (other, right) in combinations(bundles.items(), 2):
        sizes = norm(left), norm(right)
        if all(sizes):
            cosines[one, other] = inner(left, right, sizes) / sizes[0] / sizes[1]
    named = zip(found.parts, names.values(), strict=True)
    parts = tuple(replace(part, key=name) for part, name in named)
    return replace(found, parts=parts, cosines=cosines)
