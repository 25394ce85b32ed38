"""The verb suggest."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from archgraph.cli.printing import console, print_json, say, write_text
from archgraph.cli.progress import progress
from archgraph.errors import UsageError
from archgraph.files import check_target
from archgraph.spec import find_spec, parse, parse_setting, zoo

if TYPE_CHECKING:
    from archgraph.suggestion import Advice, Effect
    from archgraph.suggestion.origin import Origin
    from archgraph.suggestion.what_if import Answer

__all__ = ["run_suggest"]


def run_suggest(arguments: argparse.Namespace) -> int:
    """Say which changes would mend the gradient, or what a change would do."""
    if arguments.apply is not None:
        _check_target(arguments)
    elif arguments.output is not None:
        raise UsageError("-o says where --apply writes; add --apply 1")
    origin = _origin(arguments)
    settings = dict(parse_setting(text) for text in arguments.set)
    if arguments.cut or arguments.edit:
        return _what_if(arguments, origin, settings)
    from archgraph.suggestion.search import advise

    with progress("predictions") as report:
        advice = advise(
            origin,
            settings,
            limit=max(arguments.limit, arguments.apply or 1),
            batch=arguments.batch,
            seed=arguments.seed,
            progress=report,
        )
    path = None if arguments.apply is None else _apply(arguments, advice)
    if arguments.json:
        print_json({**advice.to_dict(), "path": path})
        return 0
    _print_advice(advice)
    if path is not None:
        say(f"suggestion {arguments.apply} is written to {path}")
    elif arguments.apply is not None:
        say("nothing is written")
    return 0


def _origin(arguments: argparse.Namespace) -> Origin:
    from archgraph.suggestion.origin import Origin, read_origin

    plugins = tuple(arguments.plugin)
    if arguments.spec != "-":
        return read_origin(arguments.spec, plugins)
    data = sys.stdin.buffer.read()
    parse(data, file="<stdin>", plugins=plugins)  # says what is wrong with it
    return Origin(data.decode("utf-8-sig"), "<stdin>", plugins=plugins)


def _check_target(arguments: argparse.Namespace) -> None:
    """Refuse to write where there is no file of the user's own, before anything is predicted.

    Raises:
        UsageError: a shipped spec or stdin, and no -o; or the file cannot be written.
    """
    if arguments.output is not None:
        check_target(arguments.output)
        return
    if arguments.spec == "-":
        raise UsageError("--apply cannot change stdin; say where to write with -o FILE")
    if find_spec(arguments.spec) in zoo().values():
        raise UsageError(
            f"--apply does not change {arguments.spec!r}, which ships with archgraph; "
            "say where to write with -o FILE"
        )
    check_target(find_spec(arguments.spec))


def _apply(arguments: argparse.Namespace, advice: Advice) -> str | None:
    """Write a suggestion and return the path; None where nothing needs mending."""
    if advice.flat or advice.before.closed is not None:
        return None
    if arguments.apply > len(advice.suggestions):
        count = len(advice.suggestions)
        raise UsageError(f"there is no suggestion {arguments.apply}; there are {count}")
    return _write(arguments, advice.suggestions[arguments.apply - 1].text)


def _write(arguments: argparse.Namespace, text: str) -> str:
    return str(write_text(arguments.output or str(find_spec(arguments.spec)), text))


def _what_if(arguments: argparse.Namespace, origin: Origin, settings: dict[str, object]) -> int:
    from archgraph.suggestion.what_if import ask, is_of_text

    writes = arguments.apply is not None
    if writes and (arguments.cut or not all(map(is_of_text, arguments.edit))):
        raise UsageError("a change of an edge is a question only; --apply writes changed text")
    answer = ask(
        origin,
        settings,
        cut=arguments.cut,
        edit=arguments.edit,
        batch=arguments.batch,
        seed=arguments.seed,
    )
    path = None
    if writes:
        assert answer.text is not None
        path = _write(arguments, answer.text)
    if arguments.json:
        print_json({"ok": True, **answer.to_dict(), "path": path})
        return 0
    _print_answer(answer)
    if path is not None:
        say(f"written to {path}")
    return 0


# --- printing -----------------------------------------------------------------------------------


def _print_advice(advice: Advice) -> None:
    before = advice.before
    say(f"{advice.graph.name}: {_gradient(before)}")
    say(f"  {_from_there(before)}")
    if before.closed is not None:
        say(
            f"the weights of {before.closed} start at 0, so that nothing reaches the layers before "
            "it at the first step, and all after it: there is nothing to compare"
        )
        return
    if advice.flat:
        say("nothing needs mending: that is within a factor of 10")
        return
    say(f"  needs mending: {before.trouble}")
    if not advice.suggestions:
        help = "make them finite" if before.overflow else "help"
        say(f"none of the {advice.tried} changes that were predicted would {help}")
        return
    if advice.settings:
        names = ", ".join(advice.settings)
        say(f"what was --set ({names}) is the file's own default in these diffs, or is changed")
    for number, suggestion in enumerate(advice.suggestions, 1):
        after = suggestion.after
        say()
        say(f"{number}. {suggestion.title}" + ("" if after.flat else " (not enough by itself)"))
        say(f"   {suggestion.why}")
        say(f"   ∂L/∂weight {_short(before)} → {_short(after)}{_values(before, after)}")
        energies = f"{_energy_or_none(before)} → {_energy_or_none(after)}"
        say(
            f"   E‖∂L/∂{after.start}‖² {energies}; mean squares of outputs "
            f"{_range(before)} → {_range(after)}"
        )
        _print_diff(suggestion.diff)


def _values(before: Effect, after: Effect) -> str:
    """Return how the gradients of the two layers' outputs compare, where they can."""
    if before.values is None or after.values is None:
        return ""
    return f"; ∂L/∂output {before.values:.2g} → {after.values:.2g}"


