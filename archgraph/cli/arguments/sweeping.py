"""Verbs about several networks at once: sweep, compare, plot."""

from __future__ import annotations

from typing import Any, Final

from archgraph.cli.arguments.options import Parser, add_output, add_verb, count

__all__ = ["sweeping_verbs"]


_GRID: Final = (
    "--set takes several values, separated by commas, and ranges start:stop:step that include "
    "their stop: --set lam=0.5,1,1.1 --set depth=2:20:4; 2:20 counts in steps of 1, 16:256:*2 "
    "doubles. Lists and arguments stay whole: --set depths=[3,4,6,3],[3,4,23,3] are two lists, "
    "--set act='ReLU,LeakyReLU(0.1)' two ops. All combinations are taken."
)


def sweeping_verbs(verbs: Any) -> None:
    """Add sweep, compare and plot."""
    _sweep_verb(verbs)
    _compare_verb(verbs)
    _plot_verb(verbs)


def _sweep_verb(verbs: Any) -> None:
    sweep = add_verb(
        verbs,
        "sweep",
        "sweep",
        "Predict, measure or decompose at every point of a grid of settings.",
        epilog=f"{_GRID}\n\nWith -o FILE every job that is done is kept in FILE.jobs.jsonl: a "
        "sweep that was interrupted goes on from there when the same command is given again, and "
        "so does one with more values or seeds. A job's seed is a hash of its point and number, "
        "so the numbers are the same whoever does it. Exit code 1: some jobs failed; their rows "
        "say why.",
        grid=True,
    )
    sweep.add_argument(
        "--what",
        choices=("predict", "measure", "decompose"),
        default="predict",
        help="what is done at each point (default predict)",
    )
    sweep.add_argument(
        "--seeds", type=count, default=1, metavar="N", help="jobs at each point (default 1)"
    )
    add_output(sweep, "the rows: .csv, .json or .parquet")
    sweep.add_argument(
        "--plot",
        metavar="FILE",
        help="a picture: .png, .svg or .pdf; one param that varies gives lines, two a heatmap",
    )
    sweep.add_argument(
        "--workers", type=count, metavar="N", help="processes (default one for each processor)"
    )
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="use a Dask cluster: tcp://host:8786")
    sweep.add_argument("--fresh", action="store_true", help="forget what was done before")
    sweep.add_argument(
        "--wrt",
        action="append",
        default=[],
        metavar="TARGET",
        help="keep these nodes and parameters, as patterns; may be repeated (default all); for "
        "decompose: the gradient that is split (default the first input's)",
    )
    sweep.add_argument(
        "--by",
        choices=("edge", "node", "path", "weights", "skips", "branches", "loss"),
        default="edge",
        help="for decompose (default edge)",
    )
    sweep.add_argument(
        "--method",
        choices=("auto", "bounds", "limit", "finite", "draws"),
        default="auto",
        help="for predict (default auto)",
    )
    sweep.add_argument(
        "--samples",
        type=count,
        metavar="N",
        help="networks that one job averages over; for measure (default 1) and predict",
    )
    sweep.add_argument("--batch", type=count, metavar="N", help="batch size (default 4)")
    sweep.add_argument("--seed", type=int, default=0, metavar="N", help="that seeds come from")
    sweep.add_argument("--dtype", choices=("float64", "float32"), help="for measure, decompose")
    mode = sweep.add_mutually_exclusive_group()
    mode.add_argument("--train", action="store_true", help="in train mode (not decompose: default)")
    mode.add_argument("--eval", action="store_true", help="in eval mode (decompose: default)")


def _compare_verb(verbs: Any) -> None:
    compare = add_verb(
        verbs,
        "compare",
        "compare",
        "Put several networks side by side: how large the gradient is, layer by layer.",
        epilog="Four activations in one picture: archgraph compare gradient_flow_demo --set "
        f"act=ReLU,LeakyReLU,Tanh,Sigmoid --batch 32 -o figure.png\n\n{_GRID}\n\nEvery spec takes "
        "the params that it has.",
        grid=True,
        several=True,
    )
    _profiled(compare)
    compare.add_argument("--layers", action="store_true", help="list every layer too")
    compare.add_argument(
        "--measure",
        type=count,
        default=0,
        metavar="N",
        help="draw N real networks of each and measure them too",
    )
    add_output(compare, "the lines as a picture: .png, .svg or .pdf")


def _plot_verb(verbs: Any) -> None:
    plot = add_verb(
        verbs,
        "plot",
        "plot",
        "Draw the gradient's norm layer by layer, or the signal's statistics block by block.",
        epilog=f"norms: predicted and measured gradients together. signal: mean², variance and "
        f"branch variance of real networks, as Brock et al. 2021 plot them.\n\n{_GRID}",
        grid=True,
        several=True,
    )
    plot.add_argument(
        "--kind", choices=("norms", "signal"), default="norms", help="what is drawn (default norms)"
    )
    _profiled(plot, batch=None)
    plot.add_argument(
        "--measure",
        type=count,
        metavar="N",
        help="draw N real networks of each (default 100; signal: 20)",
    )
    add_output(plot, "the picture: .png, .svg or .pdf (default NAME.svg)")


def _profiled(parser: Parser, *, batch: int | None = 4) -> None:
    """Add what predictions and measurements along networks take."""
    parser.add_argument(
        "--at",
        choices=("weights", "states"),
        default="weights",
        help="gradients of each layer's weights, or of the states between blocks, relative to "
        "the output's (default weights)",
    )
    parser.add_argument(
        "--method",
        choices=("auto", "limit", "finite", "draws"),
        default="auto",
        help="of the prediction (default auto)",
    )
    size = "batch size (default 4)" if batch else "batch size (default 4; signal: 64)"
    parser.add_argument("--batch", type=count, default=batch, metavar="N", help=size)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn")
    parser.add_argument("--samples", type=count, metavar="N", help="networks of a prediction")
    parser.add_argument("--eval", action="store_true", help="in eval mode")
