"""The page of all studies, from their stored results."""

from __future__ import annotations

import importlib
from typing import Any, Final

__all__ = ["STUDIES", "page"]

STUDIES: Final = ("veit", "networks", "scales", "dense")
"""The modules of this package that make a section, in the page's order.

Each has `measure`, which returns figures as JSON, `section`, which makes Markdown of them, and
`draw`, which makes pictures.
"""

HEAD: Final = """\
# Studies

Where the gradient goes in networks that people use, split exactly. All figures are measured by
`make studies`, which takes a few minutes on one core and writes this page, its pictures and
[studies/results.json](studies/results.json); errors are standard errors over networks. Each study
has a spec and a command of its own.

"""


def page(results: dict[str, Any]) -> str:
    """Return the page, as Markdown."""
    sections = [
        importlib.import_module(f"benchmarks.studies.{name}").section(results[name])
        for name in STUDIES
    ]
    return HEAD + "\n".join(sections)
