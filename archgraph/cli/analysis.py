"""Verbs about gradients: derive, check, render."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from archgraph.cli.printing import console, print_json, print_table, say
from archgraph.cli.progress import progress
from archgraph.cli.specs import load_spec
from archgraph.files import check_target
from archgraph.graph import Graph

if TYPE_CHECKING:
    from archgraph.checking import Check, Skipped

__all__ = ["run_check", "run_derive", "run_render"]


MUCH = 2_000
"""From so many vector–Jacobian products on, a check takes seconds, and says so."""
MAX_SKIPPED = 4


# --- derive -----------------------------------------------------------------------------------


def run_derive(arguments: argparse.Namespace) -> int:
    """Write out a derivative."""
    from archgraph.paths.equations import derive

    graph = load_spec(arguments)
    derivation = derive(
        graph,
        arguments.wrt,
        of=arguments.of,
        view=arguments.view,
        form=arguments.form,
        max_terms=arguments.max_terms,
    )
    numbers = None
    if arguments.numbers:
        from archgraph.gradient import evaluate, run_once

        tape = run_once(graph, batch=arguments.batch, seed=arguments.seed, dtype=arguments.dtype)
        numbers = evaluate(derivation, tape)
    if arguments.json:
        extra = {} if numbers is None else {"numbers": numbers.to_dict()}
        print_json({**derivation.to_dict(), **extra})
        return 0
    say(derivation.latex if arguments.latex else derivation.text)
    if numbers is not None:
        say()
        say(numbers.text)
    return 0


# --- check -------------------------------------------------------------------------


def run_check(arguments: argparse.Namespace) -> int:
    """Hold paths against autograd and predictions against networks; the exit code says if both."""
    from archgraph.checking import check
    from archgraph.cli.statistics import check_predictions, print_statistics, statistics_json

    graph = load_spec(arguments)
    budget = {} if arguments.budget is None else {"budget": arguments.budget}
    with progress("vector–Jacobian products") as report:
        result = check(
            graph,
            batch=arguments.batch,
            seed=arguments.seed,
            dtype=arguments.dtype,
            train=arguments.train,
            progress=_announced(report),
            **budget,
        )
    found = check_predictions(graph, arguments)
    if arguments.json:
        print_json({**result.to_dict(), **statistics_json(found)})
    else:
        _print_check(graph, result)
        print_statistics(found, arguments)
    return 0 if result.ok and (found is None or found.ok) else 1


def _announced(report: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """Return `report`, which first says on stderr how much there is to do, where it is much."""

    def announce(done: int, total: int) -> None:
        if done == 0 and total > MUCH:
            console(stderr=True).print(
                f"check: following the paths takes {total:,} vector–Jacobian products; "
                "with a lower --budget it takes fewer, and checks the rest by conservation"
            )
        report(done, total)

    return announce


def _print_check(graph: Graph, result: Check) -> None:
    say(
        f"{graph.name}: the sum over paths against autograd, {result.dtype}, "
        f"batch {result.batch}, seed {result.seed}"
    )
    rows = [
        (name, target.paths, f"{target.norm:.4g}", f"{target.relative_error:.1e}")
        for name, target in result.targets.items()
    ]
    columns = ["∂L/∂", "paths", "norm", "relative error"]
    print_table(columns, rows, right=columns[1:])
    _print_skipped(result.skipped)
    verdict = "the paths add up" if result.ok else "THE PATHS DO NOT ADD UP"
    error = result.max_relative_error
    say(f"{verdict}: largest relative error {error:.1e}, allowed {result.tolerance:.0e}")


def _print_skipped(skipped: Mapping[str, Skipped]) -> None:
    """Say which targets have too many paths; if they are many, in one line."""
    if len(skipped) <= MAX_SKIPPED:
        for name, one in skipped.items():
            kept = one.conservation
            instead = "" if kept is None else f"; its edges conserve the flow to {kept:.1e}"
            say(f"{name}: {one.paths} paths are too many to follow one by one{instead}")
        return
    counts = sorted(one.paths for one in skipped.values())
    kept_all = [one.conservation for one in skipped.values() if one.conservation is not None]
    instead = f"; their edges conserve the flow to {max(kept_all):.1e}" if kept_all else ""
    say(
        f"{len(skipped)} more targets have too many paths to follow one by one, "
        f"{counts[0]:.4g} to {counts[-1]:.4g} each{instead}"
    )


# --- render -----------------------------------------------------------------------------------


def run_render(arguments: argparse.Namespace) -> int:
    """Draw the network, or how one gradient flows through it."""
    from archgraph.paths import count_histograms
    from archgraph.picture import render
    from archgraph.picture.writing import check_picture

    graph = load_spec(arguments)
    target = check_target(check_picture(arguments.output or f"{graph.name}.svg"))
    options: dict[str, Any] = {"max_nodes": arguments.max_nodes}
    if arguments.wrt is not None:
        options["wrt"] = arguments.wrt
        options["histogram"] = count_histograms(graph, arguments.wrt).edges
        if not arguments.unmeasured:
            from archgraph.picture.measured import measured_flow

            options["flow"] = measured_flow(
                graph,
                arguments.wrt,
                batch=arguments.batch,
                seed=arguments.seed,
                dtype=arguments.dtype,
            )
    path = render(graph, target, **options)
    if arguments.json:
        print_json({"path": str(path)})
    else:
        say(str(path))
    return 0
