"""The whole process of a small question, against importing torch alone."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.common import Row, time_paired

_PATHS = [sys.executable, "-m", "archgraph", "paths", "residual", "--wrt", "x1"]
_TORCH = [sys.executable, "-c", "import torch"]


def rows() -> list[Row]:
    """Return whole-process time as a fraction of that of `import torch`."""
    timing = time_paired(lambda: _run(_TORCH), lambda: _run(_PATHS), rounds=7)
    detail = f"{timing.second:.2f} s against {timing.first:.2f} s"
    return [
        Row("archgraph paths residual", "import torch", timing.ratio, 0.4, "lower", detail),
    ]


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
