"""A checked spec to a graph: names resolved, formulas read, edges joined, merges lowered."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import networkx as nx

from archgraph.errors import Mark, Problem, SpecError, suggest
from archgraph.expression import ExpressionError, as_number, evaluate, parse
from archgraph.graph.build import assemble
from archgraph.graph.core import Graph
from archgraph.graph.records import LOSS, Edge, Node
from archgraph.ops import catalogue
from archgraph.ops.op import Op, OpCall
from archgraph.spec.document import Document, Scalar
from archgraph.spec.edges import join_edges
from archgraph.spec.ends import read_initialisers, read_loss, read_outputs, read_states, read_ties
from archgraph.spec.formula import read_formula
from archgraph.spec.lower import lower_layer
from archgraph.spec.model import Checked, SpecModel
from archgraph.spec.names import name_problem
from archgraph.spec.values import Linear, Reading, TensorTerm

__all__ = ["Draft", "Expansion", "expand"]


@dataclass(slots=True)
class Draft:
    """A layer while its inputs are being collected."""

    name: str
    op: OpCall | None
    mark: Mark
    bases: dict[str, Linear] = field(default_factory=dict)
    """What each port reads so far."""
    from_formula: set[str] = field(default_factory=set)
    """Ports whose base stands in the formula, which no chain or `sequential` edge replaces."""
    broken: bool = False
    """Whether a problem was reported for it, so that nothing more is said about its inputs."""

    @property
    def first_port(self) -> str:
        """The port that the chain feeds."""
        return self.op.op.ports[0].name if self.op and self.op.op.ports else "input"

    @property
    def reads_nothing(self) -> bool:
        """Whether its op takes no tensor at all, as a `Parameter`."""
        return self.op is not None and not self.op.op.ports


class Expansion:
    """The state of one expansion: what is named so far, and what is wrong so far."""

    def __init__(
        self,
        document: Document,
        spec: SpecModel,
        params: Mapping[str, Any],
        broken: frozenset[str],
    ) -> None:
        self.document, self.spec, self.broken = document, spec, broken
        self.numbers: dict[str, Any] = dict(params)
        self.problems: list[Problem] = []
        self.nodes: dict[str, Node] = {}
        """Inputs, by name."""
        self.drafts: dict[str, Draft] = {}
        """Layers read so far, by name."""
        self.layer_names: tuple[str, ...] = tuple(spec.layers)
        self.current: str = ""
        """The layer whose formula is being read."""
        self.forward_reads: list[tuple[str, str, Mark]] = []
        """(reader, read, where) of readings of what stands below, judged when all is known."""

    # --- problems -----------------------------------------------------------------------------

    def add(
        self,
        code: str,
        message: str,
        mark: Mark,
        *,
        why: str | None = None,
        help: str | None = None,
    ) -> None:
        """Report a problem."""
        self.problems.append(Problem(code, message, mark, why=why, help=help))

    def add_expression(self, error: ExpressionError, path: tuple[str | int, ...]) -> None:
        """Report a problem inside the text at `path`."""
        tree = self.document.tree(path)
        mark = tree.at(error.offset, error.length) if isinstance(tree, Scalar) else tree.mark
        why = _WHY.get(error.code)
        message = error.message
        if error.code == "unknown-name":
            message = message.replace("there is no '", "there is no layer, input or param '")
        self.add(error.code, message, mark, why=why, help=error.help)

    # --- names, as formulas see them ------------------------------------------------------------

    def readings(self, node: ast.expr) -> list[Reading] | None:
        """See `values.Names.readings`."""
        match node:
            case ast.Name(id=name):
                reading = self._named(name, node)
                return None if reading is None else [reading]
            case ast.Subscript(value=ast.Name(id=name) as base, slice=index):
                reading = self._named(name, base)
                return None if reading is None else [self._element(reading, node, index)]
            case ast.Attribute() | ast.Subscript():
                parts = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
                if parts and parts[0].id in self.numbers:
                    return None
                raise ExpressionError.at(node, "a layer is read by its name", code="unknown-name")
        return None

    def _named(self, name: str, node: ast.AST) -> Reading | None:
        if name in self.numbers:
            return None
        if name in self.nodes or name in self.drafts:
            return Reading(name)
        if name in self.spec.layers:
            tree = self.document.tree(("layers", self.current, "op"))
            offset, end = getattr(node, "col_offset", 0), getattr(node, "end_col_offset", 1)
            mark = tree.at(offset, end - offset) if isinstance(tree, Scalar) else tree.mark
            self.forward_reads.append((self.current, name, mark))
            return Reading(name)
        return None

    def _element(self, reading: Reading, node: ast.Subscript, index: ast.expr) -> Reading:
        draft = self.drafts.get(reading.node)
        call = draft.op if draft is not None else None
        value = index.value if isinstance(index, ast.Constant) else None
        if isinstance(value, bool) or not isinstance(value, int):
            raise ExpressionError.at(index, "an element is chosen by a whole number")
        if call is not None and (call.returns_tuple or call.op.origin in ("plugin", "opaque")):
            return Reading(reading.node, value)
        raise ExpressionError.at(
            node,
            f"'{reading.node}' is one tensor, not several",
            help=f"Select(1, {value}) takes one position of an axis",
        )

    def names(self) -> Sequence[str]:
        """See `values.Names.names`."""
        return [*self.nodes, *self.layer_names]

    def op(self, name: str) -> Op | None:
        """See `formula.OpNames.op`."""
        value = self.numbers.get(name)
        if value is not None:
            return value if isinstance(value, Op) else None
        found = catalogue.get(name)
        return found if found is not None and not found.loss else None

    def op_names(self) -> Sequence[str]:
        """See `formula.OpNames.op_names`."""
        return catalogue.names()

    # --- steps ----------------------------------------------------------------------------------

    def read_inputs(self) -> None:
        """Make the input nodes."""
        for name, model in self.spec.inputs.items():
            path = ("inputs", name)
            self._check_name(name, "input", path)
            shape_path = (*path, "shape") if _has_key(self.document, path, "shape") else path
            shape = [self._size((*shape_path, k), item) for k, item in enumerate(model.shape)]
            below = None
            if model.below is not None:
                below = self._size((*path, "below"), model.below)
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

    def _size(self, path: tuple[str | int, ...], text: Any) -> int:
        value = self.evaluate(text, path)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        if value is not None:
            shown = "empty" if value is None else str(value)
            self.add(
                "size", f"a size is a whole number above 0, not {shown}", self.document.mark(path)
            )
        return 1

    def evaluate(self, text: Any, path: tuple[str | int, ...]) -> Any:
        """Return the value of a number or of an expression's text; None after a problem."""
        if not isinstance(text, str):
            return text
        try:
            return evaluate(text, self.numbers)
        except ExpressionError as error:
            self.add_expression(error, path)
            return None

    def _check_name(self, name: str, what: str, path: tuple[str | int, ...]) -> None:
        mark = self.document.mark(path, key=True)
        if found := name_problem(name, what):
            self.add("reserved-name", found[0], mark, why=found[1])
        taken = "a param" if name in self.spec.params else None
        if what == "layer" and name in self.spec.inputs:
            taken = "an input"
        if taken and what != "param":
            self.add(
                "duplicate-name",
                f"'{name}' is the name of {taken} already",
                mark,
                why="one name stands for one thing, so that formulas can read it",
            )

    def read_layers(self) -> None:
        """Make a draft of every layer, in order."""
        before: str | None = None
        if len(self.spec.inputs) == 1:
            before = next(iter(self.spec.inputs))
        for name, model in self.spec.layers.items():
            path = ("layers", name)
            self._check_name(name, "layer", path)
            self.current = name
            mark = self.document.mark(path, key=True)
            draft = self._read_layer(name, model.op, mark)
            start = self._start(name, model.from_, before)
            port = draft.first_port
            if start is not None and not draft.bases and not draft.reads_nothing:
                draft.bases[port] = Linear((TensorTerm(start),))
            elif model.from_ is not None and draft.bases:
                self.add(
                    "two-bases",
                    f"'{name}' says twice what it reads",
                    mark,
                    why="its formula has a second bracket, and it has 'from' as well",
                    help="keep one of the two",
                )
            self.drafts[name] = draft
            before = name

    def _read_layer(self, name: str, text: Any, mark: Mark) -> Draft:
        if text is None:
            return Draft(name, None, mark, broken=name in self.broken)
        tree = self.document.tree(("layers", name, "op"))
        source = text if isinstance(text, str) else getattr(tree, "text", str(text))
        formula, problems = read_formula(source, self, name)
        for error in problems:
            self.add_expression(error, ("layers", name, "op"))
        if formula is None:
            return Draft(name, None, mark, broken=True)
        return Draft(name, formula.op, mark, dict(formula.bases), set(formula.bases))

    def _start(self, name: str, text: str | None, before: str | None) -> Reading | None:
        if text is None:
            return Reading(before) if before is not None else None
        return self.reference(text, ("layers", name, "from"))

    def reference(self, text: str, path: tuple[str | int, ...]) -> Reading | None:
        """Return what the text of a `from` or `of` reads: a node's own name, or a formula's.

        Reports the problem and returns None if it is no layer or input.
        """
        if text in self.nodes or text in self.drafts:
            return Reading(text)
        base, bracket, index = text.partition("[")
        if bracket and base in self.drafts and index.rstrip("]").isdigit():
            return Reading(base, int(index.rstrip("]")))
        try:
            read = self.readings(parse(text)) if text not in self.spec.layers else [Reading(text)]
        except ExpressionError as error:
            self.add_expression(error, path)
            return None
        if read:
            return read[0]
        close = suggest(text, self.names())
        self.add(
            "unknown-name",
            f"there is no layer or input '{text}'",
            self.document.mark(path),
            help=f"did you mean '{close}'?" if close else None,
        )
        return None

    def stands_above(self, first: str, second: str) -> bool:
        """Return whether `first` is an input, or a layer above `second` in the file."""
        order = self.layer_names
        return first in self.nodes or order.index(first) < order.index(second)

    def judge_order(self) -> None:
        """Say of every reading of what stands below whether it is a cycle or just out of order."""
        plain: nx.DiGraph[str] = nx.DiGraph()
        for draft in self.drafts.values():
            for linear in draft.bases.values():
                plain.add_edges_from((source, draft.name) for source in _sources(linear))
        reported: set[frozenset[str]] = set()
        for reader, read, mark in self.forward_reads:
            if reader == read or (plain.has_node(reader) and nx.has_path(plain, reader, read)):
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

    def check_ports(self) -> None:
        """Say of every layer that reads nothing, or leaves a needed port empty."""
        for draft in self.drafts.values():
            if draft.broken:
                continue
            ports = draft.op.op.ports if draft.op else ()
            empty = [p.name for p in ports if p.required and p.name not in draft.bases]
            if not draft.bases and not draft.reads_nothing:
                self._report_no_input(draft)
            elif empty:
                assert draft.op is not None
                name = draft.op.name
                inputs = ", ".join(f"{p.name}=…" for p in ports if p.required)
                self.add(
                    "missing-port",
                    f"{name} reads nothing at {' and '.join(empty)}",
                    draft.mark,
                    help=f"write: {name}(…)({inputs})",
                )

    def _report_no_input(self, draft: Draft) -> None:
        inputs = list(self.spec.inputs)
        if len(inputs) > 1 and draft.name == next(iter(self.spec.layers)):
            self.add(
                "missing-input",
                f"the first layer '{draft.name}' does not say what it reads",
                draft.mark,
                why=f"there are several inputs: {', '.join(inputs)}",
                help=f"write its input in a second bracket: …(…)({inputs[0]})",
            )
        else:
            self.add("missing-input", f"'{draft.name}' reads nothing", draft.mark)

    def lower(self) -> tuple[list[Node], list[Edge]]:
        """Return the nodes and edges of all layers."""
        nodes: list[Node] = list(self.nodes.values())
        edges: list[Edge] = []
        for name, draft in self.drafts.items():
            model = self.spec.layers[name]
            path = ("layers", name, "init")
            node = Node(
                name=name,
                op=draft.op,
                module=name if draft.op is not None else None,
                init=read_initialisers(self, model.init, path, draft.op),
                label=model.label,
                symbol=model.symbol,
                about=model.about,
                mark=draft.mark,
            )
            lowered = lower_layer(node, draft.bases, dict.fromkeys(draft.bases, draft.mark))
            nodes += lowered.nodes
            edges += lowered.edges
        return nodes, edges


