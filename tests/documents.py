"""Documents whose blocks run: specs, commands with their output, programs with their assertions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

__all__ = ["Document", "assert_shows"]


@dataclass(frozen=True)
class Document:
    """A Markdown file."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def blocks(self, kind: str) -> list[str]:
        """Return the fenced blocks of one language, in order."""
        found = re.findall(r"^```(\w+)\n(.*?)^```", self.text, flags=re.S | re.M)
        return [text for name, text in found if name == kind]

    @property
    def specs(self) -> list[str]:
        return self.blocks("yaml")

    @property
    def programs(self) -> list[str]:
        return self.blocks("python")

    @property
    def sessions(self) -> list[tuple[str, str]]:
        """Return each command and what is printed."""
        return [
            (command.strip(), expected)
            for text in self.blocks("console")
            for command, _, expected in (part.partition("\n") for part in text.split("$ ")[1:])
        ]

    def write_specs(self, folder: Path) -> None:
        """Write each spec to `name.yaml`."""
        for text in self.specs:
            name = re.search(r"^name: (\w+)$", text, flags=re.M)
            assert name is not None, text
            (folder / f"{name[1]}.yaml").write_text(text, encoding="utf-8")


def assert_shows(printed: str, expected: str) -> None:
    """Compare line by line; a line with … stands for anything from there on."""
    lines = [line.rstrip() for line in printed.splitlines()]
    at = 0
    for line in expected.rstrip().splitlines():
        if line == "…":
            continue
        start = line.rstrip("…")
        found = next(
            (
                i
                for i in range(at, len(lines))
                if lines[i] == line or (start != line and lines[i].startswith(start))
            ),
            None,
        )
        assert found is not None, f"{line!r} is not printed:\n{printed}"
        at = found + 1
