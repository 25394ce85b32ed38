"""The verb plot."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from archgraph.cli.compare import compare_specs, read_grid
from archgraph.cli.printing import print_json, say
from archgraph.cli.progress import progress
from archgraph.files import check_target

__all__ = ["run_plot"]


def run_plot(arguments: argparse.Namespace) -> int:
    """Draw gradients or signals along networks."""
    from archgraph.picture.plots_style import check_plot

    names = [Path(name).stem for name in dict.fromkeys(arguments.spec) if name != "-"]
    default = f"{'-'.join(names) or 'stdin'}.{arguments.kind}.svg"
    path = check_target(check_plot(arguments.output or default))
    draw = _draw_signals if arguments.kind == "signal" else _draw_norms
    found = draw(arguments, path)
    if arguments.json:
        print_json({**found, "kind": arguments.kind, "picture": str(path)})
    else:
        say(str(path))
    return 0


def _draw_norms(arguments: argparse.Namespace, path: Path) -> dict[str, Any]:
    from archgraph.picture.plots import plot_comparison

    found = compare_specs(arguments, arguments.measure or 100)
    plot_comparison(found, path)
    return found.to_dict()


def _draw_signals(arguments: argparse.Namespace, path: Path) -> dict[str, Any]:
    from archgraph.picture.plots_signals import plot_signals
    from archgraph.sweeping.comparing import variants_of
    from archgraph.sweeping.signals import measure_signals

    found = []
    variants = variants_of(*read_grid(arguments))
    with progress("networks") as report:
        for variant in variants:
            found.append(
                measure_signals(
                    variant,
                    networks=arguments.measure or 20,
                    batch=arguments.batch or 64,
                    seed=arguments.seed,
                    train=not arguments.eval,
                    progress=report,
                )
            )
    plot_signals(found, path)
    return {"signals": [item.to_dict() for item in found]}
