"""The verb predict."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from archgraph.cli.printing import number, print_json, print_table, say, warn
from archgraph.cli.progress import progress
from archgraph.cli.specs import load_spec

if TYPE_CHECKING:
    from archgraph.prediction import Prediction

__all__ = ["run_predict"]


def run_predict(arguments: argparse.Namespace) -> int:
    """Say how large the gradient will be at every node, before a weight exists."""
    from archgraph.prediction import predict

    graph = load_spec(arguments)
    if arguments.wrt is not None:
        graph.position(arguments.wrt)  # before what takes long
    with progress("networks") as report:
        found = predict(
            graph,
            method=arguments.method,
            batch=arguments.batch,
            seed=arguments.seed,
            samples=arguments.samples,
            train=not arguments.eval,
            grade=arguments.grade,
            progress=report,
            notice=warn,
        )
    shares = None if arguments.wrt is None else found.shares(arguments.wrt)
    if arguments.json:
        extra = {} if shares is None else {"wrt": arguments.wrt, "shares": shares}
        print_json({**found.to_dict(), **extra})
        return 0
    say(
        f"{graph.name}: E‖∂L/∂V‖² relative to {found.reference}, method {found.method} "
        f"({found.reason}), batch {found.batch}, {found.samples} samples, seed {found.seed}"
    )
    _print_nodes(found)
    _print_parameters(found)
    if shares is not None:
        say(f"predicted shares of ‖∂L/∂{arguments.wrt}‖²")
        rows = [(edge, f"{100 * share:.1f} %") for edge, share in shares.items()]
        print_table(["edge", "share"], rows, right=["share"])
    return 0


def _print_nodes(found: Prediction) -> None:
    columns = ["node", "energy", "±", "dB", "bound", "method"]
    rows = [
        [
            name,
            number(node.energy),
            number(node.standard_error, 2),
            f"{10 * math.log10(node.energy):.1f}" if node.energy else "",
            number(node.bound, 2),
            node.method,
        ]
        for name, node in found.nodes.items()
    ]
    if found.grade is not None:
        columns.append(f"by {found.grade}")
        for row in rows:
            grades = found.grades.get(str(row[0]), {})
            row.append(", ".join(f"{k}: {number(energy, 3)}" for k, energy in grades.items()))
    print_table(columns, rows, right=columns[1:5])
    _print_notes(found)


def _print_parameters(found: Prediction) -> None:
    columns = ["parameter", "rms of ∂L/∂P", "±", "norm"]
    rows = [
        (name, number(item.rms), number(item.standard_error, 2), number(item.norm))
        for name, item in found.parameters.items()
    ]
    if rows:
        print_table(columns, rows, right=columns[1:])


def _print_notes(found: Prediction) -> None:
    for note in dict.fromkeys(node.note for node in found.nodes.values() if node.note):
        names = [name for name, node in found.nodes.items() if node.note == note]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        say(f"{', '.join(names[:3])}{more}: {note}")
