"""The table of path counts in docs/, and the facts that `archgraph zoo` lists.

`python -m benchmarks.path_counts` (`make docs`) writes docs/path_counts.md and specs/zoo.json.
"""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from archgraph.graph import Graph
from archgraph.paths import count_paths
from archgraph.spec import load, zoo
from benchmarks.common import Row

__all__ = ["VARIANTS", "Facts", "describe_power", "index", "measure", "table"]

ROOT: Final = Path(__file__).parent.parent
TABLE: Final = ROOT / "docs" / "path_counts.md"
INDEX: Final = ROOT / "specs" / "zoo.json"

VARIANTS: Final[Mapping[str, tuple[dict[str, Any], ...]]] = {
    "convnext": ({"units": [3, 3, 27, 3]},),
    "deepnorm": ({"depth": 100},),
    "densenet": ({"depth": 161}, {"depth": 169}, {"depth": 201}),
    "identity_mappings/original": ({"depth": 20}, {"depth": 1202}),
    "mobilenet_v3": ({"large": False},),
    "preact_resnet": ({"depth": 110}, {"depth": 1001}),
    "resnet": ({"depth": 18}, {"depth": 34}, {"depth": 101}, {"depth": 152}),
}
"""Settings that the table shows beside each spec's own."""


@dataclass(frozen=True)
class Facts:
    """A network as the table shows it."""

    spec: str
    settings: Mapping[str, Any]
    parameters: int
    depth: int
    """Weight layers on the longest path from the first input to the loss."""
    nodes: int
    wrt: str
    paths: int
    """From the first input; of integers, as if they carried a gradient."""
    integer: bool
    seconds: float
    """To load the spec and count."""


def networks() -> list[tuple[str, dict[str, Any]]]:
    """Return every spec, with its own settings and then with each of its variants."""
    return [(spec, settings) for spec in zoo() for settings in ({}, *VARIANTS.get(spec, ()))]


def measure() -> list[Facts]:
    """Return the facts of every spec and variant, in the table's order."""
    seconds_taken = [load_and_count(spec, settings) for spec, settings in networks()]
    return [
        _facts(spec, settings, taken)
        for (spec, settings), taken in zip(networks(), seconds_taken, strict=True)
    ]


def load_and_count(spec: str, settings: Mapping[str, Any]) -> float:
    """Return the processor's seconds for loading a spec and counting its paths."""
    gc.collect()
    start = time.process_time()
    count(load(spec, **settings))
    return time.process_time() - start


def count(graph: Graph) -> int:
    """Paths from the first input to the loss; of integers, as if they carried a gradient."""
    first = graph.inputs[0]
    if not first.is_integer:
        return count_paths(graph, first.name)
    ways = [0] * len(graph.nodes)
    ways[graph.position(first.name)] = 1
    for v, into in enumerate(graph.into):
        ways[v] += sum(ways[graph.sources[e]] for e in into)
    return ways[graph.loss_position]


def longest(graph: Graph) -> int:
    """Weight layers on the longest path from the first input to the loss."""
    start = graph.position(graph.inputs[0].name)
    best: dict[int, int] = {start: 0}
    for v, into in enumerate(graph.into):
        before = [best[u] for e in into if (u := graph.sources[e]) in best]
        if before:
            op = graph.nodes[v].op
            best[v] = max(before) + bool(op is not None and op.op.weight_layer)
    return best[graph.loss_position]


def _facts(spec: str, settings: Mapping[str, Any], taken: float) -> Facts:
    from archgraph.module.shapes import infer  # imports torch, which no count may wait for

    graph = load(spec, **settings)
    first = graph.inputs[0]
    return Facts(
        spec=spec,
        settings=settings,
        parameters=infer(graph).total,
        depth=longest(graph),
        nodes=len(graph.nodes),
        wrt=first.name,
        paths=count(graph),
        integer=first.is_integer,
        seconds=taken,
    )


# --- as text ------------------------------------------------------------------------------------


