"""Do real networks have the gradients that are predicted of them?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from archgraph.errors import UsageError
from archgraph.graph import Graph
from archgraph.measurement import Measurement, measure
from archgraph.measurement.results import plain
from archgraph.module import infer
from archgraph.prediction import Prediction, predict
from archgraph.prediction.cost import cost_of
from archgraph.prediction.methods import choose_method
from archgraph.prediction.plan import make_plan

__all__ = ["Row", "Statistics", "affordable_networks", "check_statistics", "holm"]

NETWORKS: Final = (50, 200)
"""Fewest and most networks, if nobody says how many."""
BUDGET: Final = 6e9
"""Nanoseconds that are spent if nobody asked for statistics."""
DRAW: Final = 3e6
"""Nanoseconds for building a network, whatever its size."""
ENTRY: Final = 30.0
"""Nanoseconds for drawing one of its weights and differentiating by it."""
WIDTH: Final = 3.0
"""Standard errors of the difference within which a row is as predicted."""
LEVEL: Final = 1e-3
"""Chance of the verdict to be wrong where every prediction is right."""
ROUNDING: Final = 1e-6
"""Relative size of what is rounding: weights are drawn in float32."""
CANCELLED: Final = 1e-10
"""Size of what is left of a sum that cancels, relative to the sum."""

Progress = Callable[[int, int], None]
Method = Literal["auto", "limit", "finite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One prediction against what was measured: a node's energy, or a parameter's rms."""

    predicted: float
    measured: float
    standard_error: float
    """Of the difference."""
    bias: float
    """How far the prediction may be off by what its method leaves out; 0 for an exact one."""
    slack: float
    """What is rounding."""
    p: float
    """Chance of a Gaussian difference as large, if the prediction is right; adjusted for all rows
    by Holm's rule."""

    @property
    def ok(self) -> bool:
        """Whether the two are within three standard errors of the difference, and the bias."""
        return self.distance <= WIDTH

    @property
    def distance(self) -> float:
        """How many standard errors the two are apart, beyond bias and rounding."""
        return _distance(self.predicted, self.measured, self.standard_error, self.bias, self.slack)


