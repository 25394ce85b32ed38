"""The body of `reset_parameters`: how weights start, where a spec says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from archgraph.graph import Node
from archgraph.module import text as python
from archgraph.module.constructor import Constructor
from archgraph.module.initialisers import matching_parameters
from archgraph.module.network import Network
from archgraph.module.units import Layer, Unit, relative
from archgraph.ops import OpCall

__all__ = ["Resets"]


class Resets:
    """Writes how the weights of each class start.

    What a spec says of all weight layers stands once, in the class of the network, unless a layer
    inside a block starts otherwise.
    """

    def __init__(self, network: Network, root: Unit) -> None:
        self._network, self._root = network, root
        self._graph, self._shapes = network.graph, network.shapes
        self._layers = [layer for layer, _ in _layers(root, root, everywhere=True)]
        self._wide = self._spec_wide()

    def write(self, constructor: Constructor) -> list[str]:
        """Return the statements of a class's `reset_parameters`, with loops as nested lines."""
        wide = self._wide or {}
        lines = _over_modules(wide) if constructor.unit is self._root else []
        groups: dict[tuple[str, ...], list[str]] = {}
        for layer, way in _layers(constructor.unit, constructor.unit):
            starts = self._starts(layer.node, spec_wide=self._wide is None)
            if starts:
                texts = tuple(_start(f"layer{name}", value) for name, value in starts.items())
                here = _reference(constructor, layer, way)
                groups.setdefault(texts, []).append(here)
        for texts, layers in groups.items():
            unique = list(dict.fromkeys(layers))
            if len(unique) == 1 and not unique[0].startswith("*"):
                lines += [text.replace("(layer", f"({unique[0]}", 1) for text in texts]
            else:
                one = len(unique) == 1 and unique[0][1:].isidentifier() is False
                plain = one and not unique[0].startswith("*(")
                head = (
                    unique[0][1:] if plain else f"({', '.join(unique)}{',' * (len(unique) == 1)})"
                )
                lines += [f"for layer in {head}:", *(f"    {text}" for text in texts)]
        return lines

    def _starts(self, node: Node, *, spec_wide: bool = True) -> dict[str, Any]:
        """Return by parameter of a layer, from its own name on, how it starts."""
        if node.op is None or node.module is None:
            return {}
        chosen: dict[str, Any] = {}
        wide = self._graph.init if node.op.op.weight_layer and spec_wide else ()
        for name, value in (*wide, *node.init):
            held = self._shapes.held.get(node.module, {})
            for parameter in matching_parameters(held, node, name):
                chosen[parameter.removeprefix(node.module)] = value
        return chosen

    def _spec_wide(self) -> dict[tuple[str, ...], tuple[list[str], bool]] | None:
        """Return what one loop over all modules does; None where it would not be the same.

        By statements: the classes that they are for, and whether a bias may be missing.
        """
        if not self._graph.init or len(self._network.done) < 2:
            return None
        by_class: dict[str, dict[str, Any]] = {}
        lacking: dict[str, bool] = {}
        for layer in self._layers:
            node = layer.node
            if layer.manner != "module" or node.op is None:
                continue
            known_well = node.op.op.origin in ("torch.nn", "archgraph")
            names = self._parameters(node)
            if any("." in name[1:] for name in names) or (names and not known_well):
                return None
            if not node.op.op.weight_layer:
                continue
            if node.init and layer.path in self._nested:
                return None
            starts = self._starts(node)
            known = by_class.setdefault(node.op.name, {})
            if any(known.get(name, value) != value for name, value in starts.items()):
                if not node.init:
                    return None
                continue
            if not node.init:
                known.update(starts)
            bias = dict(self._graph.init).get("bias") is not None
            lacking[node.op.name] = lacking.get(node.op.name, False) or (
                bias and ".bias" not in names
            )
        return _by_statements(by_class, lacking)

    @property
    def _nested(self) -> set[str]:
        own = {layer.path for layer, _ in _layers(self._root, self._root)}
        return {layer.path for layer in self._layers} - own

    def _parameters(self, node: Node) -> list[str]:
        start = f"{node.module}."
        held = self._shapes.held.get(node.module or "", {})
        return [f".{n.removeprefix(start)}" for n in held if n.startswith(start)]


