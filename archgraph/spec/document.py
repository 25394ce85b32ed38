"""YAML text to a marked tree: every key and value knows its file, line and column.

Scalars mean what YAML 1.2 says they mean (`1e-3` is a number; `no` and `on` are strings), decimal
literals are exact, and what a spec has no use for is refused: tags, `<<`, duplicate keys,
several documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final, TypeAlias

import yaml

from archgraph.errors import Mark, Problem, SpecError
from archgraph.expression import parse_decimal
from archgraph.spec.flow import broken_call, quote_call

__all__ = ["Document", "Limits", "MapTree", "Scalar", "SeqTree", "Tree", "parse_document"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a spec may be; every one can be raised by the caller."""

    file_bytes: int = 1_000_000
    depth: int = 40
    values: int = 200_000
    """YAML values after aliases are followed."""
    nodes: int = 100_000
    """Nodes of the expanded graph."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A YAML scalar: its text, what it means, and where it stands."""

    text: str
    value: Any
    """str, int, Fraction, float (`.inf`), bool or None."""
    mark: Mark
    offset: int | None = None
    """Columns from the mark to the text's first character; None if the two do not line up."""

    def at(self, position: int, length: int) -> Mark:
        """Return the mark of part of the text, or of the whole if columns do not line up."""
        if self.offset is None:
            return self.mark
        return self.mark.shift(self.offset + position, length)