_WHY = {
    "unknown-op": "an op is a torch.nn class, an archgraph op, or one of this spec's blocks",
}


def _has_key(document: Document, path: tuple[str | int, ...], key: str) -> bool:
    tree = document.tree(path)
    return hasattr(tree, "get") and tree.get(key) is not None


def _sources(linear: Linear) -> list[str]:
    """Return every node that a formula reads."""
    found: list[str] = []
    for term in linear.terms:
        value = term.value
        if isinstance(value, Reading):
            found.append(value.node)
            continue
        parts: Sequence[Linear] = getattr(value, "factors", ()) or getattr(value, "slots", ())
        for part in parts or ([value] if isinstance(value, Linear) else []):
            found += _sources(part)
    return found


def expand(document: Document, checked: Checked, params: Mapping[str, Any], name: str) -> Graph:
    """Return the graph of a checked spec.

    Args:
        document: Where everything stands.
        checked: The spec, its keys and kinds checked.
        params: The values of its params.
        name: The network's name if the spec gives none.

    Raises:
        SpecError: with every problem found.
    """
    spec = checked.spec
    assert spec is not None
    expansion = Expansion(document, spec, params, checked.broken)
    if not spec.layers:
        mark = document.mark(("layers",), key=True)
        expansion.add("no-layers", "the spec has no layers", mark, help="layers: {fc: Linear(10)}")
        raise SpecError(expansion.problems)
    expansion.read_inputs()
    expansion.read_layers()
    join_edges(expansion)
    expansion.judge_order()
    expansion.check_ports()
    outputs = read_outputs(expansion)
    terms = read_loss(expansion, checked.losses, outputs)
    states = read_states(expansion)
    nodes, edges = expansion.lower() if not expansion.problems else ([], [])
    init = read_initialisers(expansion, spec.init, ("init",), None)
    ties = read_ties(expansion, nodes)
    if expansion.problems:
        raise SpecError(expansion.problems)
    graph = assemble(
        spec.name or name,
        nodes,
        edges,
        outputs,
        terms,
        states=states,
        ties=ties,
        init=init,
        about=spec.about,
        params={key: value for key, value in params.items() if key in spec.params},
    )
    return _with_warnings(graph)


