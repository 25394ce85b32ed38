"""The state of one expansion: what is made so far, what is wrong so far, what names there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from archgraph.errors import Mark, Problem, SpecError
from archgraph.expression import ExpressionError, evaluate
from archgraph.graph.instances import Instance
from archgraph.graph.records import Edge, Node
from archgraph.ops import catalogue
from archgraph.ops.op import Op
from archgraph.spec.document import Document, Limits
from archgraph.spec.lower import Lowered
from archgraph.spec.model import SpecModel
from archgraph.spec.names import MODULE_ATTRIBUTES, name_problem
from archgraph.spec.scope import Bound, Path, Scope
from archgraph.spec.template import Template
from archgraph.spec.tree import Scalar, texts
from archgraph.spec.values import Reading

__all__ = ["Doubt", "Expansion"]


class Doubt:
    """Problems found while it is not yet known whether the layer is there at all."""

    def __init__(self, expansion: Expansion) -> None:
        self._expansion = expansion
        self._before = len(expansion.problems), len(expansion.forward_reads)
        self._reported = dict(expansion.reported)

    def forget(self) -> None:
        """Take them back."""
        problems, reads = self._before
        del self._expansion.problems[problems:]
        del self._expansion.forward_reads[reads:]
        self._expansion.reported = self._reported


class Expansion:
    """The state of one expansion: what is made so far, and what is wrong so far."""

    def __init__(
        self,
        document: Document,
        spec: SpecModel,
        broken: frozenset[Path],
        templates: Mapping[str, Template],
        plugins: Mapping[str, Op],
        limits: Limits,
    ) -> None:
        self.document, self.spec, self.broken, self.limits = document, spec, broken, limits
        self.templates, self._plugins = templates, plugins
        self.numbers: Mapping[str, Any] = {}
        """The spec's params."""
        self.problems: list[Problem] = []
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.instances: dict[str, Instance] = {}
        self.called: set[str] = set()
        self.place = ""
        """Path of the instance that is being made, for messages."""
        self.forward_reads: list[tuple[str, str, Mark]] = []
        """(reader, read, where) of readings of what stands below, judged when all is known."""
        self.reported: dict[tuple[Mark, str], str] = {}
        self._learned: dict[str, dict[int, int]] = {}

    # --- problems -----------------------------------------------------------------------------

    def at(self, place: str) -> None:
        """Say which instance is being made."""
        self.place = place

    def add(
        self,
        code: str,
        message: str,
        mark: Mark,
        *,
        why: str | None = None,
        help: str | None = None,
    ) -> None:
        """Report a problem: inside blocks with the path of the instance, once for all copies."""
        if self.reported.setdefault((mark, code), self.place) != self.place:
            return
        where = f" (in {self.place})" if self.place else ""
        self.problems.append(Problem(code, message + where, mark, why=why, help=help))

    def add_expression(self, scope: Scope, error: ExpressionError, path: Path) -> None:
        """Report a problem inside the text at `path` of the scope's document."""
        tree = scope.document.tree(path)
        mark = tree.at(error.offset, error.length) if isinstance(tree, Scalar) else tree.mark
        why = _WHY.get(error.code)
        message = error.message
        if error.code == "unknown-name":
            message = message.replace("there is no '", "there is no layer, input or param '")
            message = message if " in '" not in message else error.message
        self.add(error.code, message, mark, why=why, help=error.help)

    @contextmanager
    def doubtful(self) -> Iterator[Doubt]:
        """Read something whose problems may be taken back."""
        yield Doubt(self)

    def too_large(self, mark: Mark) -> None:
        """Give up: the graph would be larger than the caller allows."""
        most = self.limits.nodes
        self.add(
            "too-large",
            f"the network has more than {most:,} nodes",
            mark,
            help="Limits(nodes=…) raises the bound",
        )
        raise SpecError(self.problems)

    def count_instance(self, mark: Mark) -> None:
        """Hold the number of instances against the limit."""
        if len(self.instances) > self.limits.nodes:
            self.too_large(mark)

    # --- what there is --------------------------------------------------------------------------

    def op(self, name: str) -> Op | Template | None:
        """Return the block, plugin or op called `name`, or None."""
        if name in self.templates:
            self.called.add(name)
            return self.templates[name]
        found = self._plugins.get(name) or catalogue.get(name)
        return found if found is not None and not found.loss else None

    def op_names(self) -> Sequence[str]:
        """Return the names of all ops and blocks."""
        return [*self.templates, *self._plugins, *catalogue.names()]

    def parameter_path(self, scope: Scope, name: Any) -> str:
        """Return the path of a learnable λ of a scope.

        Raises:
            ExpressionError: it cannot be called so.
        """
        if isinstance(name, str) and "." in name and not scope.prefix:
            return name  # the flat form
        if not isinstance(name, str) or not (name.isidentifier() and name.isascii()):
            raise ExpressionError("the name of a learnable scale is a Python name")
        if name in MODULE_ATTRIBUTES or name in scope.layers:
            what = "a layer" if name in scope.layers else "an attribute of nn.Module"
            raise ExpressionError(f"'{name}' is {what} already", help="name='…'")
        path = scope.module + name
        if scope.copy is None or scope.layers[scope.current].share is True:
            return path
        copies = self._learned.setdefault(path, {})
        return f"{path}.{copies.setdefault(scope.copy, len(copies))}"

    def add_lowered(self, lowered: Lowered) -> None:
        """Take the nodes and edges of a layer."""
        for node in lowered.nodes:
            mark = node.mark or self.document.root.mark
            if node.name in self.nodes and (mark, "duplicate-name") not in self.reported:
                self.add("duplicate-name", f"there are two nodes called '{node.name}'", mark)
            self.nodes[node.name] = node
            if len(self.nodes) > self.limits.nodes:
                self.too_large(mark)
        self.edges += lowered.edges

    # --- steps ----------------------------------------------------------------------------------

    def read_inputs(self, scope: Scope) -> None:
        """Make the input nodes."""
        for name, model in self.spec.inputs.items():
            path = ("inputs", name)
            self._check_input(name, path)
            shape_path = (*path, "shape") if _has_key(self.document, path, "shape") else path
            shape = [
                self._size(scope, (*shape_path, k), item) for k, item in enumerate(model.shape)
            ]
            below = None
            if model.below is not None:
                below = self._size(scope, (*path, "below"), model.below)
            elif model.dtype != "float":
                self.add(
                    "missing-key",
                    f"integer input '{name}' needs the key 'below'",
                    self.document.mark(path, key=True),
                    help="below: n draws its values from 0 … n − 1",
                )
            self.nodes[name] = Node(
                name=name,
                kind="input",
                shape=tuple(shape),
                shape_texts=tuple(map(str, model.shape)),
                dtype=model.dtype,
                below=below,
            )
            scope.bound[name] = Bound(Reading(name))

    def _check_input(self, name: str, path: Path) -> None:
        mark = self.document.mark(path, key=True)
        if found := name_problem(name, "input"):
            self.add("reserved-name", found[0], mark, why=found[1])
        if name in self.spec.params:
            self.add("duplicate-name", f"'{name}' is the name of a param already", mark, why=_ONE)

    def _size(self, scope: Scope, path: Path, text: Any) -> int:
        value = text
        if isinstance(text, str):
            try:
                value = evaluate(text, self.numbers)
            except ExpressionError as error:
                self.add_expression(scope, error, path)
                return 1
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        shown = "empty" if value is None else str(value)
        mark = self.document.mark(path)
        self.add("size", f"a size is a whole number above 0, not {shown}", mark)
        return 1

    def judge_order(self) -> None:
        """Say of every reading of what stands below whether it is a cycle or just out of order."""
        if not self.forward_reads:
            return
        import networkx as nx  # takes longer to import than most specs take to load

        plain: nx.DiGraph[str] = nx.DiGraph()
        plain.add_edges_from((edge.source, edge.target) for edge in self.edges)
        reported: set[frozenset[str]] = set()
        for reader, read, mark in self.forward_reads:
            reaches = plain.has_node(reader) and plain.has_node(read)
            if reader == read or (reaches and nx.has_path(plain, reader, read)):
                cycle = nx.shortest_path(plain, reader, read) if reader != read else [reader]
                if frozenset(cycle) not in reported:
                    reported.add(frozenset(cycle))
                    self._report_cycle(cycle, mark)
            else:
                self.add(
                    "read-below",
                    f"'{reader}' reads '{read}', which stands below it",
                    mark,
                    why="a formula reads only what stands above it",
                    help=f"move '{read}' above '{reader}'",
                )

    def _report_cycle(self, cycle: list[str], mark: Mark) -> None:
        last, first = cycle[-1], cycle[0]
        self.add(
            "cycle",
            f"edges form a cycle: {' → '.join([*cycle, first])}",
            mark,
            why="a path factor is a finite product; a cycle has endless paths",
            help=f"delete the edge {last} → {first} ({mark.line}:{mark.column}), "
            "which closes the cycle",
        )

    def unused_blocks(self) -> list[Problem]:
        """Return a warning for each block of the spec itself that no text names."""
        everything = " ".join(texts(self.document.root))
        return [
            Problem(
                "unused",
                f"block '{name}' is called nowhere",
                self.document.mark(("blocks", name), key=True),
                help="call it, or delete it",
                severity="warning",
            )
            for name in self.spec.blocks
            if name not in self.called and not re.search(rf"\b{name}\b", everything)
        ]


_ONE = "one name stands for one thing, so that formulas can read it"
_WHY = {
    "unknown-op": "an op is a torch.nn class, an archgraph op, or one of this spec's blocks",
}


def _has_key(document: Document, path: Path, key: str) -> bool:
    tree = document.tree(path)
    return hasattr(tree, "get") and tree.get(key) is not None
