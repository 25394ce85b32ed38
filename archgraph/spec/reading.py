"""From YAML's parse events to the marked tree, with every problem on the way.

What a spec has no use for is refused: tags, `<<`, duplicate keys, several documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from archgraph.errors import Mark, Problem, SpecError
from archgraph.spec.flow import broken_call
from archgraph.spec.tree import MapTree, Scalar, SeqTree, Tree, scalar_value

__all__ = ["Limits", "Reader"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a spec may be; every one can be raised by the caller."""

    file_bytes: int = 1_000_000
    depth: int = 40
    values: int = 200_000
    """YAML values after aliases are followed."""
    nodes: int = 100_000
    """Nodes of the expanded graph."""


class Reader:
    """Builds the tree from parse events, collecting every problem."""

    def __init__(self, text: str, file: str, limits: Limits) -> None:
        self.file, self.limits = file, limits
        self.lines = text.splitlines()
        self.problems: list[Problem] = []
        self.root: Tree | None = None
        self._anchors: dict[str, tuple[Tree, int]] = {}
        self._values = 0

    def mark(self, line: int, column: int, length: int) -> Mark:
        """Return a mark with the text of its line; line and column count from 0."""
        text = self.lines[line] if line < len(self.lines) else ""
        return Mark(self.file, line + 1, column + 1, max(1, length), text)

    def _span(self, event: Any) -> Mark:
        start, end = event.start_mark, event.end_mark
        length = end.column - start.column if end.line == start.line else 1
        return self.mark(start.line, start.column, length)

    def _add(self, code: str, message: str, mark: Mark, **rest: str | None) -> None:
        self.problems.append(Problem(code, message, mark, **rest))  # type: ignore[arg-type]

    def read(self, events: list[Any]) -> None:
        """Build `root` from the events of a whole file."""
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
