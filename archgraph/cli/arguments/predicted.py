"""Verbs that say something before anything runs: predict, suggest."""

from __future__ import annotations

from typing import Any

from archgraph.cli.arguments.options import add_output, add_verb, add_wrt, count

__all__ = ["predicted_verbs"]


def predicted_verbs(verbs: Any) -> None:
    """Add predict and suggest."""
    _predict_verb(verbs)
    _suggest_verb(verbs)


def _predict_verb(verbs: Any) -> None:
    predict = add_verb(verbs, "predict", "prediction", "Say how large the gradient will be.")
    predict.add_argument(
        "--method",
        choices=("auto", "bounds", "limit", "finite", "draws"),
        default="auto",
        help="bounds; infinite width; the network's own widths; real networks (default auto)",
    )
    predict.add_argument("--batch", type=count, metavar="N", help="batch size (default 4)")
    predict.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn")
    predict.add_argument(
        "--samples", type=count, metavar="N", help="networks; in the limit particles per layer"
    )
    predict.add_argument(
        "--eval", action="store_true", help="in eval mode: no dropout, no statistics of the batch"
    )
    predict.add_argument(
        "--grade",
        choices=("weights", "skips", "branches"),
        help="keep the paths apart by their number of these",
    )
    add_wrt(predict, required=False)


def _suggest_verb(verbs: Any) -> None:
    suggest = add_verb(verbs, "suggest", "suggest", "Say which changes would mend the gradient.")
    suggest.add_argument(
        "--limit", type=count, default=5, metavar="N", help="show N suggestions (default 5)"
    )
    suggest.add_argument(
        "--apply", type=count, metavar="N", help="write the N-th suggestion into the file, or -o"
    )
    add_output(suggest, "with --apply: write here instead")
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
    suggest.add_argument("--batch", type=count, metavar="N", help="batch size (default 32)")
    suggest.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn")
