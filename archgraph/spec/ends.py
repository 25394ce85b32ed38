"""Outputs, loss, states, initialisers and ties: what a spec says beside its layers."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from archgraph.errors import suggest
from archgraph.expression import ExpressionError, evaluate_node, parse
from archgraph.graph.records import LossTerm, Node, Scale
from archgraph.numbers import as_number
from archgraph.ops import catalogue
from archgraph.ops.arguments import bind
from archgraph.ops.op import Op, OpCall
from archgraph.spec.model import LossModel
from archgraph.spec.reader import FormulaReader
from archgraph.spec.values import Reading

if TYPE_CHECKING:
    from archgraph.spec.scope import Scope

__all__ = ["read_ends", "read_initialisers", "read_loss", "read_states", "read_ties"]

_Path = tuple[str | int, ...]


def read_ends(scope: Scope, given: Any, path: _Path) -> list[tuple[str, Reading]]:
    """Return (output name, what it reads) of a spec or block; by default its last layer.

    Args:
        scope: Its names.
        given: What `outputs` says.
        path: Where the spec or block stands.
    """
    if given is None:
        named = [n for n in scope.layers if n in scope.bound and scope.bound[n].reading]
        last = scope.bound[named[-1]].reading if named else None
        return [] if last is None else [(named[-1], last)]
    entries: list[tuple[str, Any, _Path]]
    if isinstance(given, dict):
        entries = [(name, text, (*path, "outputs", name)) for name, text in given.items()]
    elif isinstance(given, list):
        entries = [(str(text), text, (*path, "outputs", k)) for k, text in enumerate(given)]
    else:
        entries = [(given, given, (*path, "outputs"))]
    ends: list[tuple[str, Reading]] = []
    for name, text, where in entries:
        mark = scope.document.mark(where)
        if not isinstance(text, str):
            scope.expansion.add("wrong-type", f"an output must be a name, not {text}", mark)
            continue
        reading = scope.reference(text, where)
        if reading is not None and reading.element and not scope.prefix:
            scope.expansion.add(
                "output",
                "an output is a layer, not an element of one",
                mark,
                help=f"give it a layer: {reading.node}_{reading.element}: {text}",
            )
        elif reading is not None:
            ends.append((name, reading))
    if not entries:
        mark = scope.document.mark((*path, "outputs"), key=True)
        what = "block" if scope.prefix else "network"
        scope.expansion.add("output", f"a {what} has at least one output", mark)
    return ends


def read_states(scope: Scope) -> tuple[str, ...] | None:
    """Return the spec's `states`, or None if it gives none."""
    if scope.expansion.spec.states is None:
        return None
    names = []
    for k, text in enumerate(scope.expansion.spec.states):
        reading = scope.reference(text, ("states", k))
        if reading is not None:
            names.append(reading.node)
    return tuple(names)


def read_loss(
    scope: Scope, models: Mapping[str, LossModel], outputs: Sequence[tuple[str, str]]
) -> list[LossTerm]:
    """Return the summands of L; without a loss one random readout for each output."""
    if not models:
        return [LossTerm(name, node) for name, node in outputs]
    terms = []
    single = isinstance(scope.expansion.spec.loss, str)
    for name, model in models.items():
        path: _Path = ("loss",) if single else ("loss", name)
        nested = not single and isinstance(scope.expansion.spec.loss[name], dict)
        call = None
        if model.op is not None:
            call = _loss_call(scope, model, (*path, "op") if nested else path)
        of = _loss_source(scope, name, model, outputs, path)
        scale = Scale()
        if isinstance(model.scale, str):
            scale = _loss_scale(scope, name, model.scale, (*path, "scale"))
        elif as_number(model.scale) is not None:
            scale = Scale(model.scale)
        if of is not None and (call is not None or model.op is None):
            terms.append(LossTerm(name, of.node, call, scale, of.element))
    return terms


def _loss_scale(scope: Scope, name: str, text: str, path: _Path) -> Scale:
    try:
        return FormulaReader(text, scope, name).scale(parse(text))
    except ExpressionError as error:
        scope.expansion.add_expression(scope, error, path)
        return Scale()


