"""A diagnosis in ten lines for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from archgraph.diagnosis.finding import Finding
from archgraph.diagnosis.precision import Precision
from archgraph.diagnosis.result import Diagnosis

__all__ = ["describe", "explain"]

_VERDICTS = {
    "fine": "the gradient arrives at {at}",
    "vanishes": "the gradient vanishes on its way to {at}",
    "explodes": "the gradient explodes on its way to {at}",
    "zero": "no gradient arrives at {at}: it is exactly 0",
    "not finite": "the gradient at {at} is not finite",
}
SHOWN = 4
"""Findings that are printed."""


def explain(found: Diagnosis) -> str:
    """Return the verdict in a sentence, with its cause where there is one."""
    verdict = _VERDICTS[found.verdict].format(at=found.target)
    return f"{verdict}, but see below" if found.verdict == "fine" and found.findings else verdict


def describe(found: Diagnosis) -> list[tuple[str, str]]:
    """Return the lines of a diagnosis: what each is about, and what it says."""
    rows = [
        ("gradient", _size(found)),
        ("paths", _paths(found)),
        ("depth", _depth(found)),
        ("skips", _skips(found)),
        ("gain", _gain(found)),
    ]
    if found.run:
        rows.append(("steepest", _steepest(found)))
    label = "notes" if found.verdict == "fine" else "cause"
    rows += [("" if i else label, line) for i, line in enumerate(_causes(found))]
    rows += [(name, _lost(lost)) for name, lost in found.precision.items()]
    return rows


def _size(found: Diagnosis) -> str:
    text = f"{found.rms:.3g} per element (‖∂L/∂{found.target}‖ = {found.norm:.3g})"
    if found.relative is None:
        return text
    return f"{text}, {found.relative:.3g} × that at the output {found.seen.reference!r}"


def _paths(found: Diagnosis) -> str:
    count = f"{found.paths:,}" if found.paths < 1e12 else f"{_scientific(found.paths)}"
    noun = "path" if found.paths == 1 else "paths"
    return f"{count} {noun} to the loss, of up to {found.longest} weight layers"


def _scientific(number: int) -> str:
    """Return an integer of any size as 1.75e+100."""
    digits = len(str(number)) if number < 10**4000 else int(number.bit_length() * 0.30103)
    return f"{number / 10 ** (digits - 1):.3g}e+{digits - 1}" if digits < 300 else f"~10^{digits}"


def _depth(found: Diagnosis) -> str:
    if found.effective_depth is None:
        return "not defined, since the gradient is 0"
    text = (
        f"{found.effective_depth:.3g} weight layers on average, each path counted by its share of "
        "the gradient"
    )
    against = any((share or 0.0) < -1e-3 for share in found.seen.flow.shares.values())
    return f"{text} (negative for paths that work against the others)" if against else text


def _skips(found: Diagnosis) -> str:
    if not any(edge.role == "skip" for edge in found.graph.edges):
        return "there are none"
    if found.skip_share is None:
        return "not passed"
    text = f"{_percent(found.skip_share)} of the terms taken are skips"
    if found.direct_share is not None:
        text += f"; {_percent(found.direct_share)} of the gradient takes no branch at all"
    return text


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if abs(share) >= 1e-3 or not share else f"{100 * share:.1e} %"


def _gain(found: Diagnosis) -> str:
    gains = found.seen.headline.block_gains_db
    if not gains:
        return "no blocks"
    (low, least), (high, most) = (
        pick(gains.items(), key=lambda item: item[1]) for pick in (min, max)
    )
    text = f"{found.gain_db_per_block:+.2f} dB per block on average"
    if len(gains) == 1:
        return text
    return f"{text}, from {least:+.2f} ({low}) to {most:+.2f} ({high})"


def _steepest(found: Diagnosis) -> str:
    first, last = found.run[0].first, found.run[-1].last
    blocks = len(found.run)
    noun = "stretch" if blocks == 1 else "stretches"
    each = f", {found.run_gain / blocks:+.1f} dB each" if blocks > 1 else ""
    return (
        f"{found.run_gain:+.1f} dB of the norm from {last} back to {first} ({blocks} {noun}{each})"
    )


def _causes(found: Diagnosis) -> Iterator[str]:
    """Yield the findings; without any, the kinds of layers that the trouble comes from."""
    yield from (str(finding) for finding in found.findings[:SHOWN])
    if len(found.findings) > SHOWN:
        yield f"and {len(found.findings) - SHOWN} findings more; --json lists them all"
    if found.verdict in ("vanishes", "explodes"):
        yield from _kinds(found)
    elif not found.findings:
        yield "nothing stands out"


def _kinds(found: Diagnosis) -> Iterator[str]:
    sign = -1 if found.verdict == "vanishes" else 1
    guilty = [item for item in found.balance if sign * item.gain > 0.1 * abs(found.run_gain)]
    yield from (str(item) for item in sorted(guilty, key=lambda item: -sign * item.gain)[:2])


def _lost(lost: Precision) -> str:
    if not lost.flushed and not lost.overflown:
        return "would lose nothing of the parameters' gradients"
    parts = []
    if lost.flushed:
        parts.append(f"flush {_percent(lost.flushed)} of the parameters' gradients to zero")
    if lost.overflown:
        parts.append(f"overflow in {_percent(lost.overflown)} of them")
    text = f"would {' and '.join(parts)}"
    if lost.scale:
        return f"{text}; with the loss times 2^{lost.scale} hardly any"
    return text if lost.scale is not None else f"{text}; no loss scale saves them all"


def name_of(finding: Finding) -> tuple[str, str]:
    """Return what makes two findings the same in a comparison."""
    return finding.kind, finding.where


def changes(
    before: Sequence[Finding], after: Sequence[Finding]
) -> tuple[list[Finding], list[Finding]]:
    """Return the findings that are new, and those that are gone."""
    old, new = ({name_of(f) for f in findings} for findings in (before, after))
    return (
        [f for f in after if name_of(f) not in old],
        [f for f in before if name_of(f) not in new],
    )
