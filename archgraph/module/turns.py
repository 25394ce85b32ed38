"""The `for` that runs a repeat whose copies are no plain chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archgraph.graph import Node
from archgraph.module import text as python
from archgraph.module.expressions import names_in
from archgraph.module.flow import LIST
from archgraph.module.loops import Loop, LoopInput, slices
from archgraph.module.units import Ref, Unit

if TYPE_CHECKING:
    from archgraph.module.forward import Forward

__all__ = ["write_loop"]


def write_loop(forward: Forward, node: Node) -> None:
    """Write a loop, and note what its values are called."""
    _Writer(forward, node).write()


class _Writer:
    def __init__(self, forward: Forward, node: Node) -> None:
        self._forward, self._node = forward, node
        self._loop: Loop = forward.flow.loops[node.name]
        self._unit: Unit = forward.flow.calls[node.name]
        edges = forward.graph.edges_into(node.name)
        pairs = zip(self._loop.reads, edges, strict=True)
        self._edges = dict(pairs)
        name = forward.flow.names[node.name]
        self._name = "x" if name.startswith("<") else name

    def write(self) -> None:
        loop, forward = self._loop, self._forward
        last = loop.states[-1]
        read = set(self._unit.outputs)
        features = self._features()
        listed = loop.states if loop.adds else loop.given
        collects = not (features and not loop.adds) and bool((read - {last}).intersection(listed))
        needed = self._needs_state(last in read, features)
        state = self._state(collects=collects) if needed else ""
        outs = "" if loop.adds else self._collected(loop.given, read - {last}, features)
        states = self._collected(loop.states, read - {last}, "") if loop.adds else ""
        call = self._call(state, features)
        body = self._body(call, state, features, [n for n in (outs, states) if n])
        for name in filter(None, (outs, states)):
            if name != features:
                forward.statements.append(f"{name}: list[Tensor] = []")
        forward.statements.append("\n".join([self._head(), *(f"    {line}" for line in body)]))
        self._note(state, features, outs, states)

    # --- what is needed ---------------------------------------------------------------------------

    def _needs_state(self, is_read: bool, features: str) -> bool:
        return is_read or any(i.kind == "state" for i in self._loop.inputs) or not features

    def _state(self, *, collects: bool) -> str:
        """Return the variable that each turn sets, started.

        Args:
            collects: Whether a list of what the copies give takes the name of the repeat.
        """
        forward = self._forward
        start = next((i for i in self._loop.inputs if i.kind == "state"), None)
        if start is None:
            return forward.scope.choose(self._name)
        edge = self._edges[start.refs[0]]
        text = forward.read(edge)
        elsewhere = [i for i in self._loop.inputs if i is not start and start.refs[0] in i.refs]
        once = forward.readers(edge) == 1
        if text.isidentifier() and once and not elsewhere:
            return text
        free = text != "x" and self._is_free("x")
        name = forward.scope.choose_of(["x"] if free else self._names(start, collects))
        forward.statements.append(f"{name} = {text}")
        return name

    def _is_free(self, name: str) -> bool:
        """Whether nothing from here on reads a value of this name."""
        forward, here = self._forward, self._forward.graph.positions[self._node.name]
        nodes = {node for (node, _), text in forward.texts.items() if text == name}
        nodes &= forward.graph.positions.keys()
        kept = {node for _, node in forward.graph.outputs} | {*forward.calls.otherwise.values()}
        return not nodes & kept and not any(
            forward.graph.positions[edge.target] >= here
            for node in nodes
            for edge in forward.graph.edges_out_of(node)
        )

    def _names(self, start: LoopInput, collects: bool) -> list[str]:
        """Return names for the state where `x` is taken: the repeat's, the copy's input's."""
        own = self._input_name(self._loop.inputs.index(start))
        return [*([] if collects or self._name == "x" else [self._name]), own, "state"]

    def _features(self) -> str:
        """Return the list that the copies are appended to, started; empty if there is none."""
        if not self._loop.start:
            return ""
        texts = [self._forward.read(self._edges[ref]) for ref in self._loop.start]
        name = self._forward.scope.choose("features")
        self._forward.statements.append(f"{name} = [{', '.join(texts)}]")
        return name

    def _collected(self, refs: tuple[Ref, ...], read: set[Ref], known: str) -> str:
        """Return the list of what is read of single copies; empty if nothing is."""
        if known or not read.intersection(refs):
            return known
        return self._forward.scope.choose(self._name)

    # --- texts ------------------------------------------------------------------------------------

    def _head(self) -> str:
        targets, values = [], []
        extra = self._forward.calls.extra.get(self._loop.copies[0].path, ())
        here = self._forward.calls.layers[self._unit.path]
        if not self._shared:
            targets.append(self._copy)
            values.append(here)
        elif extra or not self._each:
            targets.append("i" if any("i" in names_in(text) for text in extra) else "_")
            values.append(f"range({self._forward.calls.turns[self._unit.path]})")
        for name, given in self._each.items():
            targets.append(name)
            values.append(self._tuple(given))
        if len(values) == 1:
            return f"for {targets[0]} in {values[0]}:"
        return f"for {', '.join(targets)} in {python.call('zip', [*values, 'strict=True'])}:"

    def _tuple(self, given: LoopInput) -> str:
        texts = [self._forward.read(self._edges[ref]) for ref in given.refs]
        items = [self._forward.lists.get(text) for text in texts]
        for start, stop, text in reversed(slices(items)):
            texts[start:stop] = [text]
        if len(texts) == 1 and texts[0].startswith("*"):
            return texts[0].removeprefix("*")
        return f"({', '.join(texts)})"

    @property
    def _shared(self) -> bool:
        return self._loop.copies[0].module == self._unit.module

    def _call(self, state: str, features: str) -> str:
        """Return the call of one copy."""
        forward, loop = self._forward, self._loop
        stem = self._stem()
        if stem not in forward.turns and not self._shared:
            forward.turns[stem] = forward.scope.choose(stem)
        self._copy = forward.turns.get(stem, "")
        self._each: dict[str, LoopInput] = {}
        arguments = []
        for k, given in enumerate(loop.inputs):
            match given.kind:
                case "state":
                    arguments.append(state)
                case "same":
                    arguments.append(forward.read(self._edges[given.refs[0]]))
                case "list":
                    arguments.append(python.call("torch.cat", [features, f"dim={given.dim}"]))
                case "each":
                    name = forward.scope.choose(self._input_name(k))
                    self._each[name] = given
                    arguments.append(name)
        arguments += forward.calls.extra.get(loop.copies[0].path, ())
        target = forward.calls.layers[self._unit.path] if self._shared else self._copy
        return python.call(target, arguments)

    def _stem(self) -> str:
        copy = self._loop.copies[0]
        if isinstance(copy, Unit) and copy.instance.block and copy.instance.block.isidentifier():
            return copy.instance.block
        return "module"

    def _input_name(self, k: int) -> str:
        copy = self._loop.copies[0]
        name = list(copy.inputs.values())[k] if isinstance(copy, Unit) else "other"
        return name if name not in ("input", "x") else "other"

    def _body(self, call: str, state: str, features: str, lists: list[str]) -> list[str]:
        if not state:
            return [f"{features}.append({call})"]
        lines = [f"{state} = {f'{state} + {call}' if self._loop.adds else call}"]
        appended = dict.fromkeys([*([features] if features else []), *lists])
        return [*lines, *(f"{name}.append({state})" for name in appended)]

    def _note(self, state: str, features: str, outs: str, states: str) -> None:
        """Note the text of each value that is read of the loop."""
        forward, loop = self._forward, self._loop
        for k, ref in enumerate(self._unit.outputs):
            if ref == loop.states[-1]:
                text = state
            elif ref == (loop.end, 0):
                continue
            elif ref in loop.given:
                skipped = len(loop.start) if outs == features else 0
                text = self._element(outs, loop.given.index(ref) + skipped, skipped)
            else:
                text = self._element(states, loop.states.index(ref), 0)
            forward.texts[self._node.name, k] = text
        forward.texts[self._node.name, LIST] = features

    def _element(self, name: str, position: int, skipped: int) -> str:
        """Return the text of an element of a list, and note where it is."""
        text = f"{name}[{position}]"
        self._forward.lists[text] = name, position, len(self._loop.given) + skipped
        return text
