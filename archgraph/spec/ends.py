"""Outputs, loss, states, initialisers and ties: what a spec says beside its layers."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from archgraph.errors import suggest
from archgraph.expression import ExpressionError, as_number, evaluate_node, parse
from archgraph.graph.records import LossTerm, Node, Scale
from archgraph.ops import catalogue
from archgraph.ops.arguments import bind
from archgraph.ops.op import Op, OpCall
from archgraph.spec.model import LossModel
from archgraph.spec.values import FormulaReader, Reading

if TYPE_CHECKING:
    from archgraph.spec.expand import Expansion

__all__ = ["read_initialisers", "read_loss", "read_outputs", "read_states", "read_ties"]

_Path = tuple[str | int, ...]


def read_outputs(expansion: Expansion) -> list[tuple[str, str]]:
    """Return (output name, node) pairs; without the key, the last layer."""
    given = expansion.spec.outputs
    if given is None:
        last = expansion.layer_names[-1]
        return [(last, last)]
    entries: list[tuple[str, Any, _Path]]
    if isinstance(given, dict):
        entries = [(name, text, ("outputs", name)) for name, text in given.items()]
    elif isinstance(given, list):
        entries = [(str(text), text, ("outputs", k)) for k, text in enumerate(given)]
    else:
        entries = [(given, given, ("outputs",))]
    outputs: list[tuple[str, str]] = []
    for name, text, path in entries:
        if not isinstance(text, str):
            mark = expansion.document.mark(path)
            expansion.add("wrong-type", f"an output must be a name, not {text}", mark)
            continue
        reading = expansion.reference(text, path)
        if reading is not None and reading.element:
            expansion.add(
                "output",
                "an output is a layer, not an element of one",
                expansion.document.mark(path),
                help=f"give it a layer: {reading.node}_{reading.element}: {text}",
            )
        elif reading is not None:
            outputs.append((name, reading.node))
    if not entries:
        mark = expansion.document.mark(("outputs",), key=True)
        expansion.add("output", "a network has at least one output", mark)
    return outputs


def read_states(expansion: Expansion) -> tuple[str, ...] | None:
    """Return the spec's `states`, or None if it gives none."""
    if expansion.spec.states is None:
        return None
    names = []
    for k, text in enumerate(expansion.spec.states):
        reading = expansion.reference(text, ("states", k))
        if reading is not None:
            names.append(reading.node)
    return tuple(names)


def read_loss(
    expansion: Expansion, models: Mapping[str, LossModel], outputs: Sequence[tuple[str, str]]
) -> list[LossTerm]:
    """Return the summands of L; without a loss one random readout for each output."""
    if not models:
        return [LossTerm(name, node) for name, node in outputs]
    terms = []
    single = isinstance(expansion.spec.loss, str)
    for name, model in models.items():
        path: _Path = ("loss",) if single else ("loss", name)
        nested = not single and isinstance(expansion.spec.loss[name], dict)
        call = None
        if model.op is not None:
            call = _loss_call(expansion, model, (*path, "op") if nested else path)
        of = _loss_source(expansion, name, model, outputs, path)
        scale = Scale()
        if isinstance(model.scale, str):
            scale = _loss_scale(expansion, name, model.scale, (*path, "scale"))
        elif as_number(model.scale) is not None:
            scale = Scale(model.scale)
        if of is not None and (call is not None or model.op is None):
            terms.append(LossTerm(name, of.node, call, scale, of.element))
    return terms


def _loss_scale(expansion: Expansion, name: str, text: str, path: _Path) -> Scale:
    try:
        return FormulaReader(text, expansion, name).scale(parse(text))
    except ExpressionError as error:
        expansion.add_expression(error, path)
        return Scale()


def _loss_source(
    expansion: Expansion,
    name: str,
    model: LossModel,
    outputs: Sequence[tuple[str, str]],
    path: _Path,
) -> Reading | None:
    if model.of is not None:
        named = dict(outputs).get(model.of)
        if named is not None:
            return Reading(named)
        reading = expansion.reference(model.of, (*path, "of"))
        if reading is not None and outputs and reading.node not in {n for _, n in outputs}:
            expansion.add(
                "loss",
                f"the loss '{name}' reads '{model.of}', which is no output",
                expansion.document.mark((*path, "of")),
                help=f"outputs: [{', '.join([*(n for n, _ in outputs), model.of])}]",
            )
        return reading
    if len(outputs) > 1:
        listed = ", ".join(output for output, _ in outputs)
        expansion.add(
            "loss",
            f"the loss does not say which output it reads: {listed}",
            expansion.document.mark(path),
            help=f"loss: {{main: {{of: {outputs[0][0]}, op: {model.op}}}}}",
        )
        return None
    return Reading(outputs[0][1]) if outputs else None


