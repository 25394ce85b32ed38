"""A spec's text and where its parts stand: parts are changed, and all the rest is kept as it is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from archgraph.errors import UsageError

__all__ = ["Edit", "Entry", "Path", "Source", "Value", "diff"]

Path: TypeAlias = tuple[str | int, ...]
"""Keys, and positions in lists, from the top of the document."""

Value: TypeAlias = str | Mapping[str, Any]
"""What is put in: the text of a scalar, or a mapping of further values."""

STEP = "  "
_BLOCK_STYLE = ("layers",)
"""Keys whose mapping is written one entry a line, however short it is."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Characters `start` to `end` of a text become `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One layer of the document: where its name stands, and its formula."""

    path: Path
    name: str
    line: int
    """1-based, as of `Mark`."""
    column: int
    formula: str | None
    """The text of its op; None for a group, or a bare merge."""
    formula_path: Path

    @property
    def scope(self) -> Path:
        """Path of the mapping of layers that it stands in."""
        return self.path[:-1]


class Source:
    r"""A spec's text, of which parts can be replaced and to which lines can be added.

    Comments, blank lines, quotes and the order of keys stay as the user wrote them: an edit is a
    change of characters, never a new rendering of the document.

    Args:
        text: A spec that archgraph has parsed without a problem.

    Example:
        >>> source = Source("a: 1   # one\nb: {c: 2}\n")
        >>> print(source.apply([source.set((), "a", "3"), source.set(("b",), "d", "4")]), end="")
        a: 3   # one
        b: {c: 2, d: 4}
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.newline = "\r\n" if "\r\n" in text else "\n"
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(root, yaml.MappingNode):
            raise UsageError("a spec is a mapping of keys, and this is not")
        self.root = root

    # --- reading ----------------------------------------------------------------------------

    def node(self, path: Path) -> yaml.Node | None:
        """Return what stands at a path, or None."""
        return self._find(path)[0]

    def scalar(self, path: Path) -> str | None:
        """Return the text of the scalar at a path, or None if there is none."""
        node = self.node(path)
        return str(node.value) if isinstance(node, yaml.ScalarNode) else None

    def keys(self, path: Path) -> list[str]:
        """Return the keys of the mapping at a path; none if there is no mapping."""
        node = self.node(path)
        return [str(k.value) for k, _ in node.value] if isinstance(node, yaml.MappingNode) else []

    def length(self, path: Path) -> int:
        """Return how many items the list at a path has."""
        node = self.node(path)
        return len(node.value) if isinstance(node, yaml.SequenceNode) else 0

    def layers(self) -> Iterator[Entry]:
        """Yield every layer of the document, those of blocks first, in the document's order."""
        for block in self.keys(("blocks",)):
            yield from self._layers(("blocks", block, "layers"))
        yield from self._layers(("layers",))

    def _layers(self, scope: Path) -> Iterator[Entry]:
        node = self.node(scope)
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            path = (*scope, str(key.value))
            long = isinstance(value, yaml.MappingNode)
            formula_path = (*path, "op") if long else path
            yield Entry(
                path,
                str(key.value),
                key.start_mark.line + 1,
                key.start_mark.column + 1,
                self.scalar(formula_path) or None,
                formula_path,
            )
            yield from self._layers((*path, "layers"))

    def _find(self, path: Path) -> tuple[yaml.Node | None, bool]:
        """Return what stands at a path, and whether that is inside of brackets."""
        here: yaml.Node | None = self.root
        flow = bool(self.root.flow_style)
        for step in path:
            below: yaml.Node | None = None
            if isinstance(here, yaml.MappingNode):
                below = next((v for k, v in here.value if k.value == str(step)), None)
            elif isinstance(here, yaml.SequenceNode) and isinstance(step, int):
                below = here.value[step] if step < len(here.value) else None
            here = below
            flow = flow or bool(getattr(below, "flow_style", False))
        return here, flow

    # --- editing ----------------------------------------------------------------------------

    def set(self, path: Path, key: str, value: Value) -> Edit:
        """Return the edit that gives the mapping at `path` this value under `key`.

        A value that is there is replaced; else an entry is added behind the last one. A layer in
        its short form `name: formula` becomes `name: {op: formula, key: value}`.

        Raises:
            UsageError: there is no mapping at `path`, and none can be made.
        """
        node, flow = self._find(path)
        if isinstance(node, yaml.ScalarNode):
            if key == "op":
                return self._replace(node, value, flow)
            text = self._render({"op": str(node.value), key: value}, flow=True)
            return Edit(node.start_mark.index, node.end_mark.index, text)
        if not isinstance(node, yaml.MappingNode):
            if path and node is None:
                return self.set(path[:-1], str(path[-1]), {key: value})
            raise UsageError(f"there is no {'.'.join(map(str, path))} to put {key!r} into")
        old = next((v for k, v in node.value if k.value == key), None)
        if old is not None:
            return self._replace(old, value, flow)
        if node.value:
            return self._after(node, node.value[-1], {key: value})
        inner = self._render({key: value}, flow=True)
        return Edit(node.start_mark.index, node.end_mark.index, inner)

    def replace(self, path: Path, text: str) -> Edit:
        """Return the edit that puts another scalar at a path."""
        node, flow = self._find(path)
        assert node is not None
        return self._replace(node, text, flow)

    def before(self, path: Path, added: Mapping[str, Value]) -> Edit:
        """Return the edit that puts entries before the one at `path`, in the same mapping."""
        mapping, entry = self._entry(path)
        start = entry[0].start_mark.index
        if mapping.flow_style:
            return Edit(start, start, self._render(added, flow=True)[1:-1] + ", ")
        line = self.text.rfind("\n", 0, start) + 1
        return Edit(line, line, self._lines(added, self._indent(entry)) + self.newline)

    def after(self, path: Path, added: Mapping[str, Value]) -> Edit:
        """Return the edit that puts entries behind the one at `path`, in the same mapping."""
        mapping, entry = self._entry(path)
        return self._after(mapping, entry, added)

    def apply(self, edits: Iterable[Edit]) -> str:
        """Return the text with the edits made.

        Raises:
            UsageError: two of them change the same characters.
        """
        parts, position = [], 0
        for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
            if edit.start < position:
                raise UsageError("two edits change the same part of the spec")
            parts += [self.text[position : edit.start], edit.text]
            position = edit.end
        return "".join([*parts, self.text[position:]])

    def _entry(self, path: Path) -> tuple[yaml.MappingNode, tuple[yaml.Node, yaml.Node]]:
        mapping = self.node(path[:-1])
        assert isinstance(mapping, yaml.MappingNode)
        return mapping, next((k, v) for k, v in mapping.value if k.value == str(path[-1]))

    def _replace(self, node: yaml.Node, value: Value, flow: bool) -> Edit:
        start, end = node.start_mark.index, self._end(node)
        style = node.style if isinstance(node, yaml.ScalarNode) else None
        if isinstance(value, str) and style in ("|", ">"):
            folded = _word_by_word(self.text[start:end], str(node.value), value)
            if folded is not None:
                return Edit(start, end, folded)
        if isinstance(value, str) and style in ("'", '"') and style not in value:
            return Edit(start, end, f"{style}{value}{style}")
        text = self._render(value, flow=flow) if isinstance(value, str) else None
        return Edit(start, end, text or self._render(value, flow=True))

    def _after(
        self,
        mapping: yaml.MappingNode,
        entry: tuple[yaml.Node, yaml.Node],
        added: Mapping[str, Value],
    ) -> Edit:
        end = self._end(entry[1])
        if mapping.flow_style:
            return Edit(end, end, ", " + self._render(added, flow=True)[1:-1])
        found = self.text.find("\n", end)
        line_end = len(self.text) if found < 0 else found - self.text.startswith("\r\n", found - 1)
        gap = self.newline if mapping is self.root and self._sections_apart() else ""
        text = gap + self.newline + self._lines(added, self._indent(entry))
        return Edit(line_end, line_end, text)

    def _sections_apart(self) -> bool:
        """Return whether blank lines stand between the sections of the document."""
        return any(
            not line.strip() for line in self.text[self.root.start_mark.index :].splitlines()
        )

    def _end(self, node: yaml.Node) -> int:
        """Return the index behind a value's last character; comments and blank lines are not it."""
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            last = node.value[-1]
            return self._end(last[1] if isinstance(last, tuple) else last)
        end: int = node.end_mark.index
        if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
            return len(self.text[:end].rstrip())
        return end

    def _indent(self, entry: tuple[yaml.Node, yaml.Node]) -> str:
        return " " * int(entry[0].start_mark.column)

    def _lines(self, values: Mapping[str, Value], indent: str) -> str:
        """Return entries in block style, one a line."""
        lines = []
        for key, value in values.items():
            deep = isinstance(value, Mapping) and (
                key in _BLOCK_STYLE or any(isinstance(v, Mapping) for v in value.values())
            )
            if isinstance(value, Mapping) and deep:
                lines += [f"{indent}{key}:", self._lines(value, indent + STEP)]
            else:
                inline = not isinstance(value, str)
                lines.append(f"{indent}{key}: {self._render(value, flow=inline)}")
        return self.newline.join(lines)

    def _render(self, value: Value, *, flow: bool) -> str:
        """Return a value on one line."""
        if isinstance(value, Mapping):
            inner = (f"{k}: {self._render(v, flow=True)}" for k, v in value.items())
            return "{" + ", ".join(inner) + "}"
        return value if _reads_back(value, flow) else _quoted(value)


