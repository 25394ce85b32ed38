"""Changes of how weights start, and of the activation that they must suit."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from archgraph.expression import ExpressionError, parse
from archgraph.ops.op import Op
from archgraph.suggestion.candidate import Candidate, Subject, listed
from archgraph.suggestion.text import Edit, Entry

__all__ = ["activations", "initialisers"]

_HE: Final = "kaiming_normal(nonlinearity='relu')"
_LECUN: Final = "kaiming_normal(nonlinearity='linear')"
_XAVIER: Final = "xavier_normal"
_XAVIER_TANH: Final = "xavier_normal(gain=5/3)"

_SUITABLE: Final = {
    "Tanh": (_XAVIER_TANH, _XAVIER),
    "Softsign": (_XAVIER,),
    "Sigmoid": ("xavier_normal(gain=4)", _XAVIER),
    "SELU": (_LECUN,),
    "ELU": (_HE, _LECUN),
    "LeakyReLU": ("kaiming_normal(a=0.01, nonlinearity='leaky_relu')",),
}
"""By activation: what its weights should start with. A gain of 5/3 is torch's advice for tanh
(`torch.nn.init.calculate_gain`); 4 makes up for a sigmoid's slope of ¼; LeCun's is what SELU is
derived for (Klambauer et al. 2017, 1706.02515)."""
_OTHERS: Final = (_HE,)
"""He's, which keeps energies under ReLU (He et al. 2015, 1502.01852), and nearly so under what
looks like it: GELU, SiLU, Mish, Hardswish."""

_TARGETS: Final = ("Tanh", "ReLU", "SELU", "GELU")
"""Activations that are proposed."""


def initialisers(subject: Subject) -> Iterator[Candidate]:
    """Yield the inits that suit the network's activation, for all its weight layers.

    Layers with an `init` of their own keep it in one candidate, which says so, and have it
    replaced in another: it may be meant (a branch that starts at 0), or be what is wrong.
    """
    activation = subject.activation
    name = activation.name if activation is not None else "a linear network"
    for init in _suitable(activation.name) if activation is not None else (_LECUN, "orthogonal"):
        for tail, edits in _all_init_edits(subject, init):
            why = f"the init that is derived for {name}, from the size of its values and slopes"
            yield Candidate("init", f"start weights by {init}, biases at 0{tail}", why, edits, 0)


def activations(subject: Subject) -> Iterator[Candidate]:
    """Yield other activations, each with the init there is and with those that suit it.

    A gate, which is an activation that multiplies another value, keeps its own.
    """
    present = subject.activation
    if present is None:
        return
    for name in _TARGETS:
        if name == present.name:
            continue
        edits = _activation_edits(subject, present, name)
        if not edits:
            return  # it stands in another file
        why = f"{name} lets more of the gradient through than {present.name} does"
        yield Candidate("activation", f"{name} instead of {present.name}", why, edits, 1)
        for init in _suitable(name):
            for tail, more in _all_init_edits(subject, init):
                title = f"{name} instead of {present.name}, weights by {init}, biases at 0{tail}"
                why = f"{name}, with an init that is derived for it"
                yield Candidate("activation", title, why, (*edits, *more), 1)


def _suitable(activation: str) -> tuple[str, ...]:
    return _SUITABLE.get(activation, _OTHERS)


def _all_init_edits(subject: Subject, init: str) -> Iterator[tuple[str, tuple[Edit, ...]]]:
    """Yield the edits of an init with what its title adds: who keeps its own, or changes it."""
    everywhere = _init_edits(subject, init)
    layers = [entry for entry in subject.entries if _own_weight(subject, entry) is not None]
    names = listed([entry.name for entry in layers])
    if everywhere:
        keep = "keeps its" if len(layers) == 1 else "keep their"
        yield f"; {names} {keep} own" if layers else "", everywhere
    own = tuple(edit for entry in layers for edit in _own_edits(subject, entry, init))
    if own:
        yield f", those of {names} too", (*everywhere, *own)


def _own_weight(subject: Subject, entry: Entry) -> str | None:
    """Return how the weights of a weight layer start if its own `init` says so."""
    nodes = subject.nodes(entry)
    heavy = any(node.op is not None and node.op.op.weight_layer for node in nodes)
    return subject.source.scalar((*entry.path, "init", "weight")) if heavy else None


def _own_edits(subject: Subject, entry: Entry, init: str) -> Iterator[Edit]:
    source, path = subject.source, (*entry.path, "init")
    for key, value in {"weight": init, "bias": "0"}.items():
        present = source.scalar((*path, key))
        if present is not None and present not in (value, f"{value}()", f"{value}.0"):
            yield source.replace((*path, key), value)


def _init_edits(subject: Subject, init: str) -> tuple[Edit, ...]:
    """Return the edits of the spec-wide init; none if it is that already."""
    source = subject.source
    present = {key: source.scalar(("init", key)) for key in source.keys(("init",))}
    wanted = {"weight": init, "bias": "0"}
    if source.node(("init",)) is None:
        return (source.after(("layers",), {"init": wanted}),)
    changed = {
        key: value
        for key, value in wanted.items()
        if present.get(key) not in (value, f"{value}()", f"{value}.0")
    }
    if not present:
        return (source.set((), "init", wanted),)
    if len(changed) == 2 and "bias" not in present and "weight" not in present:
        return ()  # it names parameters of another kind
    return tuple(source.set(("init",), key, value) for key, value in changed.items())


def _activation_edits(subject: Subject, present: Op, name: str) -> tuple[Edit, ...]:
    """Return the edits that put another activation wherever the present one is no gate."""
    source, edits = subject.source, []
    called = {present.name: name}  # the params that hold it keep their names
    for path in [("params",), *(("blocks", b, "params") for b in source.keys(("blocks",)))]:
        for param in source.keys(path):
            text = source.scalar((*path, param)) or ""
            changed = _renamed(text, present.name, name)
            if changed != text:
                bare = changed.removesuffix("()")  # `act: Tanh`, which may be called with arguments
                edits.append(source.replace((*path, param), bare))
                called[param] = param
    for entry in subject.entries:
        nodes = subject.nodes(entry)
        if entry.formula is None or any(subject.is_gate(node) for node in nodes):
            continue
        formula = entry.formula
        for old, new in called.items():
            formula = _renamed(formula, old, new)
        if formula != entry.formula:
            edits.append(source.replace(entry.formula_path, formula))
    return tuple(edits)


def _renamed(formula: str, old: str, new: str) -> str:
    """Return a formula with the op `old` called `new`, and without its arguments."""
    try:
        tree = parse(formula)
    except ExpressionError:
        return formula
    spans = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == old:
            spans.append((node.col_offset, node.end_col_offset or 0, f"{new}()"))
        elif isinstance(node, ast.Name) and node.id == old:
            spans.append((node.col_offset, node.end_col_offset or 0, new))
    kept = [s for s in spans if not any(o is not s and o[0] <= s[0] < s[1] < o[1] for o in spans)]
    for start, end, text in sorted(set(kept), reverse=True):
        formula = formula[:start] + text + formula[end:]
    return formula
