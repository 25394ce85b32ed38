"""The statistical half of the verb check."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from archgraph.cli.printing import number, print_table, say
from archgraph.cli.progress import progress
from archgraph.graph import Graph

if TYPE_CHECKING:
    from archgraph.checking import Statistics

__all__ = ["check_predictions", "print_statistics", "statistics_json"]

SHOWN: Final = 6
"""Rows that are shown although they are as predicted: those that are farthest apart."""


def check_predictions(graph: Graph, arguments: argparse.Namespace) -> Statistics | None:
    """Hold predictions against real networks, if that was asked for or takes a few seconds."""
    from archgraph.checking import affordable_networks, check_statistics

    if arguments.statistics is False:
        return None
    asked = arguments.statistics or arguments.networks is not None
    networks = arguments.networks
    if not asked:
        networks = affordable_networks(graph, arguments.batch)
        if networks is None:
            return None
    with progress("networks") as report:
        return check_statistics(
            graph,
            networks=networks,
            batch=arguments.batch,
            seed=arguments.seed,
            train=arguments.train,
            progress=report,
        )


def statistics_json(found: Statistics | None) -> dict[str, Any]:
    """Return the keys of the JSON object that are not the algebra's."""
    if found is None:
        return {"statistics": {}, "statistics_ok": None}
    return {
        "statistics": found.to_dict(),
        "statistics_ok": found.ok,
        "statistics_method": found.method,
        "statistics_networks": found.networks,
    }


def print_statistics(found: Statistics | None, arguments: argparse.Namespace) -> None:
    """Print the rows that are not as predicted, or all of a few, and the verdict."""
    if found is None:
        if arguments.statistics is None:
            say(
                "predictions: not held against real networks, as drawing them takes long; "
                "--statistics does it"
            )
        return
    say(
        f"\npredicted ({found.method}) against measured, {found.networks} networks each: "
        "energies of nodes relative to the output's, rms of parameters"
    )
    off = [name for name, row in found.rows.items() if not row.ok]
    farthest = sorted(found.rows, key=lambda name: found.rows[name].distance, reverse=True)
    shown = [name for name in found.rows if name in {*off, *farthest[:SHOWN]}]
    rows = [
        (
            name,
            number(row.predicted),
            number(row.measured),
            number(row.standard_error, 2),
            f"{row.distance:.1f}",
            "" if row.ok else "off",
        )
        for name, row in ((name, found.rows[name]) for name in shown)
    ]
    columns = ["∂L/∂", "predicted", "measured", "± of both", "apart in ±", "at 3 ±"]
    if rows:
        print_table(columns, rows, right=columns[1:-1])
    if len(shown) < len(found.rows):
        say(f"the other {len(found.rows) - len(shown)} rows are closer")
    counted = f"{len(found.rows) - len(off)} of {len(found.rows)} rows within 3 standard errors"
    if found.ok:
        say(f"the predictions hold: {counted}, and no row beyond chance at {found.level:g} for all")
    else:
        more = "" if len(found.rejected) < 4 else ", …"
        named = ", ".join(found.rejected[:3]) + more
        say(f"THE PREDICTIONS DO NOT HOLD: {counted}; beyond chance: {named}")