def describe_power(number: int) -> str:
    """Return a count as a product of powers, if it is 64 or more and its primes are small."""
    rest, factors = number, []
    for prime in (2, 3, 5, 7, 11, 13, 17, 19):
        power = 0
        while rest % prime == 0:
            rest, power = rest // prime, power + 1
        if power:
            factors.append(f"{prime}^{power}" if power > 1 else str(prime))
    return "·".join(factors) if rest == 1 and number >= 64 else ""


def describe_count(number: int) -> str:
    """Return a count in full below 10^20, else rounded; with its powers, if it has a short form."""
    power = describe_power(number)
    if number < 10**20:
        return f"{number:,} = {power}" if power else f"{number:,}"
    digits = str(number)
    rounded = f"≈ {digits[0]}.{digits[1:4]}e{len(digits) - 1}"
    return f"{power} {rounded}" if power else rounded


def describe_settings(settings: Mapping[str, Any]) -> str:
    """Return settings as they are written behind `--set`."""
    return " ".join(f"{k}={json.dumps(v).replace(' ', '')}" for k, v in settings.items())


HEAD: Final = """\
# Path counts of the zoo

Exact numbers of backprop paths from the first input to the loss, op view, with the parameters,
the weight layers on the longest of these paths, and the nodes of the graph. Written by
`make docs`; seconds are the processor's for loading the spec and counting, without torch.

| spec | `--set` | parameters | depth | nodes | from | paths | seconds |
|---|---|---:|---:|---:|---|---|---:|
"""
TAIL: Final = """
¹ An input of integers has no gradient; the number is that of the ways that one would take.
"""


def table(rows: list[Facts]) -> str:
    """Return the table as Markdown."""
    return HEAD + "".join(_line(row) for row in rows) + TAIL


def _line(row: Facts) -> str:
    settings = f"`{shown}`" if (shown := describe_settings(row.settings)) else ""
    cells = (
        row.spec,
        settings,
        f"{row.parameters:,}",
        str(row.depth),
        str(row.nodes),
        row.wrt + ("¹" if row.integer else ""),
        describe_count(row.paths),
        f"{row.seconds:.2f}",
    )
    return f"| {' | '.join(cells)} |\n"


def index(rows: list[Facts]) -> str:
    """Return what `archgraph zoo` lists, as JSON: the specs with their own settings."""
    specs = [_entry(row) for row in rows if not row.settings]
    return json.dumps({"specs": specs}, ensure_ascii=False, indent=1) + "\n"


def _entry(row: Facts) -> dict[str, Any]:
    path = zoo()[row.spec]
    return {
        "name": row.spec,
        "shows": first_sentence(path.read_text(encoding="utf-8")),
        "about": load(path).about,
        "parameters": row.parameters,
        "depth": row.depth,
        "nodes": row.nodes,
        "wrt": row.wrt,
        "paths": row.paths,
    }


def first_sentence(text: str) -> str:
    """Return the first sentence of a spec's opening comment, without its `Shows: `."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    found = re.match(r"Shows: (.+?)\.(?:\s|$)", " ".join(lines))
    assert found is not None, "a spec opens with '# Shows: '"
    return found[1]


# --- running it ---------------------------------------------------------------------------------


def rows() -> Iterator[Row]:
    """Yield the slowest load and count of the zoo, in a process without torch."""
    code = (
        "import sys; from benchmarks.path_counts import load_and_count, networks\n"
        "found = [(min(load_and_count(*n) for _ in range(3)), *n) for n in networks()]\n"
        "print(*max(found, key=lambda entry: entry[0]), sep='|')\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    slowest, spec, settings = done.stdout.strip().split("|")
    yield Row(
        "load and count, slowest of the zoo", "–", float(slowest), 1, "lower", spec + settings
    )


def main() -> int:
    """Write the table and the index."""
    found = measure()
    TABLE.write_text(table(found), encoding="utf-8")
    INDEX.write_text(index(found), encoding="utf-8")
    print(f"{TABLE.relative_to(ROOT)}, {INDEX.relative_to(ROOT)}: {len(found)} networks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
