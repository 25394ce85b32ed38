"""What a constructor takes: sizes, the block's own params, the spec's params by keyword."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from archgraph.expression import evaluate
from archgraph.module import text as python
from archgraph.module.classes import Plan
from archgraph.module.expressions import names_in, substitute
from archgraph.module.network import Network
from archgraph.module.numbers import Numbers, plain_value

__all__ = ["Signature", "annotation", "spec_wide_sizes"]

_ORDER = ("size", "extra", "own", "outer")


class Signature:
    """The arguments of one class: the names that its texts use, in order."""

    def __init__(self, plan: Plan, numbers: Numbers, params: Container[str]) -> None:
        self._plan, self._numbers, self._params = plan, numbers, params

    def used(self) -> list[str]:
        """Return all names: sizes, extras, the block's own, those from around it."""
        given = self._numbers.given
        taken = [name for name in given if given[name].source != "local"]
        names = [name for name in taken if name in self._numbers.contexts]
        own = [name for name, _ in self._plan.full.instance.params]
        places = {name: own.index(name) if name in own else 0 for name in names}
        return sorted(names, key=lambda name: (_ORDER.index(given[name].source), places[name]))

    def positional(self) -> list[str]:
        """Return the arguments that a call gives by position."""
        return [name for name in self.used() if self.default(name) is None]

    def keywords(self) -> dict[str, str]:
        """Return the arguments that a call gives by name, with their defaults."""
        found = {name: self.default(name) for name in self.used()}
        return {name: default for name, default in found.items() if default is not None}

    def texts(self) -> list[str]:
        """Return the arguments as they stand in `def __init__`, without `self`."""
        arguments: list[str] = []
        wide: list[str] = []
        for name in self.used():
            default = self.default(name)
            text = f"{name}: {self.annotation(name)}"
            if default is not None:
                text += f" = {default}"
            alone = self._plan.full.parent is not None and self._is_spec_wide(name)
            (wide if alone else arguments).append(text)
        return [*arguments, "*", *wide] if wide else arguments

    def annotation(self, name: str) -> str:
        """Return the type of an argument."""
        value = self._numbers.known[self._plan.full][name]
        return annotation(value, as_float=self._numbers.contexts[name])

    def default(self, name: str) -> str | None:
        """Return the text of an argument's default, None if it has none."""
        given = self._numbers.given[name]
        if self._is_spec_wide(name):
            return self._literal(name, self._numbers.known[self._plan.full][name])
        if given.source != "own":
            return None
        own = [n for n in self.used() if self._numbers.given[n].source == "own"]
        after = own[own.index(name) + 1 :]
        if any(self._usual(other) is None for other in after):
            return None
        return self._usual(name)

    def _is_spec_wide(self, name: str) -> bool:
        return self._numbers.given[name].source == "outer" and name in self._params and name != "i"

    def _usual(self, name: str) -> str | None:
        """Return a param's default: as the block declares it, else the one that calls leave out.

        A flag without one has its more common value; None if there is none.
        """
        declared = self._declared(name)
        if declared is not None:
            return declared
        values, left_out = [], []
        for unit in self._plan.units:
            value = self._numbers.known[unit][name]
            values.append(value)
            if name not in dict(unit.instance.texts):
                left_out.append(value)
        if left_out:
            same = all(value == left_out[0] for value in left_out)
            return self._literal(name, left_out[0]) if same else None
        flags = [value for value in values if isinstance(value, bool)]
        both = len(flags) == len(values) and len(set(flags)) > 1
        return self._literal(name, max(flags, key=flags.count)) if both else None

    def _declared(self, name: str) -> str | None:
        text = dict(self._plan.full.instance.defaults).get(name)
        values = [self._numbers.known[unit][name] for unit in self._plan.units]
        named = (v for v in values if isinstance(v, python.Code) and v.rpartition(".")[2] == text)
        if (layer := next(named, None)) is not None:
            return self._literal(name, layer)
        if text is None or names_in(text):
            return None
        value = evaluate(text, {})
        value = plain_value(value)
        as_float = self._numbers.contexts[name]
        same = annotation(value, as_float=as_float) == self.annotation(name)
        return self._literal(name, value) if same else None

    def _literal(self, name: str, value: Any) -> str:
        return python.literal(float(value) if self.annotation(name) == "float" else value)


def annotation(value: Any, *, as_float: bool = False) -> str:
    """Return the type of a number that code takes.

    Args:
        value: The number, a flag, a word, a class of layers, or a tuple of these.
        as_float: Whether a whole number stands for a float.
    """
    if isinstance(value, list | tuple):
        kinds = {annotation(item) for item in value}
        return f"Sequence[{kinds.pop() if len(kinds) == 1 else 'float'}]"
    if isinstance(value, python.Code):
        return "type[nn.Module]"
    if isinstance(value, bool | str):
        return type(value).__name__
    return "int" if isinstance(value, int) and not as_float else "float"


def spec_wide_sizes(plans: Sequence[Plan], network: Network) -> dict[int, dict[str, str]]:
    """Return by plan's identity the sizes that all callers give by one param of the spec.

    The class knows this param too, so that it needs no argument for such a size.
    """
    found: dict[int, dict[str, str]] = {}
    for plan in reversed(plans):  # callers first
        for name, asked in network.done[id(plan)].calls.asked.items():
            texts = {substitute(text, found.get(caller, {})) for caller, text in asked}
            if len(texts) == 1 and texts <= set(network.graph.params):
                found.setdefault(id(plan), {})[name] = texts.pop()
    return found
