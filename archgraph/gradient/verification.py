"""The self-check of every recorded pass: the tape against the compiled module."""

from __future__ import annotations

import torch

from archgraph.errors import GradientError
from archgraph.gradient.bundle import Bundle, difference, is_finite, norm
from archgraph.gradient.reference import Reference
from archgraph.gradient.tape import Tape
from archgraph.gradient.tolerance import Tolerance, tolerance_of

__all__ = ["verify"]


def verify(tape: Tape, reference: Reference) -> None:
    """Hold the tape's outputs, loss and gradients against an ordinary pass of the module.

    Raises:
        GradientError: they differ by more than rounding, so that no result of the tape is shown.

    Cost: one backward pass; a second one if terms cancel.
    """
    tolerance = tolerance_of(tape.dtype)
    largest = max((norm(v) for v in tape.values if is_finite(v)), default=0.0)
    names = [name for name, _ in tape.graph.outputs]
    for name, ours, theirs in zip(names, tape.outputs(), reference.outputs, strict=True):
        _expect(f"the output {name!r}", {0: ours}, {0: theirs}, tolerance, largest)
    terms = sum(abs(float(term)) for term in tape.loss_terms if term.isfinite())
    _expect("the loss", {0: tape.loss}, {0: reference.loss}, tolerance, terms)
    gradients = _by_name(tape)
    doubtful = [
        name
        for name, expected in reference.gradients.items()
        if not _agree(gradients.get(name, {}), expected, tolerance)
    ]
    if doubtful:
        uncancelled = _by_name(tape, absolute=True)
        for name in doubtful:
            found, expected = gradients.get(name, {}), reference.gradients[name]
            size = norm(uncancelled.get(name, {}))
            _expect(f"∂L/∂{name}", found, expected, tolerance, size)


def _expect(
    what: str, found: Bundle, expected: Bundle, tolerance: Tolerance, uncancelled: float
) -> None:
    """Raise unless both agree, to rounding of what would be there if no terms cancelled."""
    if not _agree(found, expected, tolerance, uncancelled):
        raise GradientError(
            f"{what} is {norm(found):.6g} in norm when recorded node by node, and "
            f"{norm(expected):.6g} when the network is run as a whole (they are "
            f"{norm(difference(found, expected)):.3g} apart), so nothing is shown; does a layer "
            "change its input in place, or give another result when it is called again?"
        )


def _agree(found: Bundle, expected: Bundle, tolerance: Tolerance, uncancelled: float = 0.0) -> bool:
    if not (is_finite(found) and is_finite(expected)):
        return _same(found, expected)
    error = norm(difference(found, expected))
    allowed = tolerance.module * max(norm(found), norm(expected))
    return error <= max(allowed, tolerance.cancelled * uncancelled)


def _same(found: Bundle, expected: Bundle) -> bool:
    """Whether both have the same infinite and undefined elements, which have no distance."""
    return found.keys() == expected.keys() and all(
        torch.allclose(found[k], expected[k], rtol=1e-3, equal_nan=True) for k in found
    )


def _by_name(tape: Tape, *, absolute: bool = False) -> dict[str, Bundle]:
    cotangents = tape.cotangents(absolute=absolute)
    nodes = tape.graph.nodes
    by_node = {nodes[position].name: bundle for position, bundle in cotangents.nodes.items()}
    return {**by_node, **{name: {0: t} for name, t in cotangents.parameters.items()}}
