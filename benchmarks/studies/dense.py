"""The path of a dense block that is easily missed: H3 → H5, past H4."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from archgraph.gradient import decompose, run_once
from archgraph.spec import load
from benchmarks.studies.common import COLOURS, figure, said, save, spec

__all__ = ["draw", "measure", "section"]

CASES: Final[Mapping[str, tuple[dict[str, Any], float]]] = {
    "He's weights, ReLU": ({}, 5 / 6),
    "He's weights, no activation": ({"act": "Identity"}, 5 / 7),
    "PyTorch's own weights, ReLU": ({"slope": math.sqrt(5)}, 30 / 31),
}
"""By name: the settings, and the share of the direct path among wide layers."""


def measure(*, networks: int = 300, width: int = 48, batch: int = 8) -> dict[str, Any]:
    """Split ∂L/∂H3 by path in each case.

    Args:
        networks: How many are drawn for each case.
        width: The growth rate k.
        batch: Examples.
    """
    cases = {
        name: _measure(settings, networks, width, batch) for name, (settings, _) in CASES.items()
    }
    return {"networks": networks, "width": width, "batch": batch, "direct": cases}


def _measure(settings: dict[str, Any], networks: int, width: int, batch: int) -> dict[str, float]:
    graph = load(spec("dense_layer"), k=width, **settings)
    pairs = []
    for seed in range(networks):
        tape = run_once(graph, batch=batch, seed=seed)
        parts = decompose(tape, "H3", "path", headlines=False).parts
        past, through = sorted(parts, key=lambda part: len(part.key))
        pairs.append((past.norm**2, through.norm**2))
    return fraction(pairs)


def fraction(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Return Σ first ÷ Σ both and its standard error, to first order."""
    whole = math.fsum(a + b for a, b in pairs)
    found = math.fsum(a for a, _ in pairs) / whole
    spread = statistics.stdev((1 - found) * a - found * b for a, b in pairs)
    return {"mean": found, "error": spread * math.sqrt(len(pairs)) / whole}


# --- the page -----------------------------------------------------------------------------------


def section(found: dict[str, Any]) -> str:
    """Return the section, as Markdown."""
    rows = "".join(
        f"| {name} | {said(share, 3)} | {CASES[name][1]:.3f} |\n"
        for name, share in found["direct"].items()
    )
    return f"""\
## The path of a dense block that is easily missed

In a dense block of five layers of which only the last is read, ∂L/∂H3 has two paths: through H4,
and straight to H5. Who writes the gradient as one product over the layers in between has the first
alone, which is the smaller part of E‖∂L/∂H3‖².

| | energy of H3 → H5 | wide layers |
|---|---:|---:|
{rows}
![Energy of both paths](studies/dense.svg)

The detour's energy is that of the direct path times what H4 passes on of it: k·Var W times the part
that its activation lets through, which is 1/5, 2/5 and 1/30 for the three. The direct path has
1/(1 + 1/5) and so on of the sum. Each share is measured in {found["networks"]} networks with
k = {found["width"]}.

```sh
python -m benchmarks.studies dense
archgraph decompose docs/studies/dense_layer.yaml --wrt H3 --by path
```
"""


def draw(found: dict[str, Any]) -> None:
    """Write the picture."""
    made, (panel,) = figure(7.2, 1.5)
    names = list(found["direct"])
    direct = [100 * found["direct"][name]["mean"] for name in names]
    panel.barh(names, direct, color=COLOURS["skip"], label="H3 → H5")
    detour = [100 - share for share in direct]
    panel.barh(names, detour, left=direct, color=COLOURS["branch"], label="H3 → H4 → H5")
    panel.set(xlabel="energy of the path, %", xlim=(0, 100))
    panel.invert_yaxis()
    panel.legend(loc="upper left", bbox_to_anchor=(1, 1))
    save(made, "dense")