def _loss_source(
    scope: Scope,
    name: str,
    model: LossModel,
    outputs: Sequence[tuple[str, str]],
    path: _Path,
) -> Reading | None:
    if model.of is not None:
        named = dict(outputs).get(model.of)
        if named is not None:
            return Reading(named)
        reading = scope.reference(model.of, (*path, "of"))
        if reading is not None and outputs and reading.node not in {n for _, n in outputs}:
            scope.expansion.add(
                "loss",
                f"the loss '{name}' reads '{model.of}', which is no output",
                scope.document.mark((*path, "of")),
                help=f"outputs: [{', '.join([*(n for n, _ in outputs), model.of])}]",
            )
        return reading
    if len(outputs) > 1:
        listed = ", ".join(output for output, _ in outputs)
        scope.expansion.add(
            "loss",
            f"the loss does not say which output it reads: {listed}",
            scope.document.mark(path),
            help=f"loss: {{main: {{of: {outputs[0][0]}, op: {model.op}}}}}",
        )
        return None
    return Reading(outputs[0][1]) if outputs else None


def _loss_call(scope: Scope, model: LossModel, path: _Path) -> OpCall | None:
    losses = [name for name in catalogue.names() if _is_loss(catalogue.get(name))]

    def find(name: str) -> Op | None:
        op = catalogue.get(name)
        return op if _is_loss(op) else None

    why = "a loss is a torch.nn loss of one output and one target"
    return _call(scope, model.op, path, find, losses, "loss", why)


def _is_loss(op: Op | None) -> bool:
    """Whether it is a loss of one output and one target, which archgraph can draw."""
    return op is not None and op.loss and op.target is not None


def _call(
    scope: Scope,
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
        positional = [evaluate_node(item, scope.numbers) for item in call.args]
        keywords = {k.arg or "**": evaluate_node(k.value, scope.numbers) for k in call.keywords}
        bound, problems = bind(op, positional, keywords)
        for problem in problems:
            error = ExpressionError.at(node, problem.message, help=problem.help, code=problem.code)
            scope.expansion.add_expression(scope, error, path)
        return bound
    except ExpressionError as error:
        scope.expansion.add_expression(scope, error, path)
        return None


def read_initialisers(
    scope: Scope, given: Mapping[str, Any], path: _Path, op: OpCall | None
) -> tuple[tuple[str, Any], ...]:
    """Return (parameter name, initialiser call or number) pairs.

    Args:
        scope: Where names mean something, and problems go.
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
            mark = scope.document.mark((*path, name), key=True)
            scope.expansion.add("init", f"{op.name} has no parameter '{name}'", mark, help=hint)
            continue
        read = _initialiser(scope, value, (*path, name))
        if read is not None:
            pairs.append((name, read))
    return tuple(pairs)


def _initialiser(scope: Scope, value: Any, path: _Path) -> OpCall | int | float | Fraction | None:
    if as_number(value) is not None:
        return value  # type: ignore[no-any-return]
    try:
        node = parse(str(value))
        head = node.func if isinstance(node, ast.Call) else node
        if not isinstance(head, ast.Name) or head.id in scope.numbers:
            number = as_number(evaluate_node(node, scope.numbers))
            if number is None:
                raise ExpressionError.at(node, "an initialiser is a function or a number")
            return number
    except ExpressionError as error:
        scope.expansion.add_expression(scope, error, path)
        return None
    why = "an initialiser is a function of torch.nn.init without its last underscore, or a number"
    names = catalogue.initialisers()
    return _call(scope, value, path, catalogue.initialiser, names, "initialiser", why)


def read_ties(scope: Scope, nodes: Sequence[Node]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of parameters that are one."""
    known = [
        f"{node.module}.{parameter}"
        for node in nodes
        if node.op is not None and node.module is not None
        for parameter in node.op.parameter_names()
    ]
    ties = []
    for name, shared in scope.expansion.spec.tie.items():
        wrong = next((n for n in (name, shared) if n not in known), None)
        if wrong is not None and nodes:
            close = suggest(wrong, known)
            scope.expansion.add(
                "unknown-name",
                f"there is no parameter '{wrong}' to tie",
                scope.document.mark(("tie", name), key=wrong == name),
                help=f"did you mean '{close}'?" if close else None,
            )
        ties.append((name, shared))
    return tuple(ties)
