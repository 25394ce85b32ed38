"""Changes of λ: of the skips, or of the branches that are added to them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from archgraph.expression import evaluate
from archgraph.numbers import format_number
from archgraph.suggestion.candidate import Candidate, Subject, Term, terms_of
from archgraph.suggestion.text import Edit, Entry

__all__ = ["scales"]


def scales(subject: Subject) -> Iterator[Candidate]:
    """Yield other λ, for all skips or all branches at once.

    * Every skip the identity: λ = 1 (He et al. 2016, 1603.05027, §3).
    * λ = √½ on both, which keeps λ² + T = 1 where a branch keeps energies (T = 1).
    * Branches by 1/√N, N the number of blocks: λ² + T = 1 + 1/N each, and so at most e in all
      (De and Smith 2020, 2002.10444); fixed, or learnable from there.
    * α = N^(1/4) on the skips of a post-norm network (Wang et al. 2022, 2203.00555, whose 2N counts
      the two blocks of each layer).
    """
    merges = [merge for entry in subject.entries if (merge := _merge(subject, entry))]
    blocks = subject.depth
    if not blocks:
        return
    yield from _params(subject)
    if any(edge.scale.value != 1 for edge in subject.skips):
        why = "a skip that multiplies by 1 hands the gradient on as it is, at any depth"
        yield from _made(subject, merges, "λ = 1 on every skip", why, skip="1", branch=None)
    why = f"then no block multiplies the energy; there are {blocks}"
    title = "λ = √½ on every skip and every branch"
    yield from _made(subject, merges, title, why, skip="sqrt(1/2)", branch="sqrt(1/2)")
    small = f"{subject.in_terms_of_depth(blocks)}**(-1/2)"
    why = f"{blocks} blocks then multiply the energy by at most e, together"
    yield from _made(subject, merges, f"branches times {small}", why, skip=None, branch=small)
    title = f"branches times a learnable λ that starts at {small}"
    learn = f"learn({small})"
    yield from _made(subject, merges, title, why, skip=None, branch=learn)
    alpha = f"{subject.in_terms_of_depth(blocks)}**(1/4)"
    if any(_is_norm(subject, edge.target) for edge in subject.skips):
        title = f"DeepNet's α = {alpha} on every skip"
        why = "a norm after the sum divides by its size, and with it the skip; α makes up for that"
        yield from _made(subject, merges, title, why, skip=alpha, branch=None)


def _params(subject: Subject) -> Iterator[Candidate]:
    """Yield other values of the params that scale skips."""
    texts = {edge.scale.text for edge in subject.skips if edge.scale.text}
    for name in subject.source.keys(("params",)):
        if name not in texts:
            continue
        now = subject.graph.params.get(name)
        shown = format_number(now) if isinstance(now, (int, float, Fraction)) else str(now)
        for value in ("1.0", "sqrt(1/2)"):
            if now != evaluate(value, {}):
                edit = subject.source.replace(("params", name), value)
                why = f"{name} multiplies along every skip; it is {shown} now"
                yield Candidate("scale", f"{name} = {value}", why, (edit,), 0)


_Merge = tuple[Entry, list[Term], list[bool]]
"""A layer that adds a skip, the summands of its formula, and which of them are skips."""


def _merge(subject: Subject, entry: Entry) -> _Merge | None:
    nodes = subject.nodes(entry)
    if entry.formula is None or not nodes:
        return None
    factors = frozenset(subject.source.keys(("params",)))
    if entry.path[0] == "blocks":
        factors |= frozenset(subject.source.keys((*entry.path[:2], "params")))
    terms = terms_of(entry.formula, factors)
    edges = [edge for edge in subject.graph.edges_into(nodes[0].name) if edge.kind == "add"]
    if len(terms) != len(edges) or not any(edge.role == "skip" for edge in edges):
        return None
    return entry, terms, [edge.role == "skip" for edge in edges]


def _made(
    subject: Subject,
    merges: list[_Merge],
    title: str,
    why: str,
    *,
    skip: str | None,
    branch: str | None,
) -> Iterator[Candidate]:
    """Yield the candidate that puts these factors before all skips and branches, if it can."""
    edits: list[Edit] = []
    for entry, terms, roles in merges:
        assert entry.formula is not None
        text = entry.formula
        for term, is_skip in reversed(list(zip(terms, roles, strict=True))):
            factor = skip if is_skip else branch
            if factor is not None:
                written = term.value if factor == "1" else f"{factor}*{term.value}"
                text = text[: term.start] + written + text[term.end :]
        if text != entry.formula:
            edits.append(subject.source.replace(entry.formula_path, text))
    for k in range(subject.source.length(("edges",))):
        path = ("edges", k)
        if subject.source.scalar((*path, "kind")) == "add-skip" and skip is not None:
            edits.append(subject.source.set(path, "scale", skip))
    if edits:
        yield Candidate("scale", title, why, tuple(edits), 1)


def _is_norm(subject: Subject, name: str) -> bool:
    op = subject.graph.node(name).op
    return op is not None and op.op.family == "normalization"
