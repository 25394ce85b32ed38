"""YAML text to a document: a file's name and its marked tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import yaml

from archgraph.errors import Mark, Problem, SpecError
from archgraph.spec.flow import quote_call
from archgraph.spec.reading import Limits, Reader
from archgraph.spec.tree import MapTree, SeqTree, Tree

__all__ = ["Document", "Limits", "parse_document"]


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: its name and its top-level mapping."""

    file: str
    root: MapTree

    def tree(self, path: tuple[str | int, ...]) -> Tree:
        """Return the deepest tree along `path` that exists."""
        here: Tree = self.root
        for step in path:
            below: Tree | None = None
            if isinstance(here, MapTree):
                below = here.get(str(step))
            elif isinstance(here, SeqTree) and isinstance(step, int) and step < len(here.items):
                below = here.items[step]
            if below is None:
                break
            here = below
        return here

    def mark(self, path: tuple[str | int, ...], *, key: bool = False) -> Mark:
        """Return the mark of the value at `path`, or of its key."""
        parent = self.tree(path[:-1])
        if key and path and isinstance(parent, MapTree):
            found = parent.key(str(path[-1]))
            if found is not None:
                return found.mark
        return self.tree(path).mark


def parse_document(data: bytes | str, file: str, limits: Limits | None = None) -> Document:
    """Parse one spec's text.

    Args:
        data: The file's bytes (UTF-8) or text.
        file: The name to show in messages.
        limits: Bounds on size and depth.

    Raises:
        SpecError: it is not one YAML mapping within the limits.

    Cost: linear in the text.
    """
    limits = limits or Limits()
    text = _decode(data, file, limits)
    reader = Reader(text, file, limits)
    try:
        events = _events(text, limits.depth)
    except yaml.YAMLError as error:
        raise SpecError([_syntax_problem(error, reader)]) from None
    reader.read(events)
    if reader.problems:
        raise SpecError(reader.problems)
    if not isinstance(reader.root, MapTree):
        mark = reader.root.mark if reader.root else Mark(file, 1, 1)
        empty = reader.root is None or getattr(reader.root, "value", 0) is None
        raise SpecError([_not_a_spec(mark, empty)])
    return Document(file, reader.root)


def _events(text: str, depth: int) -> list[Any]:
    """Return the parse events, by the fast parser if it is there; its errors are told by the other.

    Ends early below `depth`, where the reader stops: deep nesting is slow to go on parsing.
    """
    if not yaml.__with_libyaml__:
        return _until_too_deep(yaml.parse(text, Loader=yaml.SafeLoader), depth)
    try:
        return _until_too_deep(yaml.parse(text, Loader=yaml.CSafeLoader), depth)
    except yaml.YAMLError:
        _until_too_deep(yaml.parse(text, Loader=yaml.SafeLoader), depth)
        raise


def _until_too_deep(events: Iterator[Any], depth: int) -> list[Any]:
    found: list[Any] = []
    level = 0
    for event in events:
        found.append(event)
        level += isinstance(event, yaml.CollectionStartEvent)
        level -= isinstance(event, yaml.CollectionEndEvent)
        if level > depth + 1:
            break
    return found


def _decode(data: bytes | str, file: str, limits: Limits) -> str:
    size = len(data)
    first = Mark(file, 1, 1)
    if size > limits.file_bytes:
        problem = Problem(
            "too-large", f"the file has {size} bytes; the limit is {limits.file_bytes}", first
        )
        raise SpecError([problem])
    if isinstance(data, bytes):
        try:
            data = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            column = error.start - error.object.rfind(b"\n", 0, error.start)
            problem = Problem(
                "not-text",
                f"byte 0x{data[error.start]:02x} is not UTF-8 text",
                Mark(file, line, column),
                why="a spec is a YAML file, which is text",
            )
            raise SpecError([problem]) from None
    text = str(data)
    match = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if match:
        line = text.count("\n", 0, match.start()) + 1
        column = match.start() - text.rfind("\n", 0, match.start())
        problem = Problem(
            "not-text",
            f"character U+{ord(match.group()):04X} does not belong in a text file",
            Mark(file, line, column),
            why="a spec is a YAML file, which is text",
        )
        raise SpecError([problem])
    return text


def _not_a_spec(mark: Mark, empty: bool) -> Problem:
    what = "the file is empty" if empty else "a spec is a mapping of keys, and this is not"
    return Problem(
        "empty" if empty else "not-a-mapping",
        what,
        mark,
        help="begin with 'archgraph: 1', then 'inputs:' and 'layers:'",
    )


def _syntax_problem(error: yaml.YAMLError, reader: Reader) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = reader.mark(mark.line, mark.column, 1) if mark else Mark(reader.file, 1, 1)
    said = str(getattr(error, "problem", None) or error).strip().replace("\n", " ")
    corrected = quote_call(where.text, where.column - 1)
    if corrected is not None:
        start, line = corrected
        return Problem(
            "flow-formula",
            "YAML cuts this formula at the bracket",
            replace(where, column=start + 1, length=max(1, where.column - start)),
            why="inside { } a '[' or ',' belongs to YAML unless the formula is quoted",
            help=f"write: {line.strip()}",
        )
    context = getattr(error, "context", None)
    return Problem(
        "yaml-syntax",
        f"this is not YAML: {said}",
        where,
        why=str(context) if context else None,
        help="spaces, not tabs, make YAML's indentation" if "'\\t'" in said else None,
    )
