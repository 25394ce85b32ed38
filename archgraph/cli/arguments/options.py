"""What verbs are made of: the parser, and the options that several of them share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

from archgraph.errors import UsageError, suggest

__all__ = [
    "Parser",
    "add_measured",
    "add_output",
    "add_verb",
    "add_view",
    "add_wrt",
    "count",
    "positive",
]


class Parser(argparse.ArgumentParser):
    """A parser that raises instead of leaving the process, and suggests what was meant."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print, with the usage."""
        raise UsageError(f"{message}\n{self.format_usage().strip()}")

    def refuse(self, words: Sequence[str]) -> NoReturn:
        """Raise for words that nothing takes, with the option that was meant if one is close."""
        known = [option for action in self._actions for option in action.option_strings]
        unknown = next((word.partition("=")[0] for word in words if word.startswith("-")), None)
        if unknown is None:
            self.error(f"unrecognized arguments: {' '.join(words)}")
        close = suggest(unknown, known)
        hint = f"; did you mean '{close}'?" if close else ""
        self.error(f"{self.prog} has no option '{unknown}'{hint}")


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


def add_verb(
    verbs: Any,
    name: str,
    module: str,
    help: str,
    *,
    spec: bool = True,
    several: bool = False,
    grid: bool = False,
    epilog: str | None = None,
) -> Parser:
    """Add a verb with what all of them take; `run_NAME` in `cli.MODULE` is its function."""
    parser: Parser = verbs.add_parser(
        name, help=help, description=help, epilog=epilog, formatter_class=_Paragraphs
    )
    parser.set_defaults(verb=name, run=_runner(module, f"run_{name}"))
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


def add_wrt(parser: Parser, *, required: bool = True, several: bool = False) -> None:
    """Add the target of a gradient."""
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


def add_view(parser: Parser, default: str) -> None:
    """Add the choice of a view."""
    parser.add_argument(
        "--view", choices=("op", "state", "block"), default=default, help="which nodes are seen"
    )


def add_measured(parser: Parser, *, batch: int = 4) -> None:
    """Add what a recorded pass takes."""
    parser.add_argument("--batch", type=count, default=batch, metavar="N", help="batch size")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and data")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")


def add_output(parser: Parser, help: str) -> None:
    """Add the file that the result is written to."""
    parser.add_argument("-o", "--output", metavar="FILE", help=help)


def count(text: str) -> int:
    """Read a whole number above 0."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def positive(text: str) -> float:
    """Read a positive number."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return number
