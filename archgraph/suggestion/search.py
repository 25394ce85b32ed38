"""Find the changes of a spec that would mend its gradient, by predicting each of them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any, Final

from archgraph.errors import ArchgraphError, UsageError
from archgraph.graph import Graph
from archgraph.module import infer
from archgraph.prediction import predict
from archgraph.prediction.cost import cost_of
from archgraph.prediction.plan import make_plan
from archgraph.suggestion.advice import Advice, Suggestion
from archgraph.suggestion.candidate import Candidate, Subject
from archgraph.suggestion.effect import Effect, effect_of
from archgraph.suggestion.missing import missing_skips
from archgraph.suggestion.norms import norms
from archgraph.suggestion.origin import Origin, read_origin
from archgraph.suggestion.scales import scales
from archgraph.suggestion.skips import skips
from archgraph.suggestion.starts import activations, initialisers

__all__ = ["advise", "predicted", "suggest"]

Progress = Callable[[int, int], None]

FAMILIES: Final = (initialisers, activations, scales, missing_skips, skips, norms)
"""What makes candidates; a new family of changes is one file and one name here."""

BATCH: Final = 32
"""Examples, if nobody says how many and a network of so many is cheap enough: a batch as in
training, where what all examples have in common adds up in the gradients of weights."""
STATISTICS: Final = 32
"""Values that batch norm is to have for each of its means; of two it would make signs alone."""
CHEAP: Final = 3e7
"""Nanoseconds that one simulated network may take before its batch is halved."""
QUICK: Final = (1.5e8, 2, 16)
"""Nanoseconds for a first look at a candidate, and the fewest and most networks of it."""
THOROUGH: Final = (5e8, 6, 200)
"""The same of what is printed."""
GOOD: Final = (0.7, 1.0)
"""Powers of ten from flat: within the first changes are equally good, within the second they do."""
LEAST: Final = 0.15
"""Powers of ten that a change must bring the network nearer to flat to be worth telling."""
PER_FAMILY: Final = 2
"""Changes of one kind that are looked at more than once; of those that do not suffice, one."""


def suggest(
    spec: str | os.PathLike[str],
    *,
    limit: int = 5,
    batch: int | None = None,
    seed: int = 0,
    plugins: Iterable[str] = (),
    progress: Progress | None = None,
    **params: Any,
) -> Advice:
    """Find changes of a spec that bring the gradient of its first layer near that of its last.

    Candidates are changes of the text: inits that suit the activation, other activations (never of
    a gate), λ of skips and branches, skips around copies, along a chain or where some blocks lack
    one, norms. Each is parsed and predicted (`archgraph.predict`), first with few networks, the
    best with more; pairs of them are tried if none suffices alone. What is compared is the root-
    mean-square of an element of ∂L/∂weight, first weight layer over last. Those that bring it, and
    the values' gradients, within a factor 10 come first; of equally good ones the least invasive.

    Args:
        spec: A file's path, or the name of a shipped spec.
        limit: How many suggestions to return at most.
        batch: Number of examples; by default 32, or fewer where a network is expensive.
        seed: Of everything that is drawn.
        plugins: Modules to import, whose registered classes are ops too.
        progress: Called with (done, in all).
        params: Values that replace the spec's own params, and become its defaults in what is
            suggested: the text of a suggestion is the network that was predicted.

    Returns:
        The effect before, and suggestions with their texts, diffs and predicted effects; none
        where nothing needs mending: the ratio is within a factor 10 already, and neither the
        gradients of the two layers' outputs nor the sizes of values are wild (`Effect.trouble`).

    Raises:
        SpecError: the spec is bad.
        UsageError: there is no such spec or param, or it has fewer than two weight layers.

    Cost: some twenty predictions of a few networks each, and one of more for each suggestion.

    Example:
        >>> advice = suggest("scaled_residual", lam=0.5)
        >>> advice.flat, len(advice.suggestions)
        (True, 0)
    """
    origin = read_origin(spec, tuple(plugins))
    return advise(origin, params, limit=limit, batch=batch, seed=seed, progress=progress)


def advise(
    origin: Origin,
    settings: Mapping[str, Any],
    *,
    limit: int = 5,
    batch: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Advice:
    """Find changes of a spec that is there as text; see `suggest`."""
    if limit < 1:
        raise UsageError(f"at least one suggestion is asked for, not {limit}")
    origin = origin.with_settings(settings)
    subject = origin.subject()
    batch = batch or _batch(subject.graph)
    before = predicted(subject.graph, batch=batch, seed=seed)
    advice = Advice(graph=subject.graph, before=before, suggestions=(), settings=tuple(settings))
    if before.flat or before.closed is not None:
        return advice
    search = _Search(advice, origin, seed, progress or (lambda done, total: None))
    found = search.run(_candidates(subject), limit)
    return replace(advice, suggestions=tuple(found), tried=search.tried)


def predicted(
    graph: Graph, *, batch: int | None = None, seed: int = 0, quick: bool = False
) -> Effect:
    """Return the effect of a network, by as many simulated ones as a fixed time allows.

    Args:
        graph: The network.
        batch: Number of examples; by default as `suggest` has it.
        seed: Of everything that is drawn.
        quick: Whether a first look is enough.
    """
    batch = batch or _batch(graph)
    time, fewest, most = QUICK if quick else THOROUGH
    each = cost_of(make_plan(graph, batch=batch), batch).nanoseconds
    samples = min(most, max(fewest, int(time / max(1.0, each))))
    return effect_of(predict(graph, batch=batch, samples=samples, seed=seed))


def _batch(graph: Graph) -> int:
    """Return the default batch, halved while a network is expensive and its norms allow it."""
    shapes = infer(graph)
    normed = [
        math.prod(shapes[node.name].shape[1:])
        for node in graph.nodes
        if node.op is not None and node.op.name.startswith("BatchNorm")
    ]
    fewest = max([2, *(math.ceil(STATISTICS / positions) for positions in normed)])
    batch = BATCH
    while (
        batch // 2 >= fewest and cost_of(make_plan(graph, batch=batch), batch).nanoseconds > CHEAP
    ):
        batch //= 2
    return batch


def _candidates(subject: Subject) -> Iterator[Candidate]:
    for family in FAMILIES:
        yield from family(subject)


_Found = tuple[Candidate, Suggestion]


class _Search:
    """Predicts candidates and keeps what helps."""

    def __init__(self, advice: Advice, origin: Origin, seed: int, progress: Progress) -> None:
        self._origin, self._seed, self._progress = origin, seed, progress
        self._before, self._batch = advice.before, advice.before.batch
        self._graphs = [advice.graph]
        """What was predicted: two texts may say the same."""
        self.tried = 0

    def run(self, candidates: Iterable[Candidate], limit: int) -> list[Suggestion]:
        singles = list(candidates)
        total = len(singles) + limit + 2
        found = self._look(singles, total)
        if not any(suggestion.mends for _, suggestion in found):
            best = sorted(found, key=lambda pair: _rank(pair[1]))[:6]
            pairs = [
                _both(one, other)
                for (one, _), (other, _) in combinations(best, 2)
                if one.family != other.family
            ]
            total += len(pairs)
            found += self._look(pairs, total)
        ranked = sorted(found, key=lambda pair: _rank(pair[1]))
        chosen = [(c, self._predicted(s, total)) for c, s in _varied(ranked)[: limit + 2]]
        helping = [pair for pair in chosen if self._helps(pair[1])]
        self._progress(total, total)
        kept = sorted(_varied(helping)[:limit], key=lambda pair: _rank(pair[1]))
        return [suggestion for _, suggestion in kept]

    def _look(self, candidates: list[Candidate], total: int) -> list[_Found]:
        """Return the candidates that can be built and seem to help, each with a first prediction.

        A candidate that makes no sense for this network (shapes that differ across a skip, a name
        that is not there) is dropped without a word: it was a guess.
        """
        found = []
        for candidate in candidates:
            try:
                text = self._origin.changed(candidate)
                graph = self._origin.graph(text)
                if graph in self._graphs or not _keeps_promise(candidate, graph, self._graphs[0]):
                    continue
                self._graphs.append(graph)
                after = predicted(graph, batch=self._batch, seed=self._seed + 1, quick=True)
            except ArchgraphError:
                continue
            finally:
                self.tried += 1
                self._progress(self.tried, total)
            suggestion = Suggestion(
                title=candidate.title,
                why=candidate.why,
                text=text,
                diff=self._origin.diff(text),
                before=self._before,
                after=after,
                invasiveness=candidate.invasiveness,
            )
            if self._helps(suggestion):
                found.append((candidate, suggestion))
        return found

    def _predicted(self, suggestion: Suggestion, total: int) -> Suggestion:
        graph = self._origin.graph(suggestion.text)
        # Other networks than at the first look, or the best would look better than they are.
        after = predicted(graph, batch=self._batch, seed=self._seed)
        self.tried += 1
        self._progress(min(self.tried, total), total)
        return replace(suggestion, after=after)

    def _helps(self, suggestion: Suggestion) -> bool:
        return suggestion.after.distance < self._before.distance - LEAST


def _keeps_promise(candidate: Candidate, graph: Graph, before: Graph) -> bool:
    """Return whether a change that is to add a skip adds one: a param may be of something else."""
    one, other = (sum(e.role == "skip" for e in g.edges) for g in (graph, before))
    return candidate.family != "missing skip" or one > other


def _rank(suggestion: Suggestion) -> tuple[int, int, float]:
    """Return what suggestions are sorted by: how flat, then how little is changed."""
    distance = suggestion.after.distance
    if not suggestion.mends:
        return len(GOOD), 0, distance
    return sum(distance > bound for bound in GOOD), suggestion.invasiveness, distance


def _varied(
    ranked: list[_Found],
) -> list[_Found]:
    """Return the best two of every family that suffice, the best one of the others, then the rest.

    One that helps less may still be the one that its user can make.
    """
    counts: dict[str, int] = {}
    kept: list[_Found] = []
    rest: list[_Found] = []
    for pair in ranked:
        candidate, suggestion = pair
        counts[candidate.family] = counts.get(candidate.family, 0) + 1
        most = PER_FAMILY if suggestion.mends else 1
        (kept if counts[candidate.family] <= most else rest).append(pair)
    return kept + rest


def _both(one: Candidate, other: Candidate) -> Candidate:
    return Candidate(
        f"{one.family} and {other.family}",
        f"{one.title}; {other.title}",
        f"{one.why}; {other.why}",
        (*one.edits, *other.edits),
        max(one.invasiveness, other.invasiveness),
    )
