"""The verb diagnose, which is also what `archgraph SPEC` alone does."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archgraph.cli.printing import print_json, print_table, say
from archgraph.cli.progress import progress
from archgraph.cli.specs import load_spec
from archgraph.errors import GradientError, UsageError
from archgraph.graph import Graph
from archgraph.spec import load, parse, parse_setting

if TYPE_CHECKING:
    from archgraph.diagnosis import Diagnosis, Expectation

__all__ = ["run_diagnose"]


def run_diagnose(arguments: argparse.Namespace) -> int:
    """Say whether the gradient arrives, how, and what stands in its way."""
    from archgraph.diagnosis import outcome, parse_expectation

    graph = load_spec(arguments)
    expectations = [parse_expectation(text) for text in arguments.expect]
    other = None if arguments.against is None else _other(arguments)
    try:
        found = _diagnose(graph, arguments)
    except GradientError as error:
        # Overflow is an answer, too: there is no gradient to look at.
        if arguments.json:
            verdict = "not finite" if "not a number" in str(error) else "failed"
            print_json({"ok": False, "name": graph.name, "verdict": verdict, "why": str(error)})
        else:
            say(f"{graph.name}: {error}")
        return 1
    against = None if other is None else _diagnose(other, arguments)
    outcomes = [outcome(expectation, found) for expectation in expectations]
    good = all(item["ok"] for item in outcomes)
    if arguments.json:
        result: dict[str, Any] = {"ok": good, **found.to_dict(), "expectations": outcomes}
        if against is not None:
            result["against"] = against.to_dict()
        print_json(result)
    elif against is None:
        _print(found)
        _print_expectations(expectations, outcomes)
    else:
        _print_both(found, against, arguments.against)
        _print_expectations(expectations, outcomes)
    return 0 if good else 1


def _diagnose(graph: Graph, arguments: argparse.Namespace) -> Diagnosis:
    from archgraph.diagnosis import diagnose

    with progress("nodes") as report:
        return diagnose(
            graph,
            arguments.wrt,
            batch=arguments.batch,
            seed=arguments.seed,
            dtype=arguments.dtype,
            train=not arguments.eval,
            progress=report,
        )


# --- the other network ------------------------------------------------------------------------


def _other(arguments: argparse.Namespace) -> Graph:
    """Return the graph of `--against`: a setting, a spec, or a git revision of the same file.

    Raises:
        UsageError: it is none of them.
    """
    text, plugins = arguments.against, tuple(arguments.plugin)
    settings = dict(parse_setting(setting) for setting in arguments.set)
    if "=" in text and not Path(text).exists():
        name, value = parse_setting(text)
        return load(arguments.spec, plugins=plugins, **{**settings, name: value})
    try:
        return load(text, plugins=plugins, **settings)
    except UsageError:
        content = _at_revision(arguments.spec, text)
        if content is None:
            raise UsageError(
                f"--against takes a spec, a setting such as lam=0.5, or a git revision of "
                f"{arguments.spec!r}, and {text!r} is none of them"
            ) from None
    return parse(content, file=f"{arguments.spec}@{text}", plugins=plugins, **settings)


def _at_revision(spec: str, revision: str) -> bytes | None:
    """Return what a file was in a git revision; None if there is no such."""
    path = Path(spec)
    if not path.is_file() or revision.startswith("-"):
        return None
    try:
        found = subprocess.run(
            ["git", "show", f"{revision}:./{path.name}"],
            cwd=path.resolve().parent,
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout


# --- for a person -----------------------------------------------------------------------------


def _print(found: Diagnosis) -> None:
    from archgraph.diagnosis.text import describe, explain

    say(f"{found.graph.name}: {explain(found)}")
    width = max(len(name) for name, _ in describe(found))
    for name, text in describe(found):
        say(f"  {name:{width}}  {text}")
    say(f"  {_conditions(found)}")


def _conditions(found: Diagnosis) -> str:
    mode = "train" if found.train else "eval"
    return f"({found.dtype}, batch {found.batch}, seed {found.seed}, {mode} mode)"


def _print_both(found: Diagnosis, against: Diagnosis, name: str) -> None:
    from archgraph.diagnosis.text import changes, describe, explain

    say(f"{found.graph.name}: {explain(found)}")
    say(f"{name}: {explain(against)}")
    rows = [
        (label, now, before)
        for (label, now), (_, before) in zip(describe(found), describe(against), strict=False)
        if label not in ("", "cause", "notes")
    ]
    print_table(["", found.graph.name, name], rows)
    new, gone = changes(against.findings, found.findings)
    for finding in new:
        say(f"only {found.graph.name}: {finding}")
    for finding in gone:
        say(f"only {name}: {finding}")
    say(_conditions(found))


def _print_expectations(expectations: list[Expectation], outcomes: list[dict[str, Any]]) -> None:
    for expectation, item in zip(expectations, outcomes, strict=True):
        value = "not defined" if item["value"] is None else f"{item['value']:.3g}"
        say(f"{'holds' if item['ok'] else 'FAILS'}: {expectation.text} (it is {value})")
