"""Which kinds of layers make a gradient smaller or larger, over the whole network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from archgraph.diagnosis.examination import Examination
from archgraph.diagnosis.skips import local_gain
from archgraph.diagnosis.weights import weight_levels
from archgraph.graph import LOSS, Node

__all__ = ["Balance", "balance"]


@dataclass(frozen=True, slots=True)
class Balance:
    """What one kind of layer does to the gradient."""

    kind: str
    """An op's name, `weights`, `sums of skips and branches`, …"""
    layers: int
    gain: float
    """dB, all layers together, each weighted by the share of the gradient that goes through it."""
    note: str

    def __str__(self) -> str:
        each = self.gain / self.layers
        return f"{self.kind} {each:+.1f} dB a layer × {self.layers} ({self.note})"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"kind": self.kind, "layers": self.layers, "gain_db": self.gain, "note": self.note}


def balance(seen: Examination) -> list[Balance]:
    """Return what each kind of layer does to the gradient, what shrinks it most first.

    The gains of the layers that a gradient passes, weighted by their shares, add up to that of the
    whole as far as paths do not interfere.
    """
    kinds: dict[str, list[tuple[Node, float]]] = {}
    for name, share in seen.flow.node_shares.items():
        node = (
            seen.graph.nodes[seen.graph.positions[name]] if name in seen.graph.positions else None
        )
        if node is None or name in (LOSS, seen.target) or share is None:
            continue
        kind = _kind(seen, node)
        if kind is not None:
            weight = min(1.0, max(0.0, share))
            kinds.setdefault(kind, []).append((node, weight * local_gain(seen, name)))
    found = [
        Balance(kind, len(items), sum(gain for _, gain in items), _note(seen, kind, items))
        for kind, items in kinds.items()
    ]
    return sorted(found, key=lambda item: item.gain)


def _kind(seen: Examination, node: Node) -> str | None:
    if node.op is None:
        merge = seen.graph.merge_kind(node.name)
        return {"add": "sums", "multiply": "products", "concat": "concats"}.get(merge or "")
    return "weights" if node.op.op.weight_layer else node.op.name


def _note(seen: Examination, kind: str, items: list[tuple[Node, float]]) -> str:
    if kind == "weights":
        names = {node.name for node, _ in items}
        gains = [level.gain for level in weight_levels(seen) if level.node.name in names]
        return f"σ_w = {fmean(gains):.2g} on average" if gains else "weights of 0"
    if kind == "sums":
        return "what arrives at a sum goes back along all its terms"
    slopes = list(_slopes(seen, items))
    if slopes:
        return f"slope {fmean(slopes):.2g}"
    return "Σ over layers"


def _slopes(seen: Examination, items: list[tuple[Node, float]]) -> Iterator[float]:
    for node, _ in items:
        slopes = seen.tape.slopes(seen.graph.position(node.name))
        if slopes is not None:
            yield math.sqrt(float(slopes.double().square().mean()))
