"""Sums over all paths, estimated from a sample: for what no dynamic programme can add up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from archgraph.errors import UsageError
from archgraph.graph import LOSS
from archgraph.numbers import Number
from archgraph.paths.enumerate import Path, json_number
from archgraph.paths.sample import Sampler
from archgraph.paths.walk import Walkers, walk
from archgraph.paths.weight import EdgeWeight

__all__ = ["Estimate", "estimate", "estimate_by"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A sum over paths, as a sample tells it."""

    value: Number
    """A float, or a `Fraction` where a float would overflow."""
    standard_error: Number
    samples: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "value": json_number(self.value),
            "standard_error": json_number(self.standard_error),
            "samples": self.samples,
        }


def estimate(
    graph: Walkers,
    wrt: str | None,
    f: Callable[[Path], Number],
    samples: int = 1000,
    seed: int = 0,
    *,
    proportional_to: EdgeWeight | None = None,
    of: str = LOSS,
) -> Estimate:
    """Estimate Σ f(p) over all paths p from a sample, without bias.

    Paths are drawn with probability π(p) = w(p)/Σw, w the product of the weights of a path's edges,
    and the estimate is the mean of f(p)/π(p) (Hansen and Hurwitz). The nearer f is to a multiple
    of w, the smaller the error; it is zero if it is one.

    Args:
        graph: A graph, a view, or a walk (which already knows both ends).
        wrt: A node, an input or a parameter.
        f: A number for each path. Where w is zero it must be zero too: such paths are never drawn.
        samples: How many paths are drawn, at least 2.
        seed: The same seed gives the same estimate.
        proportional_to: A non-negative weight for each edge; 1 by default, by which all paths are
            equally likely.
        of: The node where the paths end, the loss by default.

    Returns:
        The estimate, and its standard error from the spread of the sample.

    Raises:
        TargetError: `wrt` or `of` is not in the graph, or no gradient is defined there.
        UsageError: there are fewer than 2 samples, a weight is negative or no finite number, f
            gives no finite number, or there is no path to draw.

    Cost: O(edges), and for each sample O(length · log out-degree) and one call of f.

    Example:
        >>> from archgraph.spec import load
        >>> found = estimate(load("scaled_residual"), "x0", lambda path: path.weights, samples=400)
        >>> round(found.value), round(found.standard_error)  # of 256 paths with 4 on average: 1024
        (1025, 18)

    References:
        M. H. Hansen and W. N. Hurwitz, On the theory of sampling from finite populations, Annals of
        Mathematical Statistics 14 (1943).
    """
    found = estimate_by(
        graph,
        wrt,
        f,
        lambda path: 0,
        samples,
        seed,
        proportional_to=proportional_to,
        of=of,
    )
    return found[0]


def estimate_by(
    graph: Walkers,
    wrt: str | None,
    f: Callable[[Path], Number],
    key: Callable[[Path], int],
    samples: int = 1000,
    seed: int = 0,
    *,
    proportional_to: EdgeWeight | None = None,
    of: str = LOSS,
) -> dict[int, Estimate]:
    """Estimate Σ f(p) over the paths of each key apart, all from one sample, without bias.

    Args:
        graph: As in `estimate`, and so are the other arguments.
        wrt: A node, an input or a parameter.
        f: A number for each path.
        key: What the paths are told apart by, such as their number of weight layers.
        samples: How many paths are drawn, at least 2, whatever their keys.
        seed: The same seed gives the same estimates.
        proportional_to: A non-negative weight for each edge.
        of: The node where the paths end, the loss by default.

    Returns:
        The estimates by key, ascending; a key of which no path was drawn is estimated as 0 and left
        out. The errors of two keys are not independent.

    Raises:
        TargetError: As `estimate`.
        UsageError: As `estimate`.

    Cost: that of one `estimate`.
    """
    if samples < 2:
        raise UsageError(f"asked for {samples} samples; an error can be told from 2 or more")
    sampler = Sampler(walk(graph, wrt, of), proportional_to)
    terms: dict[int, list[tuple[float, int]]] = {}
    for path in sampler.draw(samples, seed):
        terms.setdefault(key(path), []).append(_quotient(*_term(sampler, path, f(path))))
    return {k: _estimate(terms[k], samples) for k in sorted(terms)}


def _estimate(terms: list[tuple[float, int]], samples: int) -> Estimate:
    """Return the mean over all samples of terms that are zero for those that are not listed."""
    # Beyond the range of floats they are brought to the size of the largest.
    largest = max(exponent for _, exponent in terms)
    values = [math.ldexp(mantissa, exponent - largest) for mantissa, exponent in terms]
    mean = math.fsum(values) / samples
    squares = math.fsum((value - mean) ** 2 for value in values)
    squares += (samples - len(values)) * mean**2
    error = math.sqrt(squares / (samples - 1) / samples)
    return Estimate(_scaled(mean, largest), _scaled(error, largest), samples)


def _term(sampler: Sampler, path: Path, value: Number) -> tuple[int, int]:
    """Return numerator and denominator of f(p)/π(p), not reduced."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"the function to be added up is {value} at the path {path!r}")
    exact = Fraction(value)
    weights = sampler.weights or {}
    used = [weights[hop] for hop in path.edge_indices] if weights else []
    top = exact.numerator * sampler.total.numerator
    bottom = exact.denominator * sampler.total.denominator
    return (
        top * math.prod(weight.denominator for weight in used),
        bottom * math.prod(weight.numerator for weight in used),
    )


def _quotient(top: int, bottom: int) -> tuple[float, int]:
    """Return a quotient of integers of any size as a float of moderate size and a power of two."""
    exponent = top.bit_length() - bottom.bit_length()
    if exponent > 0:
        return top / (bottom << exponent), exponent
    return (top << -exponent) / bottom, exponent


def _scaled(value: float, exponent: int) -> Number:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return Fraction(value) * (1 << exponent)
