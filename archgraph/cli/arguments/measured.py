"""Verbs that run networks: check, decompose, measure, diagnose."""

from __future__ import annotations

import argparse
from typing import Any

from archgraph.cli.arguments.options import add_measured, add_verb, add_wrt, count, positive

__all__ = ["measured_verbs"]


def measured_verbs(verbs: Any) -> None:
    """Add check, decompose, measure and diagnose."""
    _check_verb(verbs)
    _decompose_verb(verbs)
    _measure_verb(verbs)
    _diagnose_verb(verbs)


def _check_verb(verbs: Any) -> None:
    check = add_verb(
        verbs, "check", "analysis", "Hold paths against autograd, and predictions against networks."
    )
    add_measured(check)
    check.add_argument("--train", action="store_true", help="in train mode")
    check.add_argument(
        "--budget",
        type=count,
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
        "--networks", type=count, metavar="N", help="how many are predicted and drawn for that"
    )


def _decompose_verb(verbs: Any) -> None:
    decompose = add_verb(verbs, "decompose", "decomposition", "Split a measured gradient exactly.")
    add_wrt(decompose, several=True)
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
    decompose.add_argument("--top", type=count, metavar="K", help="by path: the K heaviest only")
    decompose.add_argument(
        "--sample",
        type=count,
        metavar="N",
        help="instead: draw N paths, and estimate what the norms of all add up to, by branches "
        "or by the number that --by names",
    )
    decompose.add_argument("--budget", type=count, metavar="N", help="most paths to follow")
    decompose.add_argument(
        "--memory", metavar="SIZE", help="most memory for a split by number, such as 2GiB"
    )
    decompose.add_argument("--limit", type=count, default=20, metavar="N", help="show N parts")
    decompose.add_argument("--flat", action="store_true", help="every edge, blocks not folded")
    decompose.add_argument("--train", action="store_true", help="in train mode")
    decompose.add_argument("--weights", metavar="FILE", help="weights: .safetensors or .pt")
    decompose.add_argument(
        "--data",
        metavar="FILE",
        help="inputs, and targets if they are named: .npy, .pt, .safetensors",
    )
    decompose.add_argument("--device", default="cpu", help="where it runs (default cpu)")
    add_measured(decompose)


def _measure_verb(verbs: Any) -> None:
    measure = add_verb(verbs, "measure", "measurement", "Measure gradients in many networks.")
    measure.add_argument(
        "--networks", type=count, default=100, metavar="N", help="how many (default 100)"
    )
    measure.add_argument("--batch", type=count, default=4, metavar="N", help="batch size")
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
            f"--{name}", type=positive, metavar="X", help=f"report {what} (default {default:g})"
        )
    add_wrt(measure, required=False)


def _diagnose_verb(verbs: Any) -> None:
    diagnose = add_verb(
        verbs, "diagnose", "diagnosis", "Say whether the gradient arrives, and what is in its way."
    )
    add_wrt(diagnose, required=False)
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
    add_measured(diagnose)