@dataclass(frozen=True)
class Statistics:
    """Predictions against measurements, row by row. Made by `check_statistics`."""

    rows: Mapping[str, Row]
    """By node and parameter."""
    method: str
    """Of the prediction."""
    networks: int
    """How many were simulated, and how many drawn."""
    level: float = LEVEL

    @property
    def ok(self) -> bool:
        """Whether no row contradicts its prediction, at `level` for all rows together.

        One row in 370 is not `ok` by chance, so a few of many say nothing.
        """
        return not self.rejected

    @property
    def rejected(self) -> list[str]:
        """The rows that contradict their prediction."""
        return [name for name, row in self.rows.items() if not row.p > self.level]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: the rows."""
        return {
            name: {
                "predicted": plain(row.predicted),
                "measured": plain(row.measured),
                "standard_error": plain(row.standard_error),
                "bias": row.bias,
                "p": plain(row.p),
                "ok": row.ok,
            }
            for name, row in self.rows.items()
        }


def check_statistics(
    graph: Graph,
    *,
    networks: int | None = None,
    batch: int = 4,
    seed: int = 0,
    train: bool = False,
    method: Method = "auto",
    progress: Progress | None = None,
) -> Statistics:
    """Predict every gradient, measure it in as many real networks, and hold one against the other.

    As many networks are drawn as are simulated: energies are far from Gaussian, but the difference
    of two alike means is symmetric, so that its standard error keeps what it promises.

    Args:
        graph: The network.
        networks: How many are simulated and drawn, at least 2; by default 200.
        batch: Number of examples.
        seed: Of the first network.
        train: Whether dropout is active and norms use the statistics of the batch.
        method: Of the prediction.
        progress: Called with (networks done, networks in all).

    Raises:
        SpecError: the graph's shapes do not fit.
        UsageError: an argument is no choice, or there is nothing but bounds to check.
        GradientError: torch refuses a pass.

    Cost: `networks` simulations, and as many real forward and backward passes.

    References:
        S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6
        (1979).
    """
    count = NETWORKS[1] if networks is None else networks
    if count < 2:
        raise UsageError("statistics need at least 2 networks")

    chosen = choose_method(graph, batch)[0] if method == "auto" else method
    if chosen == "bounds":
        raise UsageError("the network is too large to be simulated, so there are no statistics")
    # Of another seed than any network's, or the two would share their random numbers.
    predicted = predict(
        graph,
        method=chosen,
        batch=batch,
        seed=seed + 1,
        samples=count if chosen == "finite" else None,
        train=train,
        progress=_part(progress, 0, 2 * count) if chosen == "finite" else None,
    )
    seeds = range(seed, seed + count)
    moved = _part(progress, count, 2 * count)
    measured = measure(graph, seeds=seeds, batch=batch, train=train, progress=moved)
    names, pairs = zip(*_pairs(graph, predicted, measured), strict=True)
    adjusted = holm([math.erfc(_distance(*pair) / math.sqrt(2)) for pair in pairs])
    rows = {
        name: Row(predicted=a, measured=b, standard_error=error, bias=bias, slack=slack, p=p)
        for name, (a, b, error, bias, slack), p in zip(names, pairs, adjusted, strict=True)
    }
    return Statistics(rows, predicted.method, count)


def _part(progress: Progress | None, start: int, total: int) -> Progress | None:
    return None if progress is None else lambda done, _: progress(start + done, total)


def affordable_networks(graph: Graph, batch: int) -> int | None:
    """Return how many networks take a few seconds, None if fewer than are worth it."""
    simulated = cost_of(make_plan(graph, batch=batch), batch).nanoseconds
    each = 2 * simulated + DRAW + ENTRY * infer(graph).total
    fewest, most = NETWORKS
    count = int(BUDGET / each)
    return None if count < fewest else min(most, count)


_Pair = tuple[float, float, float, float, float]
"""Predicted, measured, standard error of the difference, bias, and what is rounding."""


def _pairs(
    graph: Graph, predicted: Prediction, measured: Measurement
) -> Iterator[tuple[str, _Pair]]:
    for name, node in predicted.nodes.items():
        found = measured.nodes[name]
        if node.energy is None:
            continue
        error = math.hypot(node.standard_error or 0.0, found.standard_error or 0.0)
        bias = node.energy * math.expm1(node.allowance)
        slack = ROUNDING * max(node.energy, found.energy)
        yield name, (node.energy, found.energy, error, bias, slack)
    for name, parameter in predicted.parameters.items():
        if name in predicted.nodes or name not in measured.parameters:
            continue
        other = measured.parameters[name]
        error = math.hypot(parameter.standard_error or 0.0, other.standard_error or 0.0)
        users = [graph.nodes[position].name for position, _ in graph.parameter_users[name]]
        allowance = max((predicted.nodes[user].allowance for user in users), default=0.0)
        # A bias before a BatchNorm has the gradient zero, and what is there is rounding.
        largest = max((measured.health[user].norm for user in users), default=0.0)
        slack = max(ROUNDING * max(parameter.rms, other.rms), CANCELLED * largest)
        bias = parameter.rms * math.expm1(allowance / 2)
        yield name, (parameter.rms, other.rms, error, bias, slack)


def _distance(predicted: float, measured: float, error: float, bias: float, slack: float) -> float:
    excess = abs(predicted - measured) - bias - slack
    if not math.isfinite(excess):
        return math.inf
    if excess <= 0:
        return 0.0
    return excess / error if error > 0 else math.inf


def holm(chances: Iterable[float]) -> list[float]:
    """Return p-values adjusted for being many, by Holm's step-down rule.

    Rejecting what is adjusted to at most α rejects a true hypothesis with chance α at most,
    however the tests depend on each other.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    values = list(chances)
    adjusted = [0.0] * len(values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return adjusted
