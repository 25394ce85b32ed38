"""Golden files: what a test produced, held against what a person has read and agreed to."""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def assert_golden(name: str, text: str) -> None:
    """Compare `text` with the golden file `name`; ARCHGRAPH_REWRITE=1 writes it, and fails."""
    path = GOLDEN / name
    if os.environ.get("ARCHGRAPH_REWRITE"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        raise AssertionError(f"{name} was rewritten: read it, then run without ARCHGRAPH_REWRITE")
    assert path.exists(), f"there is no golden file {name}; ARCHGRAPH_REWRITE=1 writes it"
    assert text == path.read_text(encoding="utf-8")
