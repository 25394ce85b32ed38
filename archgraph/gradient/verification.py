"""The self-check of every recorded pass: the tape against the compiled module."""

from __future__ import annotations

import math

import torch

from archgraph.errors import GradientError
from archgraph.gradient.bundle import Bundle, difference, differentiable, fingerprint, norm
from archgraph.gradient.reference import Print, Reference
from archgraph.gradient.tape import Cotangents, Tape
from archgraph.gradient.tolerance import Tolerance, tolerance_of

__all__ = ["verify"]


def verify(tape: Tape, reference: Reference) -> None:
    """Hold the tape's outputs, loss and gradients against an ordinary pass of the module.

    Raises:
        GradientError: they differ by more than rounding, so that no result of the tape is shown.

    Cost: one backward pass; a second one if terms cancel.
    """
    tolerance = tolerance_of(tape.dtype)
    sizes = [norm({k: t for k, t in value.items() if differentiable(t)}) for value in tape.values]
    largest = max((size for size in sizes if math.isfinite(size)), default=0.0)
    names = [name for name, _ in tape.graph.outputs]
    for name, ours, theirs in zip(names, tape.outputs(), reference.outputs, strict=True):
        _expect(f"the output {name!r}", {0: ours}, {0: theirs}, tolerance, largest)
    terms = sum(abs(float(term)) for term in tape.loss_terms if term.isfinite())
    _expect("the loss", {0: tape.loss}, {0: reference.loss}, tolerance, terms)
    tape.swept = tape.cotangents(edges=True)
    gradients = _by_name(tape, tape.swept)
    doubtful = [
        name
        for name, expected in reference.gradients.items()
        if not _agree(gradients.get(name, {}), expected, tolerance)
    ]
    seen = [
        name
        for name, expected in reference.prints.items()
        if not _alike(gradients.get(name, {}), expected, tolerance)
    ]
    if doubtful or seen:
        uncancelled = _by_name(tape, tape.cotangents(absolute=True))
        for name in doubtful:
            found, expected = gradients.get(name, {}), reference.gradients[name]
            size = norm(uncancelled.get(name, {}))
            _expect(f"∂L/∂{name}", found, expected, tolerance, size)
        for name in seen:
            size = norm(uncancelled.get(name, {}))
            if not _alike(gradients.get(name, {}), reference.prints[name], tolerance, size):
                expected_norm = _norm_of(reference.prints[name])
                raise _refusal(f"∂L/∂{name}", norm(gradients.get(name, {})), expected_norm)


def _expect(
    what: str, found: Bundle, expected: Bundle, tolerance: Tolerance, uncancelled: float
) -> None:
    """Raise unless both agree, to rounding of what would be there if no terms cancelled."""
    if not _agree(found, expected, tolerance, uncancelled):
        apart = norm(difference(found, expected))
        raise _refusal(what, norm(found), norm(expected), f" (they are {apart:.3g} apart)")


def _refusal(what: str, found: float, expected: float, apart: str = "") -> GradientError:
    return GradientError(
        f"{what} is {found:.6g} in norm when recorded node by node, and {expected:.6g} when the "
        f"network is run as a whole{apart}, so nothing is shown; does a layer change its input in "
        "place, or give another result when it is called again?"
    )


def _agree(found: Bundle, expected: Bundle, tolerance: Tolerance, uncancelled: float = 0.0) -> bool:
    if found.keys() == expected.keys() and all(torch.equal(found[k], expected[k]) for k in found):
        return True
    error = norm(difference(found, expected))
    sizes = norm(found), norm(expected)
    if not all(map(math.isfinite, (error, *sizes))):
        return _same(found, expected)
    return error <= max(tolerance.module * max(sizes), tolerance.cancelled * uncancelled)


def _alike(found: Bundle, seen: Print, tolerance: Tolerance, uncancelled: float = 0.0) -> bool:
    """Whether a gradient has the norm and the random product that were seen."""
    for element in found.keys() | seen.keys():
        tensor = found.get(element)
        size, product = (0.0, 0.0) if tensor is None else fingerprint(tensor)
        expected, other = seen.get(element, (0.0, 0.0))
        allowed = max(tolerance.module * max(size, expected), tolerance.cancelled * uncancelled)
        if not all(map(math.isfinite, (size, expected))):
            if str(size) != str(expected):  # nan, inf or a number
                return False
        elif not max(abs(size - expected), abs(product - other)) <= 10 * allowed:
            return False  # such a product is hardly ever ten times as large as the norm
    return True


def _norm_of(seen: Print) -> float:
    return math.sqrt(sum(size * size for size, _ in seen.values()))


def _same(found: Bundle, expected: Bundle) -> bool:
    """Whether both have the same infinite and undefined elements, which have no distance."""
    return found.keys() == expected.keys() and all(
        torch.allclose(found[k], expected[k], rtol=1e-3, equal_nan=True) for k in found
    )


def _by_name(tape: Tape, cotangents: Cotangents) -> dict[str, Bundle]:
    nodes = tape.graph.nodes
    by_node = {nodes[position].name: bundle for position, bundle in cotangents.nodes.items()}
    return {**by_node, **{name: {0: t} for name, t in cotangents.parameters.items()}}
