"""The verbs and their options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

from archgraph.errors import UsageError, suggest

__all__ = ["parse_arguments"]


class _Parser(argparse.ArgumentParser):
    """A parser that raises instead of leaving the process, and suggests what was meant."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage().strip()}")


class _Paragraphs(argparse.HelpFormatter):
    """Keeps the paragraphs of a text apart."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = text.split("\n\n")
        return "\n\n".join(super(_Paragraphs, self)._fill_text(p, width, indent) for p in parts)


def _runner(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    """Return a verb's function, imported only when it runs."""

    def run(arguments: argparse.Namespace) -> int:
        code: int = getattr(import_module(f"archgraph.cli.{module}"), name)(arguments)
        return code

    return run


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments; `run` is the verb's function.

    Raises:
        UsageError: they do not fit.
        SystemExit: `--help` or `--version` was asked for.
    """
    parser = _build()
    verbs = parser.get_default("verbs")
    first = next((word for word in argv if not word.startswith("-")), None)
    if first is None and not set(argv) & {"-h", "--help", "--version"}:
        raise UsageError(f"say what to do: archgraph {{{','.join(verbs)}}} SPEC")
    if first is not None and first not in verbs and _is_spec(first):
        argv, first = ["diagnose", *argv], "diagnose"
    if first is not None and first not in verbs:
        close = suggest(first, verbs)
        hint = f"; did you mean '{close}'?" if close else f"; the verbs are {', '.join(verbs)}"
        raise UsageError(f"there is no verb '{first}'{hint}")
    return parser.parse_args(argv)


def _is_spec(word: str) -> bool:
    """Whether a word that stands where a verb would is a spec instead: that is `diagnose`."""
    from archgraph.spec import zoo

    return word.endswith((".yaml", ".yml")) or "/" in word or word in zoo()


def _build() -> _Parser:
    from archgraph import __version__

    parser = _Parser(
        prog="archgraph",
        description="Neural-network architectures as YAML: their backprop paths, counted, "
        "derived, measured and drawn.",
    )
    parser.add_argument("--version", action="version", version=f"archgraph {__version__}")
    verbs = parser.add_subparsers(metavar="verb", parser_class=_Parser)
    for add in (_structure_verbs, _analysis_verbs, _sweeping_verbs, _reference_verbs):
        add(verbs)
    parser.set_defaults(verbs=list(verbs.choices))
    return parser


def _verb(
    verbs: Any,
    name: str,
    module: str,
    help: str,
    *,
    spec: bool = True,
    several: bool = False,
    grid: bool = False,
    epilog: str | None = None,
) -> _Parser:
    parser: _Parser = verbs.add_parser(
        name, help=help, description=help, epilog=epilog, formatter_class=_Paragraphs
    )
    parser.set_defaults(run=_runner(module, f"run_{name}"))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    if spec:
        parser.add_argument(
            "spec",
            nargs="+" if several else None,
            help="a file, the name of a shipped spec, or - for stdin",
        )
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=VALUES" if grid else "NAME=VALUE",
            help="values of a param, see below" if grid else "change a param; may be repeated",
        )
        parser.add_argument(
            "--plugin",
            action="append",
            default=[],
            metavar="MODULE",
            help="a module whose registered classes are ops too; may be repeated",
        )
    return parser


def _structure_verbs(verbs: Any) -> None:
    validate = _verb(verbs, "validate", "structure", "Say everything that is wrong with a spec.")
    validate.add_argument(
        "--no-shapes", action="store_true", help="leave out shapes, which need torch"
    )
    show = _verb(verbs, "show", "structure", "List a network's layers.")
    show.add_argument("--shapes", action="store_true", help="work out shapes (loads torch)")
    show.add_argument("--flat", action="store_true", help="every layer, blocks not folded")
    _verb(verbs, "expand", "structure", "Print the flat form, with nothing left to compute.")
    compile_ = _verb(verbs, "compile", "structure", "Print the network as PyTorch source.")
    _output(compile_, "write the source here instead of printing it")


def _analysis_verbs(verbs: Any) -> None:
    paths = _verb(verbs, "paths", "paths", "Count and list the paths of a gradient.")
    _wrt(paths)
    _view(paths, "op")
    paths.add_argument("--limit", type=_count, default=20, metavar="N", help="list at most N paths")
    paths.add_argument("--top", type=_count, metavar="K", help="list the K paths of largest |λ|")
    paths.add_argument(
        "--rank-by",
        metavar="FILE",
        help="rank by these weights of edges instead: JSON of numbers by edge id, or what "
        "decompose --by edge --json printed",
    )
    paths.add_argument(
        "--routes",
        type=_count,
        nargs="?",
        const=10,
        metavar="K",
        help="list K classes of paths too, by what they take of each stage (default 10)",
    )
    paths.add_argument(
        "--grade",
        choices=("branches", "weights", "skips"),
        help="what routes count of each stage (default branches, where there are any)",
    )
    paths.add_argument(
        "--assume",
        action="append",
        default=[],
        metavar="PATTERN=NUMBER",
        help="a number for the Jacobians of the layers that match, or for one edge's hop",
    )
    derive = _verb(verbs, "derive", "analysis", "Write out a derivative, path by path.")
    _wrt(derive)
    _view(derive, "state")
    derive.add_argument("--of", default="L", metavar="NODE", help="what is derived (default L)")
    derive.add_argument("--form", choices=("partials", "local", "nested"), help="one form only")
    derive.add_argument(
        "--max-terms", type=_count, default=64, metavar="N", help="keep N terms (default 64)"
    )
    derive.add_argument("--latex", action="store_true", help="print LaTeX")
    derive.add_argument("--numbers", action="store_true", help="put in the numbers of one pass")
    _measured(derive, batch=1)
    _predict_verb(verbs)
    _measure_verb(verbs)
    _suggest_verb(verbs)
    check = _verb(
        verbs, "check", "analysis", "Hold paths against autograd, and predictions against networks."
    )
    _measured(check)
    check.add_argument("--train", action="store_true", help="in train mode")
    check.add_argument(
        "--budget",
        type=_count,
        metavar="N",
        help="most vector-Jacobian products that following paths may take, one for each path from "
        "each node (default 20000); other targets are checked by conservation only",
    )
    check.add_argument(
        "--statistics",
        action=argparse.BooleanOptionalAction,
        help="hold the predicted gradients against those of real networks, too (default where "
        "that takes a few seconds)",
    )
    check.add_argument(
        "--networks", type=_count, metavar="N", help="how many are predicted and drawn for that"
    )
    _decompose_verb(verbs)
    _diagnose_verb(verbs)
    render = _verb(verbs, "render", "analysis", "Draw the network, or a gradient's paths.")
    _wrt(render, required=False)
    _output(render, "the picture: .svg, .png, .pdf or .dot (default NAME.svg)")
    render.add_argument(
        "--max-nodes",
        type=_count,
        metavar="N",
        help="fold until N are left (default 60, and fewer where they do not fit a page)",
    )
    render.add_argument(
        "--unmeasured", action="store_true", help="with --wrt: draw the paths without measuring"
    )
    _measured(render)


def _predict_verb(verbs: Any) -> None:
    predict = _verb(verbs, "predict", "prediction", "Say how large the gradient will be.")
    predict.add_argument(
        "--method",
        choices=("auto", "bounds", "limit", "finite", "draws"),
        default="auto",
        help="bounds; infinite width; the network's own widths; real networks (default auto)",
    )
    predict.add_argument("--batch", type=_count, metavar="N", help="batch size (default 4)")
    predict.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn")
    predict.add_argument(
        "--samples", type=_count, metavar="N", help="networks; in the limit particles per layer"
    )
    predict.add_argument(
        "--eval", action="store_true", help="in eval mode: no dropout, no statistics of the batch"
    )
    predict.add_argument(
        "--grade",
        choices=("weights", "skips", "branches"),
        help="keep the paths apart by their number of these",
    )
    _wrt(predict, required=False)


def _measure_verb(verbs: Any) -> None:
    measure = _verb(verbs, "measure", "measurement", "Measure gradients in networks drawn for it.")
    measure.add_argument(
        "--networks", type=_count, default=100, metavar="N", help="how many (default 100)"
    )
    measure.add_argument("--batch", type=_count, default=4, metavar="N", help="batch size")
    measure.add_argument("--seed", type=int, default=0, metavar="N", help="of the first network")
    measure.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    measure.add_argument(
        "--eval", action="store_true", help="in eval mode: no dropout, no statistics of the batch"
    )
    for name, default, what in (
        ("vanishing", 1e-7, "gradients of a norm below X"),
        ("exploding", 1e3, "gradients of a norm above X"),
        ("relative-vanishing", 1e-3, "elements below X times those at the end"),
        ("relative-exploding", 1e3, "elements above X times those at the end"),
        ("dead", 0.9, "activations of which this part of the units is dead"),
        ("saturated", 0.5, "activations of which this part of the elements is saturated"),
    ):
        measure.add_argument(
            f"--{name}", type=_positive, metavar="X", help=f"report {what} (default {default:g})"
        )
    _wrt(measure, required=False)


def _suggest_verb(verbs: Any) -> None:
    suggest = _verb(verbs, "suggest", "suggest", "Say which changes would mend the gradient.")
    suggest.add_argument(
        "--limit", type=_count, default=5, metavar="N", help="show N suggestions (default 5)"
    )
    suggest.add_argument(
        "--apply", type=_count, metavar="N", help="write the N-th suggestion into the file, or -o"
    )
    _output(suggest, "with --apply: write here instead")
    suggest.add_argument(
        "--cut",
        action="append",
        default=[],
        metavar="EDGE",
        help="instead: what if this edge carried nothing; an id, or a pattern with *",
    )
    suggest.add_argument(
        "--edit",
        action="append",
        default=[],
        metavar="CHANGE",
        help="instead: what if 'lam=0.9', 'init.weight=orthogonal', 'skip hidden every 5', "
        "'skip A->B' or 'A->B: lambda=0.5'; may be repeated",
    )
    suggest.add_argument("--batch", type=_count, metavar="N", help="batch size (default 32)")
    suggest.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn")


def _decompose_verb(verbs: Any) -> None:
    decompose = _verb(verbs, "decompose", "decomposition", "Split a measured gradient exactly.")
    _wrt(decompose, several=True)
    decompose.add_argument(
        "--by",
        choices=("path", "edge", "node", "weights", "skips", "branches", "loss"),
        default="edge",
        help="by path; by edge or node; by the number of weight layers, skips or branches on a "
        "path; by the terms of the loss (default edge)",
    )
    decompose.add_argument(
        "--degree",
        action="append",
        default=[],
        metavar="PATTERN=N",
        help="instead: by the sum of N over the edges that match; may be repeated",
    )
    decompose.add_argument("--of", default="L", metavar="NODE", help="what is split (default L)")
    decompose.add_argument("--top", type=_count, metavar="K", help="by path: the K heaviest only")
    decompose.add_argument(
        "--sample",
        type=_count,
        metavar="N",
        help="instead: draw N paths, and estimate what the norms of all add up to, by branches "
        "or by the number that --by names",
    )
    decompose.add_argument("--budget", type=_count, metavar="N", help="most paths to follow")
    decompose.add_argument(
        "--memory", metavar="SIZE", help="most memory for a split by number, such as 2GiB"
    )
    decompose.add_argument("--limit", type=_count, default=20, metavar="N", help="show N parts")
    decompose.add_argument("--flat", action="store_true", help="every edge, blocks not folded")
    decompose.add_argument("--train", action="store_true", help="in train mode")
    decompose.add_argument("--weights", metavar="FILE", help="weights: .safetensors or .pt")
    decompose.add_argument(
        "--data",
        metavar="FILE",
        help="inputs, and targets if they are named: .npy, .pt, .safetensors",
    )
    decompose.add_argument("--device", default="cpu", help="where it runs (default cpu)")
    _measured(decompose)


def _diagnose_verb(verbs: Any) -> None:
    diagnose = _verb(
        verbs, "diagnose", "diagnosis", "Say whether the gradient arrives, and what is in its way."
    )
    _wrt(diagnose, required=False)
    diagnose.add_argument("--eval", action="store_true", help="in eval mode (default train)")
    diagnose.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="CONDITION",
        help="fail unless it holds: 'rms(stem) > 1e-6', 'relative > 0.01', 'share(a->b) > 0.1'; "
        "rms, norm, share, relative, depth, skips, direct, gain, paths; may be repeated",
    )
    diagnose.add_argument(
        "--against",
        metavar="OTHER",
        help="compare with a spec, a setting such as lam=0.5, or a git revision of the file",
    )
    _measured(diagnose)


def _sweeping_verbs(verbs: Any) -> None:
    sweep = _verb(
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
        "--seeds", type=_count, default=1, metavar="N", help="jobs at each point (default 1)"
    )
    _output(sweep, "the rows: .csv, .json or .parquet")
    sweep.add_argument(
        "--plot",
        metavar="FILE",
        help="a picture: .png, .svg or .pdf; one param that varies gives lines, two a heatmap",
    )
    sweep.add_argument(
        "--workers", type=_count, metavar="N", help="processes (default one for each processor)"
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
        type=_count,
        metavar="N",
        help="networks that one job averages over; for measure (default 1) and predict",
    )
    sweep.add_argument("--batch", type=_count, metavar="N", help="batch size (default 4)")
    sweep.add_argument("--seed", type=int, default=0, metavar="N", help="that seeds come from")
    sweep.add_argument("--dtype", choices=("float64", "float32"), help="for measure, decompose")
    mode = sweep.add_mutually_exclusive_group()
    mode.add_argument("--train", action="store_true", help="in train mode (not decompose: default)")
    mode.add_argument("--eval", action="store_true", help="in eval mode (decompose: default)")

    compare = _verb(
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
        type=_count,
        default=0,
        metavar="N",
        help="draw N real networks of each and measure them too",
    )
    _output(compare, "the lines as a picture: .png, .svg or .pdf")
    plot = _verb(
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
        type=_count,
        metavar="N",
        help="draw N real networks of each (default 100; signal: 20)",
    )
    _output(plot, "the picture: .png, .svg or .pdf (default NAME.svg)")


def _profiled(parser: _Parser, *, batch: int | None = 4) -> None:
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
    parser.add_argument("--batch", type=_count, default=batch, metavar="N", help=size)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn")
    parser.add_argument("--samples", type=_count, metavar="N", help="networks of a prediction")
    parser.add_argument("--eval", action="store_true", help="in eval mode")


_GRID = (
    "--set takes several values, separated by commas, and ranges start:stop:step that include "
    "their stop: --set lam=0.5,1,1.1 --set depth=2:20:4; 2:20 counts in steps of 1, 16:256:*2 "
    "doubles. Lists and arguments stay whole: --set depths=[3,4,6,3],[3,4,23,3] are two lists, "
    "--set act='ReLU,LeakyReLU(0.1)' two ops. All combinations are taken."
)


def _reference_verbs(verbs: Any) -> None:
    _verb(verbs, "zoo", "reference", "List the specs that ship with archgraph.", spec=False)
    ops = _verb(verbs, "ops", "reference", "List the ops, or explain one.", spec=False)
    ops.add_argument("name", nargs="?", help="an op")
    schema = _verb(verbs, "schema", "reference", "Print the JSON Schema for editors.", spec=False)
    _output(schema, "write it here instead of printing it")


def _wrt(parser: _Parser, *, required: bool = True, several: bool = False) -> None:
    parser.add_argument(
        "--wrt",
        required=required,
        action="append" if several else "store",
        metavar="TARGET",
        help="a node, block, input or parameter, by its path: fc.weight, layer1.0.conv2 (a spec's "
        "formula says layer1[0].conv2); layer1.* is all parameters in layer1. In lists of paths "
        "b.0…3 are copies passed in turn, b.1[proj] the branch through proj only, and (b.1) is "
        "passed by its skip"
        + ("; may be repeated, for several gradients of one pass" if several else ""),
    )


def _view(parser: _Parser, default: str) -> None:
    parser.add_argument(
        "--view", choices=("op", "state", "block"), default=default, help="which nodes are seen"
    )


def _measured(parser: _Parser, *, batch: int = 4) -> None:
    parser.add_argument("--batch", type=_count, default=batch, metavar="N", help="batch size")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and data")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")


def _output(parser: _Parser, help: str) -> None:
    parser.add_argument("-o", "--output", metavar="FILE", help=help)


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return number
