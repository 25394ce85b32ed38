"""The verb that splits a measured gradient: decompose."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from archgraph.cli.path_norms import grade_of, print_norms
from archgraph.cli.printing import print_json, print_table, say
from archgraph.cli.progress import progress
from archgraph.cli.specs import load_spec
from archgraph.errors import BudgetError, UsageError
from archgraph.graph import Graph
from archgraph.paths.enumerate import Path
from archgraph.paths.walk import walk

if TYPE_CHECKING:
    from archgraph.gradient import Decomposition, Headline, Part, PathNorms, Tape

__all__ = ["run_decompose"]

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def run_decompose(arguments: argparse.Namespace) -> int:
    """Split one measured gradient exactly, or sample the norms of its paths."""
    from archgraph.gradient import PathNorms, run_once

    graph = load_spec(arguments)
    by = _degrees(graph, arguments.degree) if arguments.degree else arguments.by
    _refuse_early(graph, by, arguments)
    with progress("paths" if by == "path" or arguments.sample else "nodes") as report:
        tape = run_once(
            graph,
            batch=arguments.batch,
            seed=arguments.seed,
            dtype=arguments.dtype,
            train=arguments.train,
            weights=arguments.weights,
            data=arguments.data,
            device=arguments.device,
        )
        results = [_split(tape, wrt, by, arguments, report) for wrt in arguments.wrt]
    if arguments.json:
        found = [result.to_dict() for result in results]
        print_json(found[0] if len(found) == 1 else {"targets": found})
        return 0
    for i, result in enumerate(results):
        if i:
            say()
        if isinstance(result, PathNorms):
            print_norms(graph, result, arguments.of, arguments.limit)
        else:
            _print(graph, result, arguments)
    return 0


def _refuse_early(graph: Graph, by: str | Mapping[str, int], arguments: argparse.Namespace) -> None:
    """Say before anything is run that a target is not there, or that there are too many paths."""
    from archgraph.gradient.tree import DEFAULT_BUDGET, within_budget

    for wrt in arguments.wrt:
        paths = walk(graph, wrt, arguments.of)
        if by == "path" and not arguments.sample and arguments.top is None:
            try:
                within_budget(paths, arguments.budget or DEFAULT_BUDGET)
            except BudgetError as error:
                raise BudgetError(
                    error.reason,
                    "--budget N follows more, --top K the heaviest only, and a split --by edge, "
                    "weights or branches follows none",
                ) from None


def _split(
    tape: Tape,
    wrt: str,
    by: str | Mapping[str, int],
    arguments: argparse.Namespace,
    report: Callable[[int, int], None],
) -> Decomposition | PathNorms:
    from archgraph.gradient import decompose, sample_norms

    if arguments.sample:
        return sample_norms(
            tape,
            wrt,
            grade_of(arguments.by, walk(tape.graph, wrt, arguments.of)),
            of=arguments.of,
            samples=arguments.sample,
            random_seed=arguments.seed,
            progress=report,
        )
    budget = {} if arguments.budget is None else {"budget": arguments.budget}
    try:
        return decompose(
            tape,
            wrt,
            by,
            of=arguments.of,
            top=arguments.top,
            memory_bytes=_bytes(arguments.memory),
            progress=report,
            **budget,
        )
    except BudgetError as error:
        advice = "--memory SIZE allows more, and a smaller --batch N takes less"
        raise BudgetError(error.reason, advice) from None


def _degrees(graph: Graph, settings: list[str]) -> Mapping[str, int]:
    """Return the degree of each edge: of the last pattern that matches it, else 0.

    Raises:
        UsageError: one is no `PATTERN=N`, or matches no edge.
    """
    degrees: dict[str, int] = {}
    for setting in settings:
        pattern, _, number = setting.rpartition("=")
        matching = [edge.id for edge in graph.edges if fnmatchcase(edge.id, pattern)]
        if not number.isdecimal() or not matching:
            raise UsageError(
                f"--degree {setting!r} is no pattern of edges such as '*->layer1.*', '=' and a "
                "whole number" + ("" if matching else "; it matches no edge")
            )
        degrees |= dict.fromkeys(matching, int(number))
    return degrees


def _bytes(text: str | None) -> int | None:
    """Return a size such as 500M or 2GiB in bytes."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if match is None:
        raise UsageError(f"--memory takes a size such as 500M or 2GiB, not {text!r}")
    return int(float(match[1]) * UNITS[match[2].upper()])


