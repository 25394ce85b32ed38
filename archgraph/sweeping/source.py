"""A spec as text, so that every job sees the same one, on whatever machine it runs."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archgraph.errors import SpecError
from archgraph.graph import Graph
from archgraph.spec.checked import check
from archgraph.spec.document import parse_document
from archgraph.spec.load import find_spec, load, parse
from archgraph.spec.model import SpecModel

__all__ = ["Source", "read_source"]


@dataclass(frozen=True, slots=True)
class Source:
    """A spec's text and the files that it includes."""

    text: bytes
    file: str
    """How messages call it."""
    includes: tuple[tuple[str, bytes], ...] = ()
    """The files that it includes, by name."""
    plugins: tuple[str, ...] = ()
    """Modules whose registered classes are ops too; they must be where the work is done."""

    @property
    def name(self) -> str:
        """What a person calls the spec."""
        return self.file if self.file.startswith("<") else Path(self.file).stem

    @property
    def digest(self) -> str:
        """What changes whenever the spec does."""
        parts = [self.text, *(plugin.encode() for plugin in self.plugins)]
        for name, text in self.includes:
            parts += [name.encode(), text]
        found = hashlib.sha256()
        for part in parts:
            found.update(len(part).to_bytes(8, "big") + part)
        return found.hexdigest()[:16]

    def params(self) -> Mapping[str, Any]:
        """Return the params that it declares and their defaults.

        Raises:
            SpecError: it is no spec at all.
        """
        return self._checked().params

    def title(self) -> str:
        """Return what the spec calls itself, or else its file's name.

        Raises:
            SpecError: it is no spec at all.
        """
        return self._checked().name or self.name

    def _checked(self) -> SpecModel:
        checked = check(parse_document(self.text, self.file))
        if checked.spec is None:
            raise SpecError(checked.problems)
        return checked.spec

    def load(self, settings: Iterable[tuple[str, Any]] = ()) -> Graph:
        """Return the graph, with some params set.

        Raises:
            SpecError: with every problem found.
            UsageError: there is no such param.
        """
        values = dict(settings)
        if not self.includes:
            return parse(self.text, file=self.file, plugins=self.plugins, **values)
        with tempfile.TemporaryDirectory() as folder:
            for name, text in self.includes:
                (Path(folder) / name).write_bytes(text)
            return parse(
                self.text, file=self.file, folder=Path(folder), plugins=self.plugins, **values
            )


def read_source(
    spec: str | os.PathLike[str], *, text: bytes | None = None, plugins: Iterable[str] = ()
) -> Source:
    """Read a spec and what it includes.

    Args:
        spec: A file, or the name of a shipped spec; with `text` how messages call it.
        text: The spec itself; it includes nothing.
        plugins: Modules whose registered classes are ops too.

    Raises:
        SpecError: it cannot be read, or is no spec.
        UsageError: there is no such shipped spec.
    """
    plugins = tuple(plugins)
    if text is not None:
        return Source(text, os.fspath(spec), plugins=plugins)
    path = find_spec(spec)
    shown = os.fspath(spec) if path == Path(os.fspath(spec)) else path.name
    try:
        data = path.read_bytes()
    except OSError:
        load(spec)  # says why not
        raise
    checked = check(parse_document(data, shown))
    names = checked.spec.include if checked.spec is not None else ()
    plain = [name for name in names if Path(name).name == name]
    found = [(name, path.parent / name) for name in plain]
    includes = tuple((name, file.read_bytes()) for name, file in found if file.is_file())
    return Source(data, shown, includes, plugins)
