"""Imports run one way, inside functions too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "archgraph"

LAYERS = [
    {"errors"},
    {"numbers", "files"},
    {"expression"},
    {"nn"},
    {"ops"},
    {"graph"},
    {"spec", "paths"},
    {"module"},
    {"gradient"},
    {"measurement"},
    {"prediction"},
    {"checking", "diagnosis", "suggestion", "sweeping"},
    {"picture"},
    {"cli"},
]
"""What may be imported by what stands below it. The two of a pair do not import each other."""

LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}


def home(path: Path) -> str:
    """Return the package or module right below `archgraph` that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Return the parts of archgraph that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    found = {name.split(".")[1] for name in names if name.startswith("archgraph.")}
    return found & LEVELS.keys()


FILES = [path for path in PACKAGE.rglob("*.py") if home(path) in LEVELS]


def test_every_part_has_its_level() -> None:
    parts = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists()}
    parts |= {p.stem for p in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert parts == LEVELS.keys()


@pytest.mark.parametrize("part", sorted(LEVELS))
def test_nothing_imports_what_stands_below_it(part: str) -> None:
    for path in FILES:
        if home(path) == part:
            wrong = {n for n in imported(path) - {part} if LEVELS[n] >= LEVELS[part]}
            assert not wrong, f"{path.relative_to(PACKAGE)} imports {', '.join(sorted(wrong))}"