# --- for a person -----------------------------------------------------------------------------


def _print(graph: Graph, result: Decomposition, arguments: argparse.Namespace) -> None:
    say(f"∂{arguments.of}/∂{result.wrt} in {graph.name}: norm {result.norm:.6g}, by {result.by}")
    if result.headline is not None:
        say(_numbers(result.headline))
    if not _print_folded(graph, result, arguments):
        _print_parts(graph, result, arguments.of, arguments.limit)
    for (one, other), cosine in result.cosines.items():
        verdict = "they conflict" if cosine < 0 else "they agree"
        say(f"the cosine between '{one}' and '{other}' is {cosine:.3f}: {verdict}")
    shares = [part.share for part in result.parts if part.share is not None]
    if any(not -1e-9 <= share <= 1 + 1e-9 for share in shares):
        say(
            "a share below 0 % or above 100 % belongs to parts that work against the others; what "
            "crosses the network once still adds up to 100 %"
        )
    if result.note:
        say(result.note)


def _numbers(headline: Headline) -> str:
    """Return the headline numbers in a line, those that there are."""
    found = [f"rms {headline.rms:.4g} per element"]
    if headline.effective_depth is not None:
        found.append(f"effective depth {headline.effective_depth:.2f} weight layers")
    if headline.skip_share is not None:
        found.append(f"{_percent(headline.skip_share)} of the terms taken are skips")
    if headline.direct_share is not None:
        found.append(f"{_percent(headline.direct_share)} take no branch")
    if headline.gain_db_per_block is not None:
        found.append(f"{headline.gain_db_per_block:+.2f} dB per block")
    return "; ".join(found)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %" if abs(share) >= 1e-4 or not share else f"{100 * share:.1e} %"


def _print_folded(graph: Graph, result: Decomposition, arguments: argparse.Namespace) -> bool:
    """Print a row for each merge with a skip; whether there are any and they are wanted."""
    from archgraph.gradient import fold_edges

    rows = fold_edges(graph, result) if result.by == "edge" and not arguments.flat else []
    if not rows:
        return False
    columns = ["block", "by skips", "by branches", "norm", "gain"]
    gains = {} if result.headline is None else result.headline.block_gains_db
    shown = rows[: arguments.limit]
    cells = [
        (
            row.name,
            _percent(row.skip),
            _percent(row.branch),
            f"{row.norm:.4g}",
            f"{gains[row.name]:+.2f} dB" if row.name in gains else "",
        )
        for row in shown
    ]
    print_table(columns, cells, right=columns[1:])
    if len(shown) < len(rows):
        say(f"{len(shown)} of {len(rows)} blocks; --limit N lists more")
    say(f"--flat lists the {len(result.parts)} edges")
    return True


def _print_parts(graph: Graph, result: Decomposition, of: str, limit: int) -> None:
    largest = sorted(result.parts, key=lambda part: -abs(part.share or 0))[:limit]
    graded = any(part.paths is not None for part in largest)
    if graded:
        largest.sort(key=lambda part: part.key)
    columns = [result.by, *(["paths"] if graded else []), "norm", "share"]
    keys = _keys(graph, largest, result.wrt, of)
    cells = [_cells(key, part, graded) for key, part in zip(keys, largest, strict=True)]
    print_table(columns, cells, right=columns[1:])
    if len(largest) < len(result.parts):
        say(f"{len(largest)} of {len(result.parts)} parts; --limit N lists more")


def _keys(graph: Graph, parts: Sequence[Part], wrt: str, of: str) -> list[str]:
    """Return what parts are called: paths as `paths` writes them, long ones by their blocks."""
    from archgraph.paths.fold import Folding
    from archgraph.paths.view import view

    if not any(isinstance(part.key, tuple) for part in parts):
        return [str(part.key) for part in parts]
    seen = view(graph, "op", wrt, of)
    hops = {hop.id: i for i, hop in enumerate(seen.arrays.hops)}
    keys = [part.key for part in parts if isinstance(part.key, tuple)]
    taken = [Path(seen.arrays, tuple(hops[edge] for edge in key)) for key in keys]
    return Folding(seen).texts(taken)


def _cells(key: str, part: Part, graded: bool) -> list[str]:
    share = "" if part.share is None else _percent(part.share)
    count = part.paths or 0
    paths = f"{count:,}" if count < 10**12 else f"2^{count.bit_length() - 1}…"
    return [key, *([paths] if graded else []), f"{part.norm:.4g}", share]