def _word_by_word(raw: str, old: str, new: str) -> str | None:
    """Return a scalar of several lines with its words replaced where they stand, if they match."""
    words, before = new.split(), old.split()
    places = list(re.finditer(r"\S+", raw))[1:]  # after its indicator, such as >-
    if len(words) != len(before) or [place.group() for place in places] != before:
        return None
    for place, word in reversed(list(zip(places, words, strict=True))):
        raw = raw[: place.start()] + word + raw[place.end() :]
    return raw


def _reads_back(text: str, flow: bool) -> bool:
    """Return whether YAML reads a scalar without quotes as this text, in or out of brackets."""
    try:
        tree = yaml.compose("{a: " + text + "}" if flow else "a: " + text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return False
    if not isinstance(tree, yaml.MappingNode) or len(tree.value) != 1:
        return False
    found = tree.value[0][1]
    whole_list = text.startswith("[") and isinstance(found, yaml.SequenceNode)
    return whole_list or (isinstance(found, yaml.ScalarNode) and found.value == text)


def _quoted(text: str) -> str:
    if '"' not in text and "\\" not in text:
        return f'"{text}"'
    return "'" + text.replace("'", "''") + "'"


def diff(old: str, new: str, file: str) -> str:
    """Return the unified diff of two texts, as `patch` takes it; empty if they agree."""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), file, file
    )
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
