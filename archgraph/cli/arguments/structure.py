"""Verbs about what a network is: its spec, its paths, its source; and about archgraph itself."""

from __future__ import annotations

from typing import Any

from archgraph.cli.arguments.options import (
    add_measured,
    add_output,
    add_verb,
    add_view,
    add_wrt,
    count,
)

__all__ = ["reference_verbs", "structure_verbs"]


def structure_verbs(verbs: Any) -> None:
    """Add validate, show, expand, compile, paths, derive and render."""
    validate = add_verb(verbs, "validate", "structure", "Say everything that is wrong with a spec.")
    validate.add_argument(
        "--no-shapes", action="store_true", help="leave out shapes, which need torch"
    )
    show = add_verb(verbs, "show", "structure", "List a network's layers.")
    show.add_argument("--shapes", action="store_true", help="work out shapes (loads torch)")
    show.add_argument("--flat", action="store_true", help="every layer, blocks not folded")
    expand = add_verb(
        verbs, "expand", "structure", "Print the flat form, with nothing left to compute."
    )
    add_output(expand, "write it here instead of printing it")
    compile_ = add_verb(verbs, "compile", "structure", "Print the network as PyTorch source.")
    add_output(compile_, "write the source here instead of printing it")
    _paths_verb(verbs)
    _derive_verb(verbs)
    _render_verb(verbs)


def _paths_verb(verbs: Any) -> None:
    paths = add_verb(verbs, "paths", "paths", "Count and list the paths of a gradient.")
    add_wrt(paths)
    add_view(paths, "op")
    paths.add_argument("--limit", type=count, default=20, metavar="N", help="list at most N paths")
    paths.add_argument("--top", type=count, metavar="K", help="list the K paths of largest |λ|")
    paths.add_argument(
        "--rank-by",
        metavar="FILE",
        help="rank by these weights of edges instead: JSON of numbers by edge id, or what "
        "decompose --by edge --json printed",
    )
    paths.add_argument(
        "--routes",
        type=count,
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


def _derive_verb(verbs: Any) -> None:
    derive = add_verb(verbs, "derive", "analysis", "Write out a derivative, path by path.")
    add_wrt(derive)
    add_view(derive, "state")
    derive.add_argument("--of", default="L", metavar="NODE", help="what is derived (default L)")
    derive.add_argument("--form", choices=("partials", "local", "nested"), help="one form only")
    derive.add_argument(
        "--max-terms", type=count, default=64, metavar="N", help="keep N terms (default 64)"
    )
    derive.add_argument("--latex", action="store_true", help="print LaTeX")
    derive.add_argument("--numbers", action="store_true", help="put in the numbers of one pass")
    add_measured(derive, batch=1)


def _render_verb(verbs: Any) -> None:
    render = add_verb(verbs, "render", "analysis", "Draw the network, or a gradient's paths.")
    add_wrt(render, required=False)
    add_output(render, "the picture: .svg, .png, .pdf or .dot (default NAME.svg)")
    render.add_argument(
        "--max-nodes",
        type=count,
        metavar="N",
        help="fold until N are left (default 60, and fewer where they do not fit a page)",
    )
    render.add_argument(
        "--unmeasured", action="store_true", help="with --wrt: draw the paths without measuring"
    )
    add_measured(render)


def reference_verbs(verbs: Any) -> None:
    """Add zoo, ops and schema."""
    add_verb(verbs, "zoo", "reference", "List the specs that ship with archgraph.", spec=False)
    ops = add_verb(verbs, "ops", "reference", "List the ops, or explain one.", spec=False)
    ops.add_argument("name", nargs="?", help="an op")
    schema = add_verb(verbs, "schema", "reference", "Print a JSON Schema for editors.", spec=False)
    add_output(schema, "write it here instead of printing it")
