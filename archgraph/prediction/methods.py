"""Predict the gradient of a network that does not exist yet."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Literal, NamedTuple, cast

import torch

from archgraph.errors import UsageError
from archgraph.graph import Graph
from archgraph.measurement import reference_of
from archgraph.prediction.bounds import bound_gradients
from archgraph.prediction.cost import Cost, cost_of
from archgraph.prediction.draws import sweep_networks
from archgraph.prediction.plan import CoreKind, Plan, make_plan
from archgraph.prediction.population import Population
from archgraph.prediction.results import Method, Prediction
from archgraph.prediction.summary import summarize
from archgraph.prediction.sweep import Grade, Sweep, sweep

__all__ = ["choose_method", "predict"]

Progress = Callable[[int, int], None]

BATCH: Final = 4
"""Examples, if nobody says how many and so many fit into memory."""
BUDGET: Final = 1e10
"""Nanoseconds that are spent if nobody says how many networks there should be."""
LONG: Final = 1.2e11
"""Nanoseconds from which a cheaper method is looked for, if nobody says which."""
NETWORKS: Final = (8, 1000)
"""Fewest and most networks that are simulated if nobody says how many."""
REAL: Final = 100
"""Real networks that are drawn if nobody says how many."""
PARTICLES: Final = 100_000
POPULATIONS: Final = (8, 16)
"""Fewest and most independent populations of particles; the standard error is of their spread."""
LARGE: Final = 1e9
"""Nanoseconds of one network from which several threads are worth it, and float32 is enough."""
PATIENCE: Final = 30.0
"""Seconds from which it is said beforehand what will take so long."""
MEMORY: Final = 2.5e8
"""Bytes of the networks that are simulated side by side."""
MOST: Final = 4e9
"""Bytes of one network that are too many."""


def predict(
    graph: Graph,
    *,
    method: Literal["auto", "bounds", "limit", "finite", "draws"] = "auto",
    batch: int | None = None,
    seed: int = 0,
    samples: int | None = None,
    train: bool = True,
    grade: Grade | None = None,
    matrices: Literal["drawn", "conditioned"] | None = None,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> Prediction:
    """Say how large the gradient will be at every node, and how sure that is; nothing is built.

    Expectations are over weights, inputs N(0, 1) (integers: uniform), dropout, and targets or the
    random readout. Four methods:

    * `bounds`: sums over paths of products of operator norms. Holds always, but for one matrix in
      a thousand networks, and says little; a norm or a softmax on the way leaves no bound.
    * `limit`: infinite width. Particles, one coordinate each, run through every layer but those
      with weights, which give fresh Gaussians of the right covariance, forwards and backwards:
      coherent within an elementwise block, incoherent across weights. Weights are independent of
      each other, zero-mean but for a constant, and shared ones drawn; where a layer is used at
      more than 256 examples and positions, their covariance is two averages. The gradients of
      learnable λ are left out, as they live on the correlations that the limit neglects.
    * `finite`: the network's own widths. What a Gaussian matrix does to the vectors that it meets
      is drawn, and the matrix is not (exact); small ones and others are drawn as they are.
    * `draws`: real networks, `archgraph.compile`d and differentiated, one for every seed.

    `auto` is `finite`, or `limit` for a network whose simulation would take minutes (`bounds` if
    not even that fits into memory). A layer that
    a method does not cover (recurrent nets, attention with its own projections, a user's class) is
    run as it is on drawn weights, and its node says `draws`: no graph is refused.

    Args:
        graph: The network.
        method: One of these.
        batch: Number of examples; by default 4, or fewer where one network would need more than
            4 GB.
        seed: Of everything that is drawn; torch's own random state stays as it is.
        samples: How many networks; in the limit how many particles per layer. By default as many
            as take about ten seconds, between 8 and 1000; 100 real networks; 100,000 particles.
        train: Whether dropout is active and norms use the statistics of the batch.
        grade: Also keep the paths apart by their number of `weights`, `skips` or `branches`.
        matrices: Treat all Gaussian matrices alike: `drawn`, or `conditioned` and never made.
            Both are exact; by default the cheaper one is taken.
        progress: Called with (done, in all).
        notice: Called once with what `auto` chose and why, before work of half a minute or more.

    Returns:
        Energies, second moments and shares with their standard errors, and which method each
        comes from.

    Raises:
        SpecError: the graph's shapes do not fit.
        UsageError: an argument is no choice.

    Cost: O(width · (batch · positions)²) per weight layer and network, where matrices are not made.

    Example:
        >>> from archgraph.spec import load
        >>> prediction = predict(load("scaled_residual", width=512, lam=0.5), batch=2, samples=64)
        >>> prediction.method, round(prediction.nodes["x.7.out"].energy, 1)  # λ² + 1
        ('finite', 1.2)

    References:
        Schoenholz et al. 2017, Deep Information Propagation (1611.01232): the limit. Davidson and
        Szarek 2001, Local operator theory, theorem II.13: norms of Gaussian matrices.
    """
    if method not in ("auto", "bounds", "limit", "finite", "draws"):
        raise UsageError(f"there is no method {method!r}: auto, bounds, limit, finite or draws")
    if (batch is not None and batch < 1) or (samples is not None and samples < 2):
        raise UsageError("a prediction needs a batch of at least 1 and at least 2 samples")
    if grade is not None and method in ("bounds", "draws"):
        raise UsageError(f"the method {method!r} does not keep paths apart by {grade}")
    batch = batch or _fitting_batch(graph)
    plan = make_plan(graph, batch=batch, matrices=cast("CoreKind | None", matrices))
    chosen, reason, seconds = (
        choose_method(graph, batch) if method == "auto" else Choice(method, "as asked", 0.0)
    )
    if notice is not None and seconds > PATIENCE:
        notice(f"method {chosen}: {reason}")
    bounds = bound_gradients(plan, reference_of(graph), train=train)
    found: Sweep | None = None
    if chosen == "limit":
        plan = make_plan(graph, batch=batch, limit=True)
    with torch.random.fork_rng(devices=[]):
        if chosen in ("limit", "finite"):
            size = _particles if chosen == "limit" else _networks
            population, cost = size(plan, samples, batch=batch, train=train)
            found = _populations(plan, population, cost, grade, progress, seed)
        elif chosen == "draws":
            found = sweep_networks(
                graph,
                networks=samples or REAL,
                batch=batch,
                seed=seed,
                train=train,
                progress=progress,
            )
    return summarize(
        plan,
        bounds,
        found,
        method=chosen,
        reason=reason,
        grade=grade,
        batch=batch,
        seed=seed,
        train=train,
    )


class Choice(NamedTuple):
    """A method, and what it costs."""

    method: Method
    reason: str
    seconds: float
    """Of the default number of samples, on one thread; roughly."""


def choose_method(graph: Graph, batch: int) -> Choice:
    """Choose a method by what it costs, and say why."""
    finite = cost_of(make_plan(graph, batch=batch), batch)
    seconds = NETWORKS[0] * finite.nanoseconds / 1e9
    fits = _bytes(finite) <= MOST
    if fits and seconds * 1e9 <= LONG:
        least = max(seconds, min(NETWORKS[1] * finite.nanoseconds, BUDGET) / 1e9)
        return Choice("finite", "it is exact at the network's own widths, and cheap enough", least)
    limit = cost_of(make_plan(graph, batch=batch, limit=True), batch)
    quicker = POPULATIONS[0] * limit.nanoseconds / 1e9
    if fits and quicker > seconds / 2:
        reason = "it is exact at the network's own widths, and the limit is no cheaper"
        return Choice("finite", reason, seconds)
    if _bytes(limit) <= MOST:
        reason = (
            f"{NETWORKS[0]} networks of its own widths would take about {seconds:.0f} s, "
            f"the limit about {quicker:.0f} s"
        )
        return Choice("limit", reason, quicker)
    reason = (
        f"one network's values would take about {_bytes(limit) / 1e9:.0f} GB, so nothing is "
        "simulated; --set smaller sizes for more than bounds"
    )
    return Choice("bounds", reason, 0.0)


def _bytes(cost: Cost) -> float:
    return cost.numbers * (4 if cost.nanoseconds >= LARGE else 8)


def _fitting_batch(graph: Graph) -> int:
    """Return the default batch, halved until one network fits into memory."""
    batch = BATCH
    while batch > 1 and _bytes(cost_of(make_plan(graph, batch=batch), batch)) > MOST:
        batch //= 2
    return batch


def _networks(
    plan: Plan, samples: int | None, *, batch: int, train: bool
) -> tuple[Population, Cost]:
    """Return how many networks are simulated, and what one costs."""
    cost = cost_of(plan, batch)
    fewest, most = NETWORKS
    networks = samples or min(most, max(fewest, int(BUDGET / cost.nanoseconds)))
    return Population(networks, 1, batch, train, limit=False), cost


def _particles(
    plan: Plan, samples: int | None, *, batch: int, train: bool
) -> tuple[Population, Cost]:
    """Return how many populations of particles are simulated in the limit, and what one costs."""
    widths = [
        w.matrix.groups * w.matrix.fan_out * w.matrix.positions for w in plan.weights.values()
    ]
    width = statistics.median(widths) if widths else 1
    particles = samples or PARTICLES
    fewest, most = POPULATIONS
    networks = min(most, max(fewest, math.ceil(particles / width)))
    replicas = max(1, math.ceil(particles / networks / width))
    population = Population(networks, replicas, batch, train, limit=True)
    return population, cost_of(plan, batch, replicas)


def _populations(
    plan: Plan,
    population: Population,
    cost: Cost,
    grade: Grade | None,
    progress: Progress | None,
    seed: int,
) -> Sweep:
    """Simulate in parts that fit into memory, and join them."""
    total = population.networks
    together = max(1, min(total, int(MEMORY / max(1.0, _bytes(cost)))))
    parts = []
    large = cost.nanoseconds >= LARGE
    with _working(None if large else 1, torch.float32 if large else torch.float64):
        for done in range(0, total, together):
            torch.manual_seed(seed * 1_000_003 + done)
            size = min(together, total - done)
            part = sweep(plan, replace(population, networks=size), grade)
            parts.append(_as_lists(part))
            if progress is not None:
                progress(done + size, total)
    return _joined(parts)


@contextmanager
def _working(threads: int | None, dtype: torch.dtype) -> Iterator[None]:
    """Run torch on so many threads, in this precision.

    In many small steps several threads wait longer than they work.
    """
    before, kind = torch.get_num_threads(), torch.get_default_dtype()
    try:
        torch.set_num_threads(threads or before)
        torch.set_default_dtype(dtype)
        yield
    finally:
        torch.set_default_dtype(kind)
        torch.set_num_threads(before)


_Key = tuple[str | int, ...]


def _as_lists(part: Sweep) -> dict[_Key, list[float]]:
    """Return a sweep's numbers; small tensors would leave holes in memory between large ones."""
    found: dict[_Key, list[float]] = {}
    for field in ("energies", "second_moments", "parameters"):
        found |= {(field, name): t.tolist() for name, t in getattr(part, field).items()}
    for index, pair in part.edges.items():
        found |= {("edges", index, i): t.tolist() for i, t in enumerate(pair)}
    for name, grades in part.grades.items():
        found |= {("grades", name, k): t.tolist() for k, t in grades.items()}
    return found


def _joined(parts: list[dict[_Key, list[float]]]) -> Sweep:
    result = Sweep()
    for key in parts[0]:
        values = torch.tensor([v for part in parts for v in part[key]], dtype=torch.float64)
        match key:
            case (str(field), str(name)):
                getattr(result, field)[name] = values
            case ("edges", int(index), 0):
                result.edges[index] = (values, values)
            case ("edges", int(index), _):
                result.edges[index] = (result.edges[index][0], values)
            case (_, str(name), int(grade)):
                result.grades.setdefault(name, {})[grade] = values
    return result