def _range(effect: Effect) -> str:
    return f"{effect.smallest:.2g}…" + ("∞" if effect.overflow else f"{effect.largest:.2g}")


def _energy_or_none(effect: Effect) -> str:
    return "overflows" if effect.overflow else f"{effect.energy:.2g}"


def _print_answer(answer: Answer) -> None:
    before, after = answer.before, answer.after
    say(f"before: {_gradient(before)}")
    say(f"  {_from_there(before)}")
    say(f"after {'; '.join(answer.changes)}: {_gradient(after)}")
    say(f"  {_from_there(after)}")
    if answer.diff:
        _print_diff(answer.diff)


def _gradient(effect: Effect) -> str:
    """Return the sentence that says how the ends compare."""
    if effect.overflow:
        return f"∂L/∂weight overflows: {effect.first} and {effect.last} cannot be compared"
    return (
        f"an element of ∂L/∂weight is {_short(effect)} times as large in {effect.first} as in "
        f"{effect.last}"
    )


def _energy(effect: Effect) -> str:
    error = "" if effect.energy_error is None else f" ± {effect.energy_error:.1g}"
    return f"E‖∂L/∂{effect.start}‖² is {effect.energy:.3g}{error} of that at the output"


def _from_there(effect: Effect) -> str:
    """Return how much of the gradient arrives, if that is finite, and how that is known."""
    return _how(effect) if effect.overflow else f"{_energy(effect)}; {_how(effect)}"


def _how(effect: Effect) -> str:
    return f"predicted: {effect.method}, batch {effect.batch}, {effect.samples} networks"


def _short(effect: Effect) -> str:
    if effect.overflow:
        return "overflows"
    error = "" if effect.standard_error is None else f" ± {effect.standard_error:.1g}"
    return f"{effect.ratio:.2g}{error}"


_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def _print_diff(diff: str) -> None:
    """Print a diff, in colour on a terminal only, as it is elsewhere."""
    shown = console()
    if not shown.is_terminal:
        say(diff.rstrip("\n"))
        return
    from rich.text import Text

    for line in diff.splitlines():
        style = "bold" if line.startswith(("---", "+++")) else _COLOURS.get(line[:1], "")
        shown.print(Text(line, style=style), soft_wrap=True)