@dataclass(frozen=True, slots=True)
class SeqTree:
    """A YAML sequence."""

    items: tuple[Tree, ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class MapTree:
    """A YAML mapping; keys are scalars, compared by their text, in the file's order."""

    entries: tuple[tuple[Scalar, Tree], ...]
    mark: Mark

    def get(self, key: str) -> Tree | None:
        """Return the value under `key`, or None."""
        return next((value for name, value in self.entries if name.text == key), None)

    def key(self, key: str) -> Scalar | None:
        """Return the key itself, for its mark."""
        return next((name for name, _ in self.entries if name.text == key), None)


Tree: TypeAlias = Scalar | SeqTree | MapTree


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


_NULL: Final = {"", "~", "null", "Null", "NULL"}
_TRUE: Final = {"true", "True", "TRUE"}
_FALSE: Final = {"false", "False", "FALSE"}
_INT: Final = re.compile(r"[-+]?[0-9]+\Z")
_BASED: Final = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_SPECIAL: Final = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")


def scalar_value(text: str) -> Any:
    """Return what a plain scalar means under the YAML 1.2 core schema, decimals exactly.

    Example:
        >>> scalar_value("1e-3"), scalar_value("no"), scalar_value("0o17")
        (Fraction(1, 1000), 'no', 15)
    """
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if len(text) <= 400:
        if _INT.match(text):
            return int(text)
        if _BASED.match(text):
            return int(text, 0)
        if _FLOAT.match(text):
            sign = -1 if text[0] == "-" else 1
            return sign * parse_decimal(text.lstrip("+-"))
        if _SPECIAL.match(text):
            return float(text.replace(".", ""))
    return text


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
    reader = _Reader(text, file, limits)
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


def _syntax_problem(error: yaml.YAMLError, reader: _Reader) -> Problem:
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


class _Reader:
    """Builds the tree from parse events, collecting every problem."""

    def __init__(self, text: str, file: str, limits: Limits) -> None:
        self.file, self.limits = file, limits
        self.lines = text.splitlines()
        self.problems: list[Problem] = []
        self.root: Tree | None = None
        self._anchors: dict[str, tuple[Tree, int]] = {}
        self._values = 0

    def mark(self, line: int, column: int, length: int) -> Mark:
        text = self.lines[line] if line < len(self.lines) else ""
        return Mark(self.file, line + 1, column + 1, max(1, length), text)

    def _span(self, event: Any) -> Mark:
        start, end = event.start_mark, event.end_mark
        length = end.column - start.column if end.line == start.line else 1
        return self.mark(start.line, start.column, length)

    def _add(self, code: str, message: str, mark: Mark, **rest: str | None) -> None:
        self.problems.append(Problem(code, message, mark, **rest))  # type: ignore[arg-type]

    def read(self, events: list[Any]) -> None:
        stream = iter(events)
        documents = 0
        for event in stream:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents == 2:
                    self._add("yaml-syntax", "a file holds one spec", self._span(event))
            elif isinstance(event, yaml.NodeEvent):
                tree = self._tree(event, stream, 0)
                self.root = self.root or tree

    def _tree(self, event: Any, stream: Iterator[Any], depth: int) -> Tree:
        mark = self._span(event)
        self._values += 1
        before = self._values
        if depth > self.limits.depth:
            self._stop("too-deep", f"nested deeper than {self.limits.depth}", mark)
        if self._values > self.limits.values:
            self._stop("too-large", f"more than {self.limits.values} values", mark)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, mark)
        if getattr(event, "tag", None) not in (None, "!"):
            self._add("yaml-tag", f"the tag {event.tag!r} is not allowed", mark)
        tree: Tree
        if isinstance(event, yaml.ScalarEvent):
            tree = self._scalar(event, mark)
        elif isinstance(event, yaml.SequenceStartEvent):
            tree = self._sequence(stream, depth, mark)
        else:
            tree = self._mapping(event, stream, depth, mark)
        if getattr(event, "anchor", None):
            self._anchors[event.anchor] = (tree, self._values - before + 1)
        return tree

    def _stop(self, code: str, message: str, mark: Mark) -> None:
        raise SpecError([*self.problems, Problem(code, message, mark)])

    def _alias(self, event: Any, mark: Mark) -> Tree:
        found = self._anchors.get(event.anchor)
        if found is None:
            self._add("yaml-alias", f"no value is called '&{event.anchor}' above", mark)
            return Scalar("", None, mark)
        self._values += found[1]
        if self._values > self.limits.values:
            self._stop("too-large", f"aliases make more than {self.limits.values} values", mark)
        return found[0]

    def _scalar(self, event: Any, mark: Mark) -> Scalar:
        one_line = event.start_mark.line == event.end_mark.line
        plain = event.style in (None, "") and event.implicit[0]
        text = str(event.value)
        offset: int | None = None
        if one_line and not plain and event.style in ("'", '"'):
            offset = 1 if mark.text[mark.column : mark.column + len(text)] == text else None
        elif one_line and plain:
            offset = 0
        return Scalar(text, scalar_value(text) if plain else text, mark, offset)

    def _sequence(self, stream: Iterator[Any], depth: int, mark: Mark) -> SeqTree:
        items = []
        for event in stream:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._tree(event, stream, depth + 1))
        return SeqTree(tuple(items), mark)

    def _mapping(self, start: Any, stream: Iterator[Any], depth: int, mark: Mark) -> MapTree:
        entries: list[tuple[Scalar, Tree]] = []
        seen: dict[str, Scalar] = {}
        for event in stream:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._tree(event, stream, depth + 1)
            value = self._tree(next(stream), stream, depth + 1)
            if not isinstance(key, Scalar):
                self._add("yaml-key", "a key is a word, not a list or mapping", key.mark)
            elif key.text == "<<":
                self._add("yaml-merge", "'<<' is not allowed", key.mark, help="repeat the keys")
            elif key.text in seen:
                line = seen[key.text].mark.line
                why = f"the first is on line {line}; YAML would drop one of the two"
                self._add("duplicate-key", f"the key '{key.text}' stands twice", key.mark, why=why)
            else:
                seen[key.text] = key
                entries.append((key, value))
        tree = MapTree(tuple(entries), mark)
        return self._without_broken_calls(tree) if start.flow_style else tree

    def _without_broken_calls(self, tree: MapTree) -> MapTree:
        """Report formulas that YAML's flow syntax cut at a comma, and drop the pieces."""
        kept: list[tuple[Scalar, Tree]] = []
        skip_until = -1
        for key, value in tree.entries:
            if key.mark.line == tree.mark.line and key.mark.column <= skip_until:
                continue
            cut = broken_call(value.text, value.mark) if isinstance(value, Scalar) else None
            if cut is None:
                kept.append((key, value))
                continue
            skip_until, line = cut
            self._add(
                "flow-formula",
                f"YAML ends the formula at the comma, and reads {value.text!r}",  # type: ignore[union-attr]
                value.mark,
                why="inside { } a ',' belongs to YAML unless the formula is quoted",
                help=f"write: {line.strip()}",
            )
        return MapTree(tuple(kept), tree.mark)


def texts(tree: Tree) -> Iterator[str]:
    """Yield the text of every scalar value in a tree."""
    if isinstance(tree, Scalar):
        yield tree.text
        return
    items = tree.items if isinstance(tree, SeqTree) else [value for _, value in tree.entries]
    for item in items:
        yield from texts(item)


def to_plain(tree: Tree) -> Any:
    """Return the tree as dicts, lists and scalars, without the user's own `x-…` keys."""
    if isinstance(tree, Scalar):
        return tree.value
    if isinstance(tree, SeqTree):
        return [to_plain(item) for item in tree.items]
    return {
        key.text: to_plain(value) for key, value in tree.entries if not key.text.startswith("x-")
    }


def plain_number(value: Any) -> Any:
    """Return a Python value given by a caller as a YAML scalar would be: 0.1 is exactly 1/10."""
    if isinstance(value, float):
        return scalar_value(repr(value)) if value == value and abs(value) != float("inf") else value
    if isinstance(value, list | tuple):
        return [plain_number(item) for item in value]
    return Fraction(value) if isinstance(value, Fraction) else value
