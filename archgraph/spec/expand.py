"""A checked spec to a graph: names resolved, blocks written out, formulas read, merges lowered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from archgraph.errors import Mark, Problem, SpecError
from archgraph.expression import ExpressionError, evaluate
from archgraph.graph.build import assemble
from archgraph.graph.core import Graph
from archgraph.graph.instances import Instance, Member
from archgraph.graph.records import LOSS, Edge, Node
from archgraph.ops import catalogue
from archgraph.ops.op import Op
from archgraph.spec.checked import Checked
from archgraph.spec.document import Document, Limits, Scalar, SeqTree, Tree
from archgraph.spec.ends import read_ends, read_initialisers, read_loss, read_states, read_ties
from archgraph.spec.layers import read_layers
from archgraph.spec.lower import Lowered
from archgraph.spec.model import SpecModel
from archgraph.spec.names import MODULE_ATTRIBUTES, name_problem
from archgraph.spec.params import param_values
from archgraph.spec.scope import Bound, Path, Scope
from archgraph.spec.template import Template
from archgraph.spec.values import Reading

__all__ = ["Expansion", "expand"]


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
        texts = " ".join(_texts(self.document.root))
        return [
            Problem(
                "unused",
                f"block '{name}' is called nowhere",
                self.document.mark(("blocks", name), key=True),
                help="call it, or delete it",
                severity="warning",
            )
            for name in self.spec.blocks
            if name not in self.called and not re.search(rf"\b{name}\b", texts)
        ]


_ONE = "one name stands for one thing, so that formulas can read it"
_WHY = {
    "unknown-op": "an op is a torch.nn class, an archgraph op, or one of this spec's blocks",
}


def _texts(tree: Tree) -> Iterator[str]:
    """Yield every scalar value of a document."""
    if isinstance(tree, Scalar):
        yield tree.text
        return
    items = tree.items if isinstance(tree, SeqTree) else [value for _, value in tree.entries]
    for item in items:
        yield from _texts(item)


def _has_key(document: Document, path: Path, key: str) -> bool:
    tree = document.tree(path)
    return hasattr(tree, "get") and tree.get(key) is not None


def expand(
    document: Document,
    checked: Checked,
    given: Mapping[str, Any],
    name: str,
    *,
    templates: Mapping[str, Template],
    plugins: Mapping[str, Op],
    limits: Limits,
    doomed: bool = False,
) -> Graph:
    """Return the graph of a checked spec.

    Args:
        document: Where everything stands.
        checked: The spec, its keys and kinds checked.
        given: Values that replace those of its params.
        name: The network's name if the spec gives none.
        templates: Its blocks, and those it includes.
        plugins: Ops beside the catalogue's.
        limits: How large it may become.
        doomed: Whether a problem was found before, so that there are only more to be found.

    Raises:
        SpecError: with every problem found.

    Cost: linear in the nodes of the result.
    """
    spec = checked.spec
    assert spec is not None
    expansion = Expansion(document, spec, checked.broken, templates, plugins, limits)
    params = _params(expansion, given)
    expansion.numbers = params
    if not spec.layers:
        mark = document.mark(("layers",), key=True)
        expansion.add("no-layers", "the spec has no layers", mark, help="layers: {fc: Linear(10)}")
        raise SpecError(expansion.problems)
    scope = Scope(
        expansion, document, (), "", "", params, spec.params, layers=spec.layers, edges=spec.edges
    )
    expansion.read_inputs(scope)
    start = scope.bound[next(iter(spec.inputs))].reading if len(spec.inputs) == 1 else None
    expansion.instances[""] = Instance(path="", kind="network", module="")
    members = read_layers(scope, start)
    expansion.judge_order()
    ends = [(n, r.node) for n, r in read_ends(scope, spec.outputs, ())]
    terms = read_loss(scope, checked.losses, ends)
    states = read_states(scope)
    init = read_initialisers(scope, spec.init, ("init",), None)
    ties = read_ties(scope, [] if expansion.problems else list(expansion.nodes.values()))
    if expansion.problems or doomed:
        raise SpecError(expansion.problems)
    graph = assemble(
        spec.name or name,
        list(expansion.nodes.values()),
        expansion.edges,
        ends,
        terms,
        states=states,
        ties=ties,
        init=init,
        about=spec.about,
        params=params,
        instances=_whole(expansion, members, ends),
    )
    return _with_warnings(graph, expansion.unused_blocks())


def _params(expansion: Expansion, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the spec's params."""
    document, declared = expansion.document, expansion.spec.params
    for name in declared:
        if found := name_problem(name, "param"):
            mark = document.mark(("params", name), key=True)
            expansion.add("reserved-name", found[0], mark, why=found[1])
    values, problems = param_values(document, ("params",), declared, given, {}, expansion.op)
    expansion.problems += problems
    return values


def _whole(
    expansion: Expansion, members: Sequence[Member], ends: Sequence[tuple[str, str]]
) -> dict[str, Instance]:
    """Return the instances, if there are any but the network itself."""
    if len(expansion.instances) == 1:
        return {}
    root = replace(
        expansion.instances[""],
        inputs=tuple((name, name, 0) for name in expansion.spec.inputs),
        outputs=tuple((name, node, 0) for name, node in ends),
        members=tuple(members),
        about=expansion.spec.about,
    )
    return {**expansion.instances, "": root}


def _with_warnings(graph: Graph, warnings: list[Problem]) -> Graph:
    """Return the graph with a warning for every layer or input that reaches no output."""
    used = _reaches_an_output(graph)
    marks = set()
    for node in graph.nodes:
        if node.name in used or node.name == LOSS or "~" in node.name or node.mark in marks:
            continue
        marks.add(node.mark)
        what = "input" if node.kind == "input" else "layer"
        warnings.append(
            Problem(
                "unused",
                f"{what} '{node.name}' reaches no output; its gradient is zero",
                node.mark or Mark(graph.name, 1, 1),
                help="read it somewhere, or delete it",
                severity="warning",
            )
        )
    return replace(graph, warnings=tuple(warnings)) if warnings else graph


def _reaches_an_output(graph: Graph) -> set[str]:
    used = {LOSS, *(node for _, node in graph.outputs)}
    for edge in reversed(graph.edges):
        if edge.target in used:
            used.add(edge.source)
    return used
