"""Which numbers made a layer what it is, beside those that its node and its calls record."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from archgraph.expression import ExpressionError, names_in, parse
from archgraph.ops.op import Op, OpCall
from archgraph.spec.template import Template

if TYPE_CHECKING:
    from archgraph.spec.model import LayerModel
    from archgraph.spec.scope import Scope

__all__ = ["deciding_names", "names_of"]


def names_of(text: str, known: Container[str]) -> tuple[str, ...]:
    """Return the known names in an expression, sorted; none if it is no expression."""
    return tuple(name for name in _all_names(text) if name in known)


@lru_cache(maxsize=4096)
def _all_names(text: str) -> tuple[str, ...]:
    try:
        return tuple(sorted(names_in(parse(text))))
    except ExpressionError:
        return ()


def deciding_names(model: LayerModel, scope: Scope) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of numbers that decided a layer and no record says, and what it reads.

    Recorded are the arguments of ops and blocks, factors, how often, and `when`.

    Args:
        model: The layer.
        scope: What its names mean.

    Returns:
        The names that decided which op it is, a constant, an axis or how it starts; and those
        in indices and conditions of what it reads.
    """
    found = _Names(set(), set(), scope)
    for value in (model.init or {}).values():
        found.decided.update(_all_names(str(value)))
    if model.from_ is not None:
        found.wired.update(_all_names(model.from_))
    if isinstance(model.op, str):
        with suppress(ExpressionError):  # it is reported where it is read
            found.visit(parse(model.op))
    known = {*scope.numbers, "i"}
    return tuple(sorted(found.decided & known)), tuple(sorted(found.wired & known))


@dataclass(frozen=True, slots=True)
class _Names:
    """The names in one formula that decide something."""

    decided: set[str]
    wired: set[str]
    scope: Scope

    def visit(self, formula: ast.expr) -> None:
        """Note the names of a formula, or of one arm of a choice of formulas."""
        if isinstance(formula, ast.IfExp):
            arms = (formula.body, formula.orelse)
            ops = any(isinstance(arm, ast.Call) or _op_names(arm, self.scope) for arm in arms)
            (self.decided if ops else self.wired).update(names_in(formula.test))
            for arm in arms:
                self.visit(arm)
            return
        self.decided.update(_op_names(formula, self.scope))
        for part in _read_parts(formula):
            self.decided.update(_constants(part, {*self.scope.numbers, "i"}))
            self.wired.update(_choices(part))


def _op_names(formula: ast.expr, scope: Scope) -> set[str]:
    """Return the params that an op is, or that a block is given as an op."""
    names: set[str] = set()
    call = formula.func if isinstance(formula, ast.Call) else formula
    call = call if isinstance(call, ast.Call) else formula  # without its second bracket
    arguments = (
        [*call.args, *(k.value for k in call.keywords)] if isinstance(call, ast.Call) else []
    )
    for argument in arguments:
        inner = names_in(argument)
        ops = {name for name in inner if scope.op(name) is not None}
        names |= {*ops, *inner} if ops else ops
    called = call.func if isinstance(call, ast.Call) else call
    if isinstance(called, ast.Name) and _is_op(called.id, scope):
        names.add(called.id)
    return names


def _is_op(name: str, scope: Scope) -> bool:
    return isinstance(scope.numbers.get(name), Op | OpCall | Template)


def _read_parts(formula: ast.expr) -> list[ast.expr]:
    """Return the parts of a formula that say what is read."""
    if isinstance(formula, ast.Call):
        if isinstance(formula.func, ast.Call):
            return [*formula.args, *(k.value for k in formula.keywords)]
        tensors = isinstance(formula.func, ast.Name) and formula.func.id in ("concat", "mix", "sum")
        return [formula] if tensors else []
    return [formula]


def _constants(part: ast.expr, numbers: Set[str]) -> Iterator[str]:
    """Yield the names in constants and axes; with a constant, every factor multiplies it too."""
    for node in ast.walk(part):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                yield from names_in(keyword.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            known = [names_in(side) <= numbers for side in (node.left, node.right)]
            if any(known) and not all(known):
                yield from names_in(part)


def _choices(part: ast.expr) -> Iterator[str]:
    """Yield the names in indices and conditions."""
    for node in ast.walk(part):
        if isinstance(node, ast.Subscript):
            yield from names_in(node.slice)
        if isinstance(node, ast.IfExp):
            yield from names_in(node.test)