def _with_warnings(graph: Graph) -> Graph:
    """Return the graph with a warning for every layer or input that reaches no output."""
    from dataclasses import replace

    warnings = []
    used = _reaches_an_output(graph)
    for node in graph.nodes:
        if node.name in used or node.name == LOSS or "~" in node.name:
            continue
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


def resolve_params(
    document: Document, spec: SpecModel, overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the values of a spec's params, each an expression of earlier ones.

    Args:
        document: Where they stand.
        spec: The spec.
        overrides: Values that replace the spec's own; strings are expressions.

    Returns:
        The values, and every problem found. A param that names an op is an `Op`.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, given in spec.params.items():
        path = ("params", name)
        if found := name_problem(name, "param"):
            mark = document.mark(path, key=True)
            problems.append(Problem("reserved-name", found[0], mark, why=found[1]))
        raw = overrides.get(name, given)
        try:
            values[name] = _param_value(raw, values)
        except ExpressionError as error:
            tree = document.tree(path)
            own = isinstance(tree, Scalar) and name not in overrides
            mark = tree.at(error.offset, error.length) if own else tree.mark  # type: ignore[union-attr]
            text = error.message.replace("there is no '", "there is no param '")
            text = text if name not in overrides else f"{name}={raw}: {text}"
            why = "a param reads only the params above it" if error.code == "unknown-name" else None
            problems.append(Problem(error.code, text, mark, why=why, help=error.help))
            values[name] = 1
    return values, problems


def _param_value(raw: Any, earlier: Mapping[str, Any]) -> Any:
    if isinstance(raw, list):
        return [_param_value(item, earlier) for item in raw]
    if not isinstance(raw, str):
        number = raw if isinstance(raw, bool) else as_number(raw)
        if number is None:
            raise ExpressionError("a param is a number, a list, an op or an expression")
        return number
    op = catalogue.get(raw.strip())
    if op is not None and raw.strip() not in earlier:
        return op
    return evaluate(raw, earlier)
