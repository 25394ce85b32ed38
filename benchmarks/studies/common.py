"""What all studies share: where their files are, means with their errors, and pictures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "FOLDER",
    "PAGE",
    "RESULTS",
    "ROOT",
    "figure",
    "mean",
    "rounded",
    "said",
    "save",
    "spec",
]

ROOT: Final = Path(__file__).parent.parent.parent
PAGE: Final = ROOT / "docs" / "studies.md"
FOLDER: Final = ROOT / "docs" / "studies"
RESULTS: Final = FOLDER / "results.json"
COLOURS: Final = {"skip": "#9db7d5", "branch": "#c8553d", "law": "#222222"}


def spec(name: str) -> Path:
    """Return the path of a spec made for a study."""
    return FOLDER / f"{name}.yaml"


def mean(values: Sequence[float]) -> dict[str, float]:
    """Return the mean and its standard error; the error of one value is not known."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return {"mean": statistics.fmean(values), "error": error}


def said(found: dict[str, float], digits: int = 2) -> str:
    """Return a mean and its standard error as text."""
    return f"{found['mean']:.{digits}f} ± {found['error']:.{digits}f}"


def rounded(value: Any) -> Any:
    """Return figures with five significant digits, so that the file stays small."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def figure(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    """Return an empty picture, and its panels as a list; sizes in inches."""
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("svg")
    matplotlib.rcParams |= {
        "svg.hashsalt": "archgraph",
        "svg.fonttype": "path",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "font.size": 9,
    }
    made, panels = pyplot.subplots(
        1, columns, figsize=(width, height), layout="constrained", squeeze=False, facecolor="white"
    )
    return made, list(panels[0])


def save(made: Figure, name: str) -> None:
    """Write a picture, the same bytes every time."""
    from matplotlib import pyplot

    made.savefig(FOLDER / f"{name}.svg", metadata={"Date": None, "Creator": None})
    pyplot.close(made)
