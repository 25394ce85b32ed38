"""The verb measure."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from archgraph.cli.printing import number, print_json, print_table, say
from archgraph.cli.progress import progress
from archgraph.cli.specs import load_spec

if TYPE_CHECKING:
    from archgraph.measurement import Measurement

__all__ = ["run_measure"]


def run_measure(arguments: argparse.Namespace) -> int:
    """Measure how large the gradient is at every node and parameter, and whether it is healthy."""
    import torch

    from archgraph.measurement import Thresholds, measure
    from archgraph.prediction import predict

    graph = load_spec(arguments)
    if arguments.wrt is not None:
        graph.position(arguments.wrt)  # before what takes long
    limits = {name: getattr(arguments, name) for name in Thresholds.__slots__}
    with progress("networks") as report:
        found = measure(
            graph,
            seeds=range(arguments.seed, arguments.seed + arguments.networks),
            batch=arguments.batch,
            train=not arguments.eval,
            dtype=getattr(torch, arguments.dtype),
            thresholds=Thresholds(**{k: v for k, v in limits.items() if v is not None}),
            progress=report,
        )
    shares = None if arguments.wrt is None else found.shares(arguments.wrt)
    if arguments.json:
        document = found.to_dict()
        bounds = predict(graph, method="bounds", batch=found.batch, train=found.train)
        for name, node in document["nodes"].items():
            node["bound"] = bounds.nodes[name].bound
        extra = {} if shares is None else {"wrt": arguments.wrt, "shares": shares}
        print_json({**document, **extra})
        return 0
    say(
        f"{graph.name}: E‖∂L/∂V‖² relative to {found.reference}, measured in "
        f"{len(found.seeds)} networks, seeds {found.seeds[0]} to {found.seeds[-1]}, "
        f"{found.dtype}, batch {found.batch}"
    )
    _print_nodes(found)
    _print_parameters(found)
    if shares is not None:
        say(f"measured shares of ‖∂L/∂{arguments.wrt}‖², composed of those at each node")
        rows = [(edge, f"{100 * share:.1f} %") for edge, share in shares.items()]
        print_table(["edge", "share"], rows, right=["share"])
    _print_verdict(found)
    return 0


def _print_nodes(found: Measurement) -> None:
    columns = ["node", "energy", "±", "dB", "E ln", "±", "norm", "mean", "max", "health"]
    rows = []
    for name, node in found.nodes.items():
        item = found.health[name]
        rows.append(
            (
                name,
                number(node.energy),
                number(node.standard_error, 2),
                f"{10 * math.log10(node.energy):.1f}" if node.energy > 0 else "",
                number(node.ln_mean, 3),
                number(node.ln_error, 2),
                number(item.norm, 3),
                number(item.mean, 2),
                number(item.max, 3),
                _faults(found, name),
            )
        )
    print_table(columns, rows, right=columns[1:-1])


def _print_parameters(found: Measurement) -> None:
    columns = ["parameter", "rms", "±", "norm", "mean", "max", "health"]
    rows = []
    for name, parameter in found.parameters.items():
        item = found.health[name]
        rows.append(
            (
                name,
                number(parameter.rms),
                number(parameter.standard_error, 2),
                number(parameter.norm),
                number(item.mean, 2),
                number(item.max, 3),
                _faults(found, name),
            )
        )
    if rows:
        print_table(columns, rows, right=columns[1:-1])


def _faults(found: Measurement, name: str) -> str:
    item = found.health[name]
    parts = {"dead": item.dead, "saturated": item.saturated}
    return ", ".join(
        f if (part := parts.get(f)) is None else f"{100 * part:.0f} % {f}" for f in item.faults
    )


def _print_verdict(found: Measurement) -> None:
    faults = found.faults
    if not faults:
        say("every gradient is within the thresholds")
        return
    by_fault: dict[str, list[str]] = {}
    for name, items in faults.items():
        for fault in items:
            by_fault.setdefault(fault, []).append(name)
    for fault, names in by_fault.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        say(f"{fault}: {', '.join(names[:3])}{more}")
