"""The edge shares of ResNet-50, DenseNet-121 and GPT-2 at initialisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from archgraph.gradient import decompose, fold_edges, run_once
from archgraph.graph import Graph
from archgraph.spec import load
from benchmarks.studies.common import COLOURS, figure, save

__all__ = ["draw", "measure", "section"]

CASES: Final[Mapping[str, tuple[str, dict[str, Any], str, int]]] = {
    "ResNet-50": ("resnet", {"size": 128}, "conv1", 8),
    "DenseNet-121": ("densenet", {"size": 128}, "features.conv0", 8),
    "GPT-2": ("gpt2", {"context": 128}, "emb", 2),
}
"""By name: the spec, its settings, the target and the batch."""


def measure(
    *, cases: Mapping[str, tuple[str, dict[str, Any], str, int]] = CASES, seed: int = 0
) -> dict[str, Any]:
    """Split the gradient of each network by edge, in train mode and float32."""
    return {name: _measure(*case, seed) for name, case in cases.items()}


def _measure(
    name: str, settings: dict[str, Any], wrt: str, batch: int, seed: int
) -> dict[str, Any]:
    graph = load(name, **settings)
    tape = run_once(graph, batch=batch, seed=seed, dtype="float32", train=True)
    found = decompose(tape, wrt, "edge")
    assert found.headline is not None
    rows = sorted(fold_edges(graph, found), key=lambda row: _place(graph, row.name))
    return {
        "spec": name,
        "settings": settings,
        "wrt": wrt,
        "batch": batch,
        "headline": {
            "norm": found.headline.norm,
            "effective_depth": found.headline.effective_depth,
            "skip_share": found.headline.skip_share,
            "direct_share": found.headline.direct_share,
            "gain_db_per_block": found.headline.gain_db_per_block,
        },
        "rows": [[row.name, row.skip, row.branch] for row in rows],
    }


def _place(graph: Graph, name: str) -> int:
    """Return where in the network a block, or a merge, ends."""
    return graph.position(name if name in graph.positions else graph.value_name(name))


# --- the page -----------------------------------------------------------------------------------


def section(found: dict[str, Any]) -> str:
    """Return the section, as Markdown."""
    rows = "".join(_row(name, network) for name, network in found.items())
    commands = "".join(_command(network) for network in found.values())
    return f"""\
## Where the gradient of three networks goes at initialisation

Each merge with a skip, from the input to the loss: how much of ‖g‖² comes back through its skips,
and how much through its branches. In ResNet-50 and GPT-2 every path crosses each merge, so both
add up to 100 %; in DenseNet-121 only the ends of its four blocks lie on every path.

| | gradient at | mean weight layers | terms that are skips | takes no branch | dB per block |
|---|---|---:|---:|---:|---:|
{rows}
![Skips against branches at each merge](studies/networks.svg)

At initialisation, with a batch of random numbers or tokens and its own statistics.

```sh
python -m benchmarks.studies networks
{commands}```
"""


def _row(name: str, network: dict[str, Any]) -> str:
    numbers = network["headline"]
    cells = (
        name,
        f"`{network['wrt']}`",
        f"{numbers['effective_depth']:.2f}",
        f"{100 * numbers['skip_share']:.1f} %",
        f"{100 * numbers['direct_share']:.2g} %",
        f"{numbers['gain_db_per_block']:+.2f}",
    )
    return f"| {' | '.join(cells)} |\n"


def _command(network: dict[str, Any]) -> str:
    settings = "".join(f"--set {key}={value} " for key, value in network["settings"].items())
    return (
        f"archgraph decompose {network['spec']} {settings}"
        f"--wrt {network['wrt']} --train --dtype float32 --batch {network['batch']}\n"
    )


def draw(found: dict[str, Any]) -> None:
    """Write the picture."""
    made, panels = figure(7.2, 2.8, columns=len(found))
    for panel, (name, network) in zip(panels, found.items(), strict=True):
        places = range(1, len(network["rows"]) + 1)
        skips = [100 * skip for _, skip, _ in network["rows"]]
        branches = [100 * branch for *_, branch in network["rows"]]
        panel.bar(places, skips, width=1, color=COLOURS["skip"], label="skips")
        panel.bar(
            places, branches, bottom=skips, width=1, color=COLOURS["branch"], label="branches"
        )
        panel.set(title=name, xlabel="merge, from the input on")
        panel.sharey(panels[0])
    panels[0].set_ylabel("share of ‖g‖², %")
    made.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    save(made, "networks")
