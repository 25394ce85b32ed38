"""Diagnose a network: run it once, split its gradient, and try every rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from archgraph.diagnosis.balance import balance
from archgraph.diagnosis.examination import Examination, examine
from archgraph.diagnosis.finding import Finding, fold
from archgraph.diagnosis.links import find_detached, find_odd_scales
from archgraph.diagnosis.precision import FORMATS, lose
from archgraph.diagnosis.quiet import find_quiet_inputs, find_quiet_weights
from archgraph.diagnosis.result import Diagnosis, Verdict
from archgraph.diagnosis.skips import extreme_run, find_missing_skips, find_odd_stretches
from archgraph.diagnosis.units import find_dead, find_saturated
from archgraph.diagnosis.weights import find_odd_weights
from archgraph.gradient import Tape, run_once
from archgraph.graph import Graph
from archgraph.paths import count_histograms, count_paths
from archgraph.paths.target import first_target

__all__ = ["diagnose", "diagnose_pass"]

RELATIVE: Final = 1e3
"""By how much a gradient may change from the output to the target, per element."""
ABSOLUTE: Final = (1e-7, 1e3)
"""Below which root mean square per element a gradient counts as vanished, and above which as
exploded, whatever it is at the output."""


def diagnose(
    graph: Graph,
    wrt: str | None = None,
    *,
    batch: int = 4,
    seed: int = 0,
    dtype: str = "float64",
    train: bool = True,
    relative: float = RELATIVE,
    progress: Callable[[int, int], None] | None = None,
) -> Diagnosis:
    """Say whether the gradient arrives, how, and what stands in its way.

    The network is drawn once and run once; what is said is measured, not predicted.

    Args:
        graph: The network.
        wrt: Where the gradient must arrive: a node or an input. By default the first input of
            floats, or the first layer that has a gradient.
        batch: Number of examples.
        seed: Of the weights, the batch and the dropout masks.
        dtype: `float64` or `float32`.
        train: Whether dropout is active and norms use the statistics of the batch.
        relative: By how much the gradient per element may change from the output to `wrt` before
            it is said to vanish or to explode.
        progress: Called with (nodes passed, nodes on the paths).

    Raises:
        SpecError: the shapes do not fit.
        TargetError: there is no `wrt`, or no path from it.
        GradientError: the gradient cannot be split.

    Cost: about six backward passes, and a slope of every activation.
    """
    tape = run_once(graph, batch=batch, seed=seed, dtype=dtype, train=train)
    return diagnose_pass(tape, wrt, seed=seed, relative=relative, progress=progress)


def diagnose_pass(
    tape: Tape,
    wrt: str | None = None,
    *,
    seed: int = 0,
    relative: float = RELATIVE,
    progress: Callable[[int, int], None] | None = None,
) -> Diagnosis:
    """Diagnose a pass that was recorded: weights and data may be any. As `diagnose`."""
    graph = tape.graph
    target = graph.value_name(wrt) if wrt is not None else first_target(graph)
    seen = examine(tape, target, progress=progress)
    ratio = seen.headline.rms / reference if (reference := seen.node_rms(seen.reference)) else None
    run = extreme_run(seen.stretches)
    verdict = _verdict(seen, ratio, relative)
    gradients = list(seen.cotangents.parameters.values())
    weights = count_histograms(graph, target).weights
    return Diagnosis(
        graph=graph,
        seen=seen,
        verdict=verdict,
        paths=count_paths(graph, target),
        longest=max(weights, default=0),
        relative=ratio,
        run=run[0] if run else (),
        run_gain=run[1] if run else 0.0,
        findings=tuple(_findings(seen, verdict)),
        balance=tuple(balance(seen)),
        precision={name: lose(gradients, dtype) for name, dtype in FORMATS.items()},
        batch=len(tape.values[0][0]) if tape.values[0] else 0,
        seed=seed,
        dtype=str(tape.dtype).removeprefix("torch."),
        train=tape.train,
    )


def _verdict(seen: Examination, ratio: float | None, relative: float) -> Verdict:
    rms = seen.headline.rms
    if not math.isfinite(rms):
        return "not finite"
    if not rms:
        return "zero"
    low, high = ABSOLUTE
    if rms < low or (ratio is not None and ratio < 1 / relative):
        return "vanishes"
    return "explodes" if rms > high or (ratio is not None and ratio > relative) else "fine"


_RULES: Final[Sequence[Callable[[Examination], Iterator[Finding]]]] = (
    find_detached,
    find_dead,
    find_saturated,
    find_odd_scales,
    find_odd_weights,
    find_missing_skips,
)


def _findings(seen: Examination, verdict: Verdict) -> Iterator[Finding]:
    """Yield what the rules find; an odd stretch only if nothing else is found in it."""
    found = [finding for rule in _RULES for finding in rule(seen)]
    named = {name for finding in found for name in finding.nodes}
    found += [f for f in find_odd_stretches(seen) if not named.intersection(f.nodes)]
    if verdict in ("fine", "explodes"):  # else they only say the same of every layer
        found += [*find_quiet_weights(seen), *find_quiet_inputs(seen)]
    yield from sorted(fold(found), key=lambda finding: -abs(finding.cost))
