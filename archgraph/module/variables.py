"""Local variables that take turns under one name: `x = self.conv1(x)`, as a person writes it.

It is more than looks. A name keeps its value alive until `forward` returns; without gradients a
deep network would hold all its states at once instead of two or three.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["share_names"]


@dataclass(frozen=True, slots=True)
class _Line:
    """A statement, which may be a whole loop: what it sets, what it reads."""

    text: str
    sets: tuple[str, ...]
    """Names that no other line sets and that may change; none of a loop."""
    reads: frozenset[str]


def share_names(
    arguments: Sequence[str],
    statements: Sequence[str],
    taken: Collection[str],
    flows: Collection[str] = (),
) -> list[str]:
    """Return the statements with one name for variables that differ in their numbers only.

    A variable takes the name over where the one before is read for the last time: `x1, x2, x3`
    become `x`. Variables that live side by side keep their names.

    Args:
        arguments: Names of the function's arguments, which stay.
        statements: Assignments to names that are each set once, expressions, and a return.
        taken: Names that mean something else.
        flows: Variables that are called `x` where that is free, as what goes through a network is.

    Example:
        >>> share_names(["x0"], ["x1 = f(x0)", "x2 = g(x1) + x1", "return h(x2)"], ["f", "g", "h"])
        ['x = f(x0)', 'x = g(x) + x', 'return h(x)']
    """
    lines = [_parse(text) for text in statements]
    last_read = {name: i for i, line in enumerate(lines) for name in line.reads}
    chains = _chains(arguments, lines, last_read, flows)
    used = {name for line in lines for name in line.sets} | set(taken) | set(arguments)
    used |= {name for line in lines if not line.sets for name in line.reads}
    names: dict[str, str] = {}
    for stem, of_stem in chains.items():
        longest = max(of_stem, key=len)
        dead = stem in arguments and last_read.get(stem, 0) <= _set_at(lines, longest[0])
        if len(longest) > 1 and (stem not in used or stem in longest or dead):
            names |= dict.fromkeys(longest, stem)
    return [_renamed(line.text, names) for line in lines]


def _chains(
    arguments: Sequence[str],
    lines: Sequence[_Line],
    last_read: Mapping[str, int],
    flows: Collection[str],
) -> dict[str, list[list[str]]]:
    """Return by stem the variables that could take turns, each after the one before it."""
    chains: dict[str, list[list[str]]] = {a: [[a]] for a in arguments if _stem(a) == a}
    for i, line in enumerate(lines):
        for name in line.sets:
            if name in flows:
                first = chains.setdefault("x", [[]])[0]
                if not first or last_read.get(first[-1], i) <= i:
                    first.append(name)
                    continue
            of_stem = chains.setdefault(_stem(name), [])
            free = [chain for chain in of_stem if last_read.get(chain[-1], i) <= i]
            set_here = [chain for chain in free if chain[-1] in line.sets]
            free = [chain for chain in free if chain not in set_here]
            (free[0] if free else _new(of_stem)).append(name)
    return chains


def _parse(text: str) -> _Line:
    # A `return` may stand alone for `ast`, as long as the text is not compiled.
    names = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)]
    sets = tuple(n.id for n in names if isinstance(n.ctx, ast.Store))
    reads = frozenset(n.id for n in names if isinstance(n.ctx, ast.Load))
    # What a loop sets is set again and again, so it takes no other's place.
    return _Line(text, (), reads | set(sets)) if "\n" in text else _Line(text, sets, reads)


def _stem(name: str) -> str:
    """Return a variable's name without its numbers: `h_0_out` is one of the `h_out`."""
    stem = re.sub(r"_?\d+", "", name).rstrip("_")
    usable = stem.isidentifier() and not keyword.iskeyword(stem) and stem not in ("l", "O", "I")
    return stem if usable else name


def _new(chains: list[list[str]]) -> list[str]:
    chains.append([])
    return chains[-1]


def _set_at(lines: Sequence[_Line], name: str) -> int:
    return next((i for i, line in enumerate(lines) if name in line.sets), -1)


def _renamed(text: str, names: Mapping[str, str]) -> str:
    found = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name) and n.id in names]
    lines = [line.encode() for line in text.split("\n")]  # positions count bytes
    for node in sorted(found, key=lambda n: n.col_offset, reverse=True):
        raw = lines[node.lineno - 1]
        new = names[node.id].encode()
        lines[node.lineno - 1] = raw[: node.col_offset] + new + raw[node.end_col_offset :]
    return b"\n".join(lines).decode()
