"""The self-check of every recorded pass: the tape against the compiled module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from archgraph.errors import GradientError
from archgraph.gradient.bundle import Bundle, accumulate, difference, is_finite, norm
from archgraph.gradient.reference import Reference
from archgraph.gradient.tolerance import tolerance_of

if TYPE_CHECKING:
    from archgraph.gradient.tape import Tape

__all__ = ["verify"]


def verify(tape: Tape, reference: Reference) -> None:
    """Hold the tape's outputs, loss and gradients against an ordinary pass of the module.

    Raises:
        GradientError: they differ by more than rounding, so that no result of the tape is shown.

    Cost: one backward pass; a second one if terms cancel.
    """
    tolerance = tolerance_of(tape.dtype)
    ours = dict(enumerate(tape.outputs()))
    theirs = dict(enumerate(reference.outputs))
    _compare("the outputs", ours, theirs, tolerance.module)
    # L is a sum of terms of either sign, so what is lost by cancelling is no error of the tape.
    size = sum(abs(float(term)) for term in tape.loss_terms)
    _compare("the loss", {0: tape.loss}, {0: reference.loss}, tolerance.module, floor=size)
    gradients = _by_name(tape)
    failed = []
    for name, expected in reference.gradients.items():
        found = gradients.get(name, {})
        if _error(found, expected) > tolerance.module * max(norm(found), norm(expected)):
            failed.append(name)
    if not failed:
        return
    uncancelled = _by_name(tape, absolute=True)
    for name in failed:
        found, expected = gradients.get(name, {}), reference.gradients[name]
        if not _error(found, expected) <= tolerance.cancelled * norm(uncancelled.get(name, {})):
            _refuse(f"∂L/∂{name}", found, expected)
