"""The spec that is to be mended, as its user has it: text, name, folder, and settings made part."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archgraph.errors import UsageError
from archgraph.graph import Graph
from archgraph.ops.op import format_value
from archgraph.spec import find_spec, load, parse
from archgraph.spec.tree import plain_number
from archgraph.suggestion.candidate import Candidate, Subject
from archgraph.suggestion.text import Source, diff

__all__ = ["Origin", "read_origin"]


@dataclass(frozen=True)
class Origin:
    """A spec's text, and what is needed to read it."""

    text: str
    file: str
    """How messages and diffs call it."""
    folder: Path | None = None
    """Where what it includes is."""
    plugins: tuple[str, ...] = ()
    original: str | None = None
    """The text before settings were made part of it; None if there were none."""

    def graph(self, text: str | None = None) -> Graph:
        """Return the graph of a changed text, or of the spec's own."""
        return parse(
            self.text if text is None else text,
            file=self.file,
            folder=self.folder,
            plugins=self.plugins,
        )

    def subject(self) -> Subject:
        """Return the text and its graph."""
        return Subject(Source(self.text), self.graph(), self.file)

    def diff(self, text: str) -> str:
        """Return the unified diff from the user's own file to a changed text."""
        return diff(self.text if self.original is None else self.original, text, self.file)

    def changed(self, candidate: Candidate) -> str:
        """Return the text with a candidate's edits made."""
        return Source(self.text).apply(candidate.edits)

    def with_settings(self, settings: Mapping[str, Any]) -> Origin:
        """Return the spec with params as `--set` gives them for defaults.

        Raises:
            SpecError: a value does not fit.
            UsageError: there is no such param, or its default cannot be rewritten.
        """
        if not settings:
            return self
        meant = parse(
            self.text, file=self.file, folder=self.folder, plugins=self.plugins, **settings
        )
        source = Source(self.text)
        edits = [source.set(("params",), name, _written(value)) for name, value in settings.items()]
        changed = replace(self, text=source.apply(edits), original=self.text)
        if changed.graph() != meant:
            names = ", ".join(settings)
            raise UsageError(f"{self.file}: {names} cannot be written into the file; do so by hand")
        return changed


def read_origin(spec: str | os.PathLike[str], plugins: tuple[str, ...] = ()) -> Origin:
    """Return the spec of a file, or of the name of a shipped one.

    Raises:
        SpecError: it is bad.
        UsageError: there is none.
    """
    load(spec, plugins=plugins)  # says what is wrong with it
    path = find_spec(spec)
    shown = os.fspath(spec) if path == Path(os.fspath(spec)) else path.name
    return Origin(path.read_bytes().decode("utf-8-sig"), shown, path.parent, plugins)


def _written(value: Any) -> str:
    """Return a param's value as a spec would write it."""
    value = plain_number(value)
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return format_value(value)
