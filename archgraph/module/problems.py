"""Problems of the copies of one layer, told once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from archgraph.errors import Mark, Problem

__all__ = ["folded"]

_Key = tuple[Mark, str, str, str | None, str | None]


def folded(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems, one for all that say the same of copies of the same source.

    They stand at one place of a text, and their messages differ in the names that they quote only.
    The first is kept, and says how many more there are.
    """
    first: dict[_Key | int, Problem] = {}
    counts: Counter[_Key | int] = Counter()
    for number, problem in enumerate(problems):
        message = re.sub("'[^']*'", "''", problem.message)
        key: _Key | int = (problem.mark, problem.code, message, problem.why, problem.help)
        if not problem.mark.text:
            key = number  # built in Python, where all of them have the same place
        first.setdefault(key, problem)
        counts[key] += 1
    return [
        replace(problem, message=f"{problem.message} (and {counts[key] - 1} more like it)")
        if counts[key] > 1
        else problem
        for key, problem in first.items()
    ]