def _by_statements(
    by_class: dict[str, dict[str, Any]], lacking: dict[str, bool]
) -> dict[tuple[str, ...], tuple[list[str], bool]]:
    groups: dict[tuple[str, ...], tuple[list[str], bool]] = {}
    for name, starts in by_class.items():
        texts = tuple(_start(f"layer{key}", value) for key, value in starts.items())
        if texts:
            classes, missing = groups.get(texts, ([], False))
            groups[texts] = [*classes, f"nn.{name}"], missing or lacking[name]
    return groups


def _over_modules(wide: dict[tuple[str, ...], tuple[list[str], bool]]) -> list[str]:
    if not wide:
        return []
    lines = ["for layer in self.modules():"]
    for texts, (classes, missing) in wide.items():
        lines.append(f"    if isinstance(layer, {' | '.join(sorted(classes))}):")
        for text in texts:
            if missing and "(layer.bias" in text:
                lines += ["        if layer.bias is not None:", f"            {text}"]
            else:
                lines.append(f"        {text}")
    return lines


def _layers(
    unit: Unit, home: Unit, way: tuple[Unit, ...] = (), *, everywhere: bool = False
) -> Iterator[tuple[Layer, tuple[Unit, ...]]]:
    """Yield the layers of a class, those in its chains and loops too.

    With each, the repeats around it; of these only the first copy is looked at.
    """
    for part in unit.parts:
        if isinstance(part, Layer):
            yield part, way
        elif part.form != "class":
            repeats = part.instance.kind == "repeat" and not everywhere and _is_even(part)
            inner = (*way, part) if repeats else way
            copies = part.parts if part.loop is None else list(part.loop.copies)
            found = copies[:1] if repeats else copies
            for copy in found:
                if isinstance(copy, Layer):
                    yield copy, inner
                elif copy.form != "class":
                    yield from _layers(copy, home, inner, everywhere=everywhere)
                elif everywhere:
                    yield from _layers(copy, home, everywhere=True)
        elif everywhere:
            yield from _layers(part, home, everywhere=True)


def _is_even(repeat: Unit) -> bool:
    """Whether all copies start alike, as far as their own initialisers say."""
    copies = repeat.parts if repeat.loop is None else repeat.loop.copies
    looks = {
        tuple(
            (str(layer.node.init), layer.node.op and layer.node.op.name)
            for layer, _ in _layers_of(copy)
        )
        for copy in copies
    }
    return len(looks) == 1


def _layers_of(part: Layer | Unit) -> list[tuple[Layer, tuple[Unit, ...]]]:
    if isinstance(part, Layer):
        return [(part, ())]
    return [] if part.form == "class" else list(_layers(part, part, everywhere=False))


def _reference(constructor: Constructor, layer: Layer, way: tuple[Unit, ...]) -> str:
    """Return how a layer is read; those of all copies of a repeat as `*self.h`."""
    if layer.manner == "parameter":
        return constructor.parameter(layer.module)
    whole = constructor.reference(layer.module)
    if not way:
        return whole
    repeat = way[-1]
    held = constructor.layers[repeat.path]
    copies = repeat.parts if repeat.loop is None else repeat.loop.copies
    first = constructor.reference(copies[0].module)
    rest = whole.removeprefix(first)
    if not relative(copies[0].module, repeat.module):
        return whole
    return f"*(part{rest} for part in {held})" if rest else f"*{held}"


def _start(parameter: str, value: Any) -> str:
    """Return the statement that starts a parameter: `nn.init.zeros_(layer.bias)`."""
    if isinstance(value, OpCall):
        arguments = [f"{name}={python.literal(given)}" for name, given in value.arguments]
        return python.call(f"nn.init.{value.name}_", [parameter, *arguments])
    if value in (0, 1):
        return f"nn.init.{'ones' if value else 'zeros'}_({parameter})"
    return f"nn.init.constant_({parameter}, {python.literal(float(value))})"
