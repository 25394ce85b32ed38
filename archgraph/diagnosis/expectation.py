"""What a user expects of a gradient, as a comparison of a number: `rms(stem) > 1e-6`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from archgraph.errors import UsageError, suggest
from archgraph.gradient.bundle import norm

if TYPE_CHECKING:
    from archgraph.diagnosis.result import Diagnosis

__all__ = ["Expectation", "outcome", "parse_expectation"]

_FORM: Final = re.compile(
    r"\s*(?P<quantity>[a-z]+)\s*(?:\(\s*(?P<of>.+?)\s*\))?\s*(?P<sign><=|>=|<|>)\s*(?P<bound>\S+)\s*"
)
_SIGNS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Expectation:
    """A bound on a number of a diagnosis."""

    text: str
    quantity: str
    of: str | None
    sign: str
    bound: float

    def value(self, found: Diagnosis) -> float:
        """Return the number that is bounded; NaN where it is not defined.

        Raises:
            TargetError: it is of something that the network does not have.
        """
        value = _QUANTITIES[self.quantity](found, self.of)
        return float("nan") if value is None else value

    def holds(self, found: Diagnosis) -> bool:
        """Whether the number keeps to the bound; one that is not defined does not."""
        return _SIGNS[self.sign](self.value(found), self.bound)


def _rms(found: Diagnosis, of: str | None) -> float | None:
    if of is None:
        return found.rms
    gradient = found.gradient(of)
    return norm({0: gradient}) / math.sqrt(gradient.numel())


def _norm(found: Diagnosis, of: str | None) -> float | None:
    return found.norm if of is None else norm({0: found.gradient(of)})


def _share(found: Diagnosis, of: str | None) -> float | None:
    if of is None:
        raise UsageError("share needs an edge or a node: share(x1->x3)")
    flow = found.seen.flow
    if "->" in of:
        found.graph.edge(of)
        return flow.shares.get(of, 0.0)
    return flow.node_shares.get(found.graph.nodes[found.graph.position(of)].name, 0.0)


_QUANTITIES: Final[Mapping[str, Callable[[Diagnosis, str | None], float | None]]] = {
    "depth": lambda found, of: found.effective_depth,
    "direct": lambda found, of: found.direct_share,
    "gain": lambda found, of: found.gain_db_per_block,
    "norm": _norm,
    "paths": lambda found, of: float(found.paths),
    "relative": lambda found, of: found.relative,
    "rms": _rms,
    "share": _share,
    "skips": lambda found, of: found.skip_share,
}


def parse_expectation(text: str) -> Expectation:
    """Read an expectation: a quantity, perhaps of something, a comparison, and a number.

    Args:
        text: `rms(stem) > 1e-6`, `rms(fc.weight) < 1`, `share(x1->x3) >= 0.5`, `relative > 0.01`,
            `depth < 20`, `skips`, `direct`, `gain` (dB per block), `norm`, `paths`.

    Raises:
        UsageError: it is none.

    Example:
        >>> parse_expectation("rms(stem) > 1e-6").bound
        1e-06
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(f"--expect takes a comparison such as 'rms(stem) > 1e-6', not {text!r}")
    quantity = match["quantity"]
    if quantity not in _QUANTITIES:
        close = suggest(quantity, _QUANTITIES)
        hint = f"did you mean {close!r}?" if close else f"there are {', '.join(_QUANTITIES)}"
        raise UsageError(f"--expect {text!r}: there is no quantity {quantity!r}; {hint}")
    if match["of"] is not None and quantity not in ("rms", "norm", "share"):
        raise UsageError(f"--expect {text!r}: {quantity!r} is of the whole network")
    try:
        bound = float(match["bound"])
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        raise UsageError(f"--expect {text!r}: {match['bound']!r} is no number")
    return Expectation(text.strip(), quantity, match["of"], match["sign"], bound)


def outcome(expectation: Expectation, found: Diagnosis) -> dict[str, Any]:
    """Return the JSON form of an expectation and how it came out."""
    value = expectation.value(found)
    return {
        "text": expectation.text,
        "value": None if math.isnan(value) else value,
        "ok": expectation.holds(found),
    }