def _loss_call(expansion: Expansion, model: LossModel, path: _Path) -> OpCall | None:
    losses = [name for name in catalogue.names() if _is_loss(catalogue.get(name))]

    def find(name: str) -> Op | None:
        op = catalogue.get(name)
        return op if _is_loss(op) else None

    why = "a loss is a torch.nn loss of one output and one target"
    return _call(expansion, model.op, path, find, losses, "loss", why)


def _is_loss(op: Op | None) -> bool:
    """Whether it is a loss of one output and one target, which archgraph can draw."""
    return op is not None and op.loss and op.target is not None


def _call(
    expansion: Expansion,
    text: Any,
    path: _Path,
    find: Any,
    names: Sequence[str],
    what: str,
    why: str,
) -> OpCall | None:
    """Read `Name` or `Name(arguments)`, where `find` says which names there are."""
    try:
        node = parse(str(text))
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        if not isinstance(call.func, ast.Name):
            raise ExpressionError.at(node, f"'{text}' is no {what}", help=why)
        op = find(call.func.id)
        if op is None:
            close = suggest(call.func.id, names)
            hint = f"did you mean '{close}'?" if close else why
            message = f"unknown {what} '{call.func.id}'"
            raise ExpressionError.at(call.func, message, help=hint, code=f"unknown-{what}")
        positional = [evaluate_node(item, expansion.numbers) for item in call.args]
        keywords = {k.arg or "**": evaluate_node(k.value, expansion.numbers) for k in call.keywords}
        bound, problems = bind(op, positional, keywords)
        for problem in problems:
            error = ExpressionError.at(node, problem.message, help=problem.help, code=problem.code)
            expansion.add_expression(error, path)
        return bound
    except ExpressionError as error:
        expansion.add_expression(error, path)
        return None


def read_initialisers(
    expansion: Expansion, given: Mapping[str, Any], path: _Path, op: OpCall | None
) -> tuple[tuple[str, Any], ...]:
    """Return (parameter name, initialiser call or number) pairs.

    Args:
        expansion: Where names mean something, and problems go.
        given: The spec's `init` mapping.
        path: Where it stands.
        op: The layer's op, whose parameters the names must be; None for the spec-wide `init`.
    """
    pairs = []
    for name, value in given.items():
        known = op.parameter_names() if op is not None else ("weight", "bias")
        if op is not None and known and name not in known:
            close = suggest(name, known)
            hint = f"did you mean '{close}'?" if close else f"it has {', '.join(known)}"
            mark = expansion.document.mark((*path, name), key=True)
            expansion.add("init", f"{op.name} has no parameter '{name}'", mark, help=hint)
            continue
        read = _initialiser(expansion, value, (*path, name))
        if read is not None:
            pairs.append((name, read))
    return tuple(pairs)


def _initialiser(
    expansion: Expansion, value: Any, path: _Path
) -> OpCall | int | float | Fraction | None:
    if as_number(value) is not None:
        return value  # type: ignore[no-any-return]
    try:
        node = parse(str(value))
        head = node.func if isinstance(node, ast.Call) else node
        if not isinstance(head, ast.Name) or head.id in expansion.numbers:
            number = as_number(evaluate_node(node, expansion.numbers))
            if number is None:
                raise ExpressionError.at(node, "an initialiser is a function or a number")
            return number
    except ExpressionError as error:
        expansion.add_expression(error, path)
        return None
    why = "an initialiser is a function of torch.nn.init without its last underscore, or a number"
    names = catalogue.initialisers()
    return _call(expansion, value, path, catalogue.initialiser, names, "initialiser", why)


def read_ties(expansion: Expansion, nodes: Sequence[Node]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of parameters that are one."""
    known = [
        f"{node.module}.{parameter}"
        for node in nodes
        if node.op is not None and node.module is not None
        for parameter in node.op.parameter_names()
    ]
    ties = []
    for name, shared in expansion.spec.tie.items():
        wrong = next((n for n in (name, shared) if n not in known), None)
        if wrong is not None and nodes:
            close = suggest(wrong, known)
            expansion.add(
                "unknown-name",
                f"there is no parameter '{wrong}' to tie",
                expansion.document.mark(("tie", name), key=wrong == name),
                help=f"did you mean '{close}'?" if close else None,
            )
        ties.append((name, shared))
    return tuple(ties)
