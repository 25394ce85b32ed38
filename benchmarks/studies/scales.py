"""What λ on every skip does to eight residual blocks: the size of the gradient, and its paths."""

from __future__ import annotations

import math
from typing import Any, Final

from archgraph.gradient import decompose, run_once
from archgraph.spec import load
from benchmarks.studies.common import COLOURS, figure, mean, said, save

__all__ = ["draw", "measure", "section"]

BLOCKS: Final = 8
SCALES: Final = ("0.5", "1", "1.1")


def measure(*, networks: int = 100, width: int = 256, batch: int = 4) -> dict[str, Any]:
    """Split ∂L/∂x0 of `scaled_residual` by branches, for each λ.

    Args:
        networks: How many are drawn for each λ.
        width: Of all layers; the laws hold for wide ones.
        batch: Examples.
    """
    found = {scale: _measure(float(scale), networks, width, batch) for scale in SCALES}
    return {"networks": networks, "width": width, "batch": batch, "scales": found}


def _measure(scale: float, networks: int, width: int, batch: int) -> dict[str, Any]:
    graph = load("scaled_residual", lam=scale, width=width)
    gains, energies = [], []
    for seed in range(networks):
        tape = run_once(graph, batch=batch, seed=seed)
        found = decompose(tape, "x0", "branches", headlines=False)
        readout = float(tape.batch.targets[0].norm()) ** 2  # ‖∂L/∂x.8‖²
        gains.append(found.norm**2 / readout)
        energies.append([part.norm**2 / readout for part in found.parts])
    return {
        "gain": mean(gains),
        "energy": [mean(column) for column in zip(*energies, strict=True)],
    }


def law(scale: float) -> list[float]:
    """Return E‖g_k‖² over E‖∂L/∂x.8‖² by number of branches: T = 1, no two paths correlated."""
    return [math.comb(BLOCKS, k) * scale ** (2 * (BLOCKS - k)) for k in range(BLOCKS + 1)]


# --- the page -----------------------------------------------------------------------------------


def section(found: dict[str, Any]) -> str:
    """Return the section, as Markdown."""
    rows = "".join(_row(scale, result) for scale, result in found["scales"].items())
    return f"""\
## What λ does to a residual network

x ← λ·x + F(x) in eight blocks with He's weights, whose branches pass on all energy (T = 1). The
energy of the gradient grows by λ² + 1 a block, so that λ = 0.5 makes it larger and not smaller;
what becomes small is the part of the path that takes no branch, λ^16.

| λ | growth of energy | (λ² + 1)^8 | of it along the direct path | mean branches | 8/(λ² + 1) |
|---:|---:|---:|---:|---:|---:|
{rows}
![Energy by number of branches](studies/scales.svg)

Growth is E‖∂L/∂x0‖² ÷ E‖∂L/∂x8‖². Lines are Binomial(8, 1/(λ² + 1)), the law of paths that are not
correlated; points are measured, with two standard errors, in {found["networks"]} networks of width
{found["width"]} for each λ.

```sh
python -m benchmarks.studies scales
archgraph decompose scaled_residual --set lam=0.5 --wrt x0 --by branches
```
"""


def _row(scale: str, result: dict[str, Any]) -> str:
    expected, energies = law(float(scale)), [energy["mean"] for energy in result["energy"]]
    branches = sum(k * energy for k, energy in enumerate(energies)) / sum(energies)
    direct = energies[0]
    cells = (
        scale,
        said(result["gain"], 2 if result["gain"]["mean"] < 100 else 0),
        f"{sum(expected):.4g}",
        f"{direct:.3g}",
        f"{branches:.2f}",
        f"{BLOCKS / (float(scale) ** 2 + 1):.2f}",
    )
    return f"| {' | '.join(cells)} |\n"


def draw(found: dict[str, Any]) -> None:
    """Write the picture."""
    made, panels = figure(7.2, 2.4, columns=len(found["scales"]))
    for panel, (scale, result) in zip(panels, found["scales"].items(), strict=True):
        whole = sum(law(float(scale)))
        expected = [100 * share / whole for share in law(float(scale))]
        panel.plot(expected, color=COLOURS["law"], lw=1, label="law")
        panel.errorbar(
            range(BLOCKS + 1),
            [100 * energy["mean"] / whole for energy in result["energy"]],
            [200 * energy["error"] / whole for energy in result["energy"]],
            fmt="o",
            markersize=4,
            color=COLOURS["branch"],
            label="measured",
        )
        panel.set(title=f"λ = {scale}", xlabel="branches on the path", xticks=range(0, 9, 2))
        panel.sharey(panels[0])
    panels[0].set_ylabel("share of the energy, %")
    panels[0].legend(loc="upper left")
    save(made, "scales")
