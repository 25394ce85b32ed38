"""Equations laid out for a terminal and typeset in LaTeX, and their numbers term by term."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from archgraph.errors import UsageError
from archgraph.paths.algebra import Atom, Expression, Sum, write, write_terms

__all__ = ["Row", "format_term_numbers", "lay_out", "typeset", "write_count"]

WIDTH: Final = 96
"""A sum that is wider has one term a line."""


@dataclass(frozen=True, slots=True)
class Row:
    """``left = term + term + …``; without a left side it goes on from the row above."""

    left: Atom | None
    terms: tuple[Expression, ...]
    hidden: int = 0
    """How many terms more there are."""
    spread: bool = False
    """Whether every term has a line of its own."""

    def flat(self) -> tuple[Expression, ...]:
        """Return the terms, a lone sum as its own terms."""
        if len(self.terms) == 1 and isinstance(self.terms[0], Sum):
            return self.terms[0].terms
        return self.terms


def lay_out(rows: Sequence[Row]) -> str:
    """Return rows as text, their equals signs below one another."""
    lefts = [row.left.text if row.left else "" for row in rows]
    width = max(map(len, lefts), default=0)
    lines: list[str] = []
    for left, row in zip(lefts, rows, strict=True):
        pieces = [(sign, written.text) for sign, written in write_terms(row.flat())]
        if row.hidden:
            pieces.append(("+", f"… ({write_count(row.hidden)} more)"))
        first = ("−" if pieces[0][0] == "−" else "") + pieces[0][1]
        joined = " ".join([first, *(f"{sign} {text}" for sign, text in pieces[1:])])
        head = f"{left.ljust(width)} = "
        if not row.spread and len(head) + len(joined) <= WIDTH:
            lines.append(head + joined)
            continue
        lines.append(head + first)
        lines += [f"{' ' * (width + 1)}{sign} {text}" for sign, text in pieces[1:]]
    return "\n".join(lines)


def typeset(rows: Sequence[Row]) -> str:
    r"""Return rows as one ``aligned`` environment of LaTeX, which KaTeX and MathJax know.

    Built of primitives: KaTeX stops after a thousand macros, of which even ``\,`` is one.
    """
    lines: list[str] = []
    for row in rows:
        pieces = [(sign, written.latex) for sign, written in write_terms(row.flat())]
        if row.hidden:
            count = re.sub(r"\^(\d+)", r"$^{\1}$", write_count(row.hidden))
            pieces.append(("+", rf"\cdots \text{{ ({count} more)}}"))
        parts = [("-" if pieces[0][0] == "−" else "") + pieces[0][1]]
        parts += [f"{'-' if sign == '−' else '+'} {latex}" for sign, latex in pieces[1:]]
        head = f"{row.left.latex if row.left else ''} &= "
        between = "\\\\\n&\\quad " if row.spread else " "
        lines.append(head.lstrip() + between.join(parts))
    return "\\begin{aligned}\n" + "\\\\\n".join(lines) + "\n\\end{aligned}"


def format_term_numbers(
    terms: Sequence[Expression],
    values: Sequence[Sequence[tuple[str, float]]],
    *,
    left: str,
    hidden: int = 0,
    reference: float | None = None,
    reference_name: str = "autograd",
) -> str:
    """Return every term with the numbers of its factors, their sum, and what it is held against.

    Args:
        terms: The terms, in symbols.
        values: For each term its factors in order, each as (symbol, number).
        left: What the terms add up to.
        hidden: How many terms were left out, so that the sum is not the whole.
        reference: The number to compare the sum with.
        reference_name: Where that number comes from.

    Raises:
        UsageError: there are not as many lists of numbers as terms.
    """
    if len(values) != len(terms):
        raise UsageError(f"{len(terms)} terms need as many lists of numbers, not {len(values)}")
    products = [math.prod(value for _, value in factors) for factors in values]
    rows = [
        (write(term).text, " · ".join(_factor(v) for _, v in factors) or "1", _number(product))
        for term, factors, product in zip(terms, values, products, strict=True)
    ]
    name, middle = (max((len(row[i]) for row in rows), default=0) for i in (0, 1))
    lines = [f"{a.ljust(name)} = {b.ljust(middle)} = {c}" for a, b, c in rows]
    total = math.fsum(products)
    what = (
        f"sum of these {len(terms)}, {write_count(hidden)} more left out"
        if hidden
        else f"sum, {left}"
    )
    closing = [(what, _number(total))]
    if reference is not None and not hidden:
        closing.append((reference_name, _number(reference)))
        closing.append(("difference", f"{abs(total - reference):.1e}"))
    edge = max(name + middle + 3, *(len(what) for what, _ in closing))
    return "\n".join([*lines, *(f"{what.ljust(edge)} = {number}" for what, number in closing)])


def write_count(number: int) -> str:
    """Return a count with commas, or its order of magnitude where it is astronomical.

    Example:
        >>> write_count(16384), write_count(2**333)
        ('16,384', 'about 10^100')
    """
    digits = (
        len(str(number))
        if number.bit_length() < 10_000
        else int(number.bit_length() * math.log10(2)) + 1
    )
    return f"{number:,}" if digits < 16 else f"about 10^{digits - 1}"


def _number(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


def _factor(value: float) -> str:
    return f"({_number(value)})" if value < 0 else _number(value)
