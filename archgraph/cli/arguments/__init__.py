"""The verbs and their options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from archgraph.cli.arguments.measured import measured_verbs
from archgraph.cli.arguments.options import Parser
from archgraph.cli.arguments.predicted import predicted_verbs
from archgraph.cli.arguments.structure import reference_verbs, structure_verbs
from archgraph.cli.arguments.sweeping import sweeping_verbs
from archgraph.errors import UsageError, suggest
from archgraph.spec import zoo

__all__ = ["build_parser", "parse_arguments"]


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments; `run` is the verb's function.

    Raises:
        UsageError: they do not fit.
        SystemExit: `--help` or `--version` was asked for.
    """
    parser = build_parser()
    verbs = parser.get_default("verbs")
    first = next((word for word in argv if word == "-" or not word.startswith("-")), None)
    if first is None and not set(argv) & {"-h", "--help", "--version"}:
        raise UsageError(f"say what to do: archgraph {{{','.join(verbs)}}} SPEC")
    if first is not None and first not in verbs and _is_spec(first):
        argv, first = ["diagnose", *argv], "diagnose"
    if first is not None and first not in verbs:
        close = suggest(first, verbs) or suggest(first, zoo())
        hint = f"; did you mean '{close}'?" if close else f"; the verbs are {', '.join(verbs)}"
        raise UsageError(f"there is no verb or shipped spec '{first}'{hint}")
    arguments, left = parser.parse_known_args(argv)
    if left:
        verbs[first].refuse(left)
    _keep_the_spec(arguments)
    return arguments


def _keep_the_spec(arguments: argparse.Namespace) -> None:
    """Refuse an output that is the spec itself; only `suggest --apply` writes it."""
    output, spec = getattr(arguments, "output", None), getattr(arguments, "spec", None)
    if output is None or arguments.verb == "suggest":
        return
    for one in spec if isinstance(spec, list) else [spec]:
        if one is not None and Path(output).resolve() == Path(one).resolve():
            raise UsageError(f"-o {output} would overwrite the spec itself")


def _is_spec(word: str) -> bool:
    """Whether a word that stands where a verb would is a spec instead: that is `diagnose`."""
    return word == "-" or word.endswith((".yaml", ".yml")) or "/" in word or word in zoo()


def build_parser() -> Parser:
    """Return the parser; its default `verbs` holds theirs by name."""
    from archgraph import __version__

    parser = Parser(
        prog="archgraph",
        description="Neural-network architectures as YAML: their backprop paths, counted, "
        "derived, measured and drawn.",
    )
    parser.add_argument("--version", action="version", version=f"archgraph {__version__}")
    verbs = parser.add_subparsers(metavar="verb", parser_class=Parser)
    for add in (structure_verbs, measured_verbs, predicted_verbs, sweeping_verbs, reference_verbs):
        add(verbs)
    parser.set_defaults(verbs=dict(verbs.choices))
    return parser
