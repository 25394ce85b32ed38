"""A diagnosis: what a gradient is like, what is wrong with it, and how that is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from archgraph.diagnosis.balance import Balance
from archgraph.diagnosis.examination import Examination, Stretch
from archgraph.diagnosis.finding import Finding
from archgraph.diagnosis.precision import Precision
from archgraph.errors import TargetError
from archgraph.graph import Graph
from archgraph.paths.target import resolve

__all__ = ["Diagnosis", "Verdict"]

Verdict = Literal["fine", "vanishes", "explodes", "zero", "not finite"]


@dataclass(frozen=True)
class Diagnosis:
    """What the gradient of a network is like at its start. Made by `diagnose`."""

    graph: Graph
    seen: Examination
    """The pass that it rests on."""
    verdict: Verdict
    paths: int
    """From the target to the loss."""
    longest: int
    """Most weight layers on a path."""
    relative: float | None
    """Root mean square per element at the target, relative to that at the output."""
    run: Sequence[Stretch]
    """The consecutive stretches in which the gradient changes most."""
    run_gain: float
    """By how many dB."""
    findings: tuple[Finding, ...]
    """What is wrong or unusual, what costs most first."""
    balance: tuple[Balance, ...]
    """What each kind of layer does to the gradient."""
    precision: Mapping[str, Precision]
    """By format: what would be lost of the parameters' gradients."""
    batch: int
    seed: int
    dtype: str
    train: bool

    @property
    def target(self) -> str:
        """Where the gradient is looked at."""
        return self.seen.target

    @property
    def norm(self) -> float:
        """‖∂L/∂target‖."""
        return self.seen.headline.norm

    @property
    def rms(self) -> float:
        """Root mean square of ∂L/∂target per element."""
        return self.seen.headline.rms

    @property
    def effective_depth(self) -> float | None:
        """Mean number of weight layers on a path, by share."""
        return self.seen.headline.effective_depth

    @property
    def skip_share(self) -> float | None:
        """Of the terms that a path enters merges by, the fraction that are skips."""
        return self.seen.headline.skip_share

    @property
    def direct_share(self) -> float | None:
        """Share of the paths that take no branch."""
        return self.seen.headline.direct_share

    @property
    def gain_db_per_block(self) -> float | None:
        """Mean over the blocks of 20·log10 of ‖∂L/∂input‖ / ‖∂L/∂output‖."""
        return self.seen.headline.gain_db_per_block

    def gradient(self, name: str) -> Tensor:
        """Return the measured gradient at a node or parameter.

        Raises:
            TargetError: there is no such thing, or it gets no gradient.
        """
        target = resolve(self.graph, name)
        swept = self.seen.cotangents
        found = swept.parameters.get(target.name)
        if target.position is not None:
            found = swept.nodes.get(target.position, {}).get(0)
        if found is None:
            raise TargetError(f"{name!r} gets no gradient")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        first, last = (self.run[0].first, self.run[-1].last) if self.run else (None, None)
        return {
            "name": self.graph.name,
            "wrt": self.target,
            "reference": self.seen.reference,
            "verdict": self.verdict,
            "rms": self.rms,
            "norm": self.norm,
            "relative": self.relative,
            "paths": self.paths,
            "longest_path_weights": self.longest,
            "effective_depth": self.effective_depth,
            "skip_share": self.skip_share,
            "direct_share": self.direct_share,
            "gain_db_per_block": self.gain_db_per_block,
            "worst_stretch": {"first": first, "last": last, "gain_db": self.run_gain},
            "findings": [finding.to_dict() for finding in self.findings],
            "balance": [item.to_dict() for item in self.balance],
            "precision": {name: lost.to_dict() for name, lost in self.precision.items()},
            "batch": self.batch,
            "seed": self.seed,
            "dtype": self.dtype,
            "train": self.train,
        }
