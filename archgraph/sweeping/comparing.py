"""Several networks side by side: how large the gradient is in each, and where."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archgraph.errors import UsageError
from archgraph.graph import Graph
from archgraph.sweeping.grid import Grid, Settings, make_grid, value_text
from archgraph.sweeping.profile import At, Profile, profile_of
from archgraph.sweeping.source import Source, read_source
from archgraph.sweeping.table import plain_value

__all__ = ["MOST", "Comparison", "Variant", "compare", "variants_of"]

MOST = 24
"""Variants that can still be told from each other."""


@dataclass(frozen=True)
class Variant:
    """One of the networks that are compared."""

    label: str
    spec: str
    settings: Settings
    graph: Graph
    method: str = ""
    samples: int = 0
    predicted: Profile | None = None
    measured: Profile | None = None

    @property
    def profile(self) -> Profile:
        """What was predicted, or else measured."""
        found = self.predicted or self.measured
        assert found is not None
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "label": self.label,
            "spec": self.spec,
            "settings": {name: plain_value(value) for name, value in self.settings},
            "method": self.method,
            "samples": self.samples,
            "gain_db": self.gain_db,
            "predicted": None if self.predicted is None else self.predicted.to_dict(),
            "measured": None if self.measured is None else self.measured.to_dict(),
        }

    @property
    def gain_db(self) -> float | None:
        """20·log10 of the first value over the last; None where one of them is zero or unknown."""
        values = self.profile.values
        first, last = values[0], values[-1]
        return 20 * (math.log10(first) - math.log10(last)) if first and last else None


@dataclass(frozen=True)
class Comparison:
    """Several networks side by side. Made by `compare`."""

    variants: tuple[Variant, ...]
    at: At
    batch: int
    seed: int
    networks: int = 0
    """How many were measured of each."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "at": self.at,
            "batch": self.batch,
            "seed": self.seed,
            "networks": self.networks,
            "variants": [variant.to_dict() for variant in self.variants],
        }


def variants_of(sources: Sequence[Source], grid: Grid) -> tuple[Variant, ...]:
    """Return every spec at every point of a grid; a spec takes the params that it has.

    Raises:
        SpecError: one of them is wrong.
        UsageError: no spec has a param of the grid, or there are too many variants.
    """
    declared = {source.file: list(source.params()) for source in sources}
    everything = list(dict.fromkeys(name for names in declared.values() for name in names))
    where = sources[0].file if len(sources) == 1 else "none of the specs"
    problems = _unknown(grid, everything, where, several=len(sources) > 1)
    if problems:
        raise UsageError("\n".join(problems))
    found: dict[str, Variant] = {}
    names = _names(sources)
    for source, name in zip(sources, names, strict=True):
        own = Grid(tuple(axis for axis in grid.axes if axis.name in declared[source.file]))
        if len(found) + len(own) > MOST:
            raise UsageError(f"at most {MOST} networks are compared; a sweep takes more")
        for settings in own:
            label = _label(name, settings, own, len(sources) > 1)
            if label in found:
                raise UsageError(f"two of the networks are both {label}")
            graph = source.load(settings)
            found[label] = Variant(label, name, settings, graph)
    return tuple(found.values())


def _unknown(grid: Grid, names: list[str], where: str, *, several: bool) -> list[str]:
    problems = grid.problems(names, where)
    return [p.replace(" has no param", " has a param") for p in problems] if several else problems


def _names(sources: Sequence[Source]) -> list[str]:
    """Return what the specs call themselves, or their files' names where two are called alike."""
    names = [source.title() for source in sources]
    return names if len(set(names)) == len(names) else [source.name for source in sources]


def _label(name: str, settings: Settings, grid: Grid, several: bool) -> str:
    varying = [axis.name for axis in grid.varying]
    shown = [(name, value_text(value)) for name, value in settings if name in varying]
    parts = [f"{param}={text}" for param, text in shown]
    if len(shown) == 1 and isinstance(dict(settings)[shown[0][0]], str):
        parts = [shown[0][1]]  # the name of an op says what it is
    return ", ".join([name, *parts] if several else parts) or name


def compare(
    specs: Sequence[str | os.PathLike[str] | Source],
    grid: Grid | Mapping[str, Any] | None = None,
    *,
    at: At = "weights",
    method: str = "auto",
    batch: int = 4,
    seed: int = 0,
    samples: int | None = None,
    train: bool = True,
    networks: int = 0,
    plugins: Iterable[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Predict, and measure if asked for, how large the gradient is along several networks.

    Args:
        specs: Files, names of shipped specs, or their texts.
        grid: By param one value, or a sequence of them; every spec takes the params that it has,
            and stands there once for each combination of its own.
        at: `weights` or `states`; see `profile_of`.
        method: Of the prediction; `bounds` has nothing to compare.
        batch: Number of examples.
        seed: Of everything that is drawn.
        samples: Networks of a prediction.
        train: Whether dropout is active and norms use the statistics of the batch.
        networks: How many real networks are drawn and measured of each.
        plugins: Modules whose registered classes are ops too.
        progress: Called with (networks done, in all).

    Raises:
        SpecError: one of them is wrong.
        UsageError: no spec has a param of the grid, there are too many networks, or an argument is
            no choice.

    Cost: a prediction, and a measurement, for each.

    Example:
        >>> found = compare(["mlp"], {"act": ["Tanh", "Sigmoid"]}, samples=16)
        >>> [variant.label for variant in found.variants]
        ['Tanh', 'Sigmoid']

    References:
        Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural
        networks: gradients layer by layer for several activations.
    """
    sources = [s if isinstance(s, Source) else read_source(s, plugins=plugins) for s in specs]
    chosen = variants_of(sources, grid if isinstance(grid, Grid) else make_grid(grid or {}))
    found = []
    for i, variant in enumerate(chosen):
        if progress is not None:
            progress(i, len(chosen))
        found.append(
            _estimated(
                variant,
                at,
                {"method": method, "batch": batch, "seed": seed, "samples": samples},
                train=train,
                networks=networks,
            )
        )
    return Comparison(tuple(found), at, batch, seed, networks)


def _estimated(
    variant: Variant, at: At, options: Mapping[str, Any], *, train: bool, networks: int
) -> Variant:
    from archgraph.measurement import measure
    from archgraph.prediction import predict

    graph = variant.graph
    prediction = predict(graph, train=train, **options)
    measured = None
    if networks:
        first = options["seed"]
        measurement = measure(
            graph,
            seeds=range(first, first + networks),
            batch=options["batch"],
            train=train,
        )
        measured = profile_of(graph, measurement, at)
    return Variant(
        variant.label,
        variant.spec,
        variant.settings,
        graph,
        prediction.method,
        prediction.samples,
        profile_of(graph, prediction, at),
        measured,
    )
