"""The verb compare."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from archgraph.cli.printing import print_json, print_table, say
from archgraph.cli.progress import progress
from archgraph.cli.sweep import read_spec
from archgraph.errors import UsageError
from archgraph.files import check_target

if TYPE_CHECKING:
    from archgraph.sweeping import Comparison, Grid
    from archgraph.sweeping.comparing import Variant
    from archgraph.sweeping.source import Source

__all__ = ["compare_specs", "read_grid", "run_compare"]


def run_compare(arguments: argparse.Namespace) -> int:
    """Put several networks side by side."""
    if arguments.output is not None:
        from archgraph.picture.plots_style import check_plot

        check_target(check_plot(arguments.output))
    found = compare_specs(arguments, arguments.measure)
    written = None
    if arguments.output is not None:
        from archgraph.picture.plots import plot_comparison

        written = plot_comparison(found, arguments.output)
    if arguments.json:
        print_json({**found.to_dict(), "picture": None if written is None else str(written)})
        return 0
    _print(found, layers=arguments.layers)
    if written is not None:
        say(str(written))
    return 0


def read_grid(arguments: argparse.Namespace) -> tuple[list[Source], Grid]:
    """Return the specs and the grid of `--set`."""
    from archgraph.sweeping import parse_grid

    if arguments.spec.count("-") > 1:
        raise UsageError("stdin can be read once only")
    sources = [read_spec(name, arguments.plugin) for name in arguments.spec]
    return sources, parse_grid(arguments.set)


def compare_specs(arguments: argparse.Namespace, networks: int) -> Comparison:
    """Return the comparison that was asked for."""
    from archgraph.sweeping import compare

    sources, grid = read_grid(arguments)
    with progress("networks") as report:
        return compare(
            sources,
            grid,
            at=arguments.at,
            method=arguments.method,
            batch=arguments.batch or 4,
            seed=arguments.seed,
            samples=arguments.samples,
            train=not arguments.eval,
            networks=networks,
            progress=report,
        )


_SAID = {
    "weights": "√E‖∂L/∂W‖² of each weight layer",
    "states": "√E‖∂L/∂x‖² between blocks, relative to the output's",
}


def _print(found: Comparison, *, layers: bool) -> None:
    say(f"{_SAID[found.at]}, batch {found.batch}, seed {found.seed}")
    columns = ["network", "layers", "first", "±", "last", "first/last", "smallest at", "largest at"]
    columns += ["first, measured", "± "] if found.networks else []
    columns += ["method"]
    print_table(columns, [_summary(variant) for variant in found.variants], right=columns[1:6])
    if layers:
        _print_layers(found)


def _summary(variant: Variant) -> list[str]:
    profile, measured = variant.profile, variant.measured
    pairs = zip(profile.values, profile.names, strict=True)
    known = [(value, name) for value, name in pairs if value is not None]
    gain = variant.gain_db
    cells = [
        variant.label,
        str(len(profile.names)),
        _number(profile.values[0], 4),
        _number(profile.errors[0], 2),
        _number(profile.values[-1], 4),
        "" if gain is None else f"{gain:+.1f} dB",
        min(known)[1] if known else "",
        max(known)[1] if known else "",
    ]
    if measured is not None:
        cells += [_number(measured.values[0], 4), _number(measured.errors[0], 2)]
    return [*cells, f"{variant.method}, {variant.samples:,} networks"]


def _print_layers(found: Comparison) -> None:
    """Print a row for each layer; those of networks with other layers stand beside by number."""
    longest = max((variant.profile for variant in found.variants), key=lambda p: len(p.names))
    same = all(variant.profile.names == longest.names for variant in found.variants)
    columns = ["layer", *(variant.label for variant in found.variants)]
    rows = []
    for i, name in enumerate(longest.names):
        values = [
            v.profile.values[i] if i < len(v.profile.values) else None for v in found.variants
        ]
        rows.append([name if same else str(i), *(_number(value, 4) for value in values)])
    print_table(columns, rows, right=columns[1:])


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}g}"
