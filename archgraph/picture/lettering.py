"""Texts in DOT: the scale of an edge, labels on white ground, attributes without markup."""

from __future__ import annotations

import re

import graphviz

from archgraph.graph import Edge
from archgraph.numbers import format_number
from archgraph.picture.style import safe, shorten

__all__ = ["on_white", "plain", "scale_text"]

_GREEK = {"lam": "λ", "lambda": "λ", "lmbda": "λ", "alpha": "α", "beta": "β", "gamma": "γ"}


def scale_text(edge: Edge) -> str:
    """Return λ as the spec spells it and its number: `λ=0.9`, `α=0, learnable`."""
    scale = edge.scale
    number = format_number(scale.value, 4).replace("-", "−")
    if scale.learn:
        names = str(scale.learn).split(".")
        # Of a list of parameters the last part is but a number.
        name = ".".join(names[-2:] if names[-1][:1].isdigit() else names[-1:])
        return f"{_GREEK.get(name, shorten(name, 14))}={number}, learnable"
    text = scale.text or "lam"
    if text.isidentifier():
        return f"{_GREEK.get(text, shorten(text, 14))}={number}"
    return f"λ={shorten(text, 14)}={number}"


def on_white(text: str, width: float) -> str:
    """Return a label on white ground, with room below it for half of a line `width` points wide."""
    return (
        '<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="1"><TR>'
        f'<TD BGCOLOR="white">{safe(text)}</TD></TR>'
        f'<TR><TD HEIGHT="{round(width / 2) + 1}"></TD></TR></TABLE>>'
    )


def plain(text: str) -> str:
    """Return text for an attribute that is not HTML-like: no escapes, no control characters."""
    text = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]", "�", text)
    return str(graphviz.escape(text))
