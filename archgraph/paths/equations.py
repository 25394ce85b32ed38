"""∂L/∂v, or ∂u/∂v between any two nodes, written out in three forms.

- ``partials``: one term for each path, a product of direct partials ∂⁺.
- ``local``: the same terms in local derivatives, ``φ'(z)·λ``, ``W``.
- ``nested``: every hop once, shared sub-terms by their totals; its size is that of the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal, TypeAlias, get_args

from archgraph.errors import UsageError, suggest
from archgraph.graph import LOSS, Graph
from archgraph.paths.algebra import ONE, Atom, Expression, atoms, literal, multiply, write
from archgraph.paths.count import count_paths
from archgraph.paths.enumerate import iter_paths
from archgraph.paths.equations_nested import nested_lines
from archgraph.paths.equations_symbols import HopSymbols
from archgraph.paths.equations_text import Row, format_term_numbers, lay_out, typeset, write_count
from archgraph.paths.factors import Factors
from archgraph.paths.view import Hop, View, ViewKind
from archgraph.paths.view import view as view_of

__all__ = [
    "MAX_TERMS",
    "Derivation",
    "Equation",
    "Factor",
    "Form",
    "Term",
    "derive",
    "format_numbers",
]

Form: TypeAlias = Literal["partials", "local", "nested"]

MAX_TERMS: Final = 64
"""How many terms are kept unless more are asked for."""
MAX_LINES: Final = 16
"""How many terms a form writes out; all that are kept are in `Derivation.terms`."""
_MAX_MEANINGS: Final = 16
_TITLES: Final[dict[Form, str]] = {
    "partials": "partials · one term for each path, a product of direct partials",
    "local": "local · the same terms in local derivatives",
    "nested": "nested · every step once, shared parts by name",
}


@dataclass(frozen=True, slots=True)
class Factor:
    """One hop of a term: its direct partial, and what that is in local derivatives."""

    hop: Hop
    symbol: Atom
    local: Expression

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "source": self.hop.source,
            "target": self.hop.target,
            "routes": self.hop.routes,
            "symbol": self.symbol.text,
            "local": write(self.local).text,
        }


@dataclass(frozen=True, slots=True)
class Term:
    """One path of the view. `View.routes` gives the finer ways of each factor's hop."""

    wrt: str
    factors: tuple[Factor, ...]
    """From `of` back to `wrt`, as they are written."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """The visible nodes from `wrt` to `of`."""
        return (self.wrt, *(factor.hop.target for factor in reversed(self.factors)))

    @property
    def partial(self) -> Expression:
        """The product of direct partials."""
        return multiply(*(factor.symbol for factor in self.factors))

    @property
    def local(self) -> Expression:
        """The product of local derivatives."""
        return multiply(*(factor.local for factor in self.factors))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        partial, local = write(self.partial), write(self.local)
        return {
            "nodes": list(self.nodes),
            "text": partial.text,
            "latex": partial.latex,
            "local": local.text,
            "local_latex": local.latex,
            "factors": [factor.to_dict() for factor in self.factors],
        }


@dataclass(frozen=True, slots=True)
class Equation:
    """A derivative in one of the three forms."""

    form: Form
    rows: tuple[Row, ...]

    @property
    def text(self) -> str:
        """Aligned lines for a terminal."""
        return lay_out(self.rows)

    @property
    def latex(self) -> str:
        """One `aligned` environment."""
        return typeset(self.rows)


@dataclass(frozen=True, eq=False)
class Derivation:
    """The derivative of `of` by `wrt`, written out."""

    view: View
    left: Atom
    count: int
    """The number of paths in the view, which is the number of terms."""
    terms: tuple[Term, ...]
    """The first terms, at most as many as were asked for, in the order of enumeration."""
    equations: tuple[Equation, ...]

    @property
    def wrt(self) -> str:
        """What the derivative is taken by: a node, an input or a parameter."""
        return self.view.wrt

    @property
    def of(self) -> str:
        """What is derived: the loss, or a node."""
        return self.view.of

    @property
    def hidden(self) -> int:
        """How many terms are not kept."""
        return self.count - len(self.terms)

    @property
    def symbols(self) -> Iterator[Atom]:
        """The symbols written out, in the order of their use, as often as they occur."""
        for equation in self.equations:
            for row in equation.rows:
                for term in row.terms:
                    yield from atoms(term)

    @property
    def text(self) -> str:
        """Everything, for a terminal: the equations, what their symbols mean, the conventions."""
        terms = "1 term" if self.count == 1 else f"{write_count(self.count)} terms"
        parts = [f"{self.left.text} of {self.view.graph.name}, {self.view.kind} view: {terms}"]
        if not self.count:
            parts[0] += f" (no gradient path leads from {self.wrt} to {self.of})"
        for equation in self.equations:
            parts.append(f"{_TITLES[equation.form]}\n{_indent(equation.text)}")
        if meanings := list(self.meanings):
            shown = [(name.text, name.meaning) for name in meanings[:_MAX_MEANINGS]]
            width = max(len(name) for name, _ in shown)
            lines = [f"{name.ljust(width)}  {meaning}" for name, meaning in shown]
            if len(meanings) > len(shown):
                lines.append(f"… ({len(meanings) - len(shown)} more)")
            parts.append("where\n" + _indent("\n".join(lines)))
        parts.append("\n".join(self.conventions))
        return "\n\n".join(parts) + "\n"

    @property
    def latex(self) -> str:
        """All forms asked for, as one `aligned` environment."""
        return typeset([row for equation in self.equations for row in equation.rows])

    @property
    def meanings(self) -> Iterator[Atom]:
        """The symbols that need words, each once."""
        yield from dict.fromkeys(atom for atom in self.symbols if atom.meaning)

    @property
    def conventions(self) -> tuple[str, ...]:
        """How the symbols are to be read."""
        way = f"Products read from {self.of} back to {self.wrt}"
        what = "a row, then Jacobians" if self.of == LOSS else "Jacobian matrices"
        lines = [
            "∂⁺b/∂a is the direct partial: along the edges from a into b, all else held fixed.",
            f"{way}: {what}; on a gradient kept as a column each is",
            "applied transposed, the leftmost first.",
        ]
        written = {atom.text for atom in self.symbols}
        if any("|" in text for text in written):
            lines.insert(
                1, "∂⁺b/∂a|t is its part through the term t, where several lead from a to b."
            )
        if any(text.startswith("diag(") for text in written):
            lines.append("diag(v) multiplies element by element by v, the rest of a product.")
        return tuple(lines)

    def equation(self, form: Form) -> Equation:
        """Return one of the forms.

        Raises:
            UsageError: it was not derived.
        """
        for equation in self.equations:
            if equation.form == form:
                return equation
        raise UsageError(f"the form {form!r} was not derived")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: `wrt, text, latex, terms` and what else is known."""
        return {
            "wrt": self.wrt,
            "of": self.of,
            "view": self.view.kind,
            "count": self.count,
            "text": self.text,
            "latex": self.latex,
            "terms": [term.to_dict() for term in self.terms],
            "forms": {e.form: {"text": e.text, "latex": e.latex} for e in self.equations},
            "where": [{"symbol": a.text, "meaning": a.meaning} for a in self.meanings],
        }

    def __str__(self) -> str:
        return self.text

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex}\n$$"


def derive(
    graph: Graph,
    wrt: str,
    *,
    of: str = LOSS,
    view: ViewKind = "state",
    form: Form | None = None,
    max_terms: int = MAX_TERMS,
) -> Derivation:
    """Write out the derivative of the loss, or of any node, by a node, an input or a parameter.

    Args:
        graph: The graph.
        wrt: What the derivative is taken by.
        of: What is derived.
        view: Between which nodes; see `archgraph.paths.view.view`.
        form: `partials`, `local` or `nested`; all three by default.
        max_terms: How many terms are kept, of which the first two forms write out the first
            `MAX_LINES`. The nested form is always whole.

    Raises:
        TargetError: `wrt` or `of` is not in the graph, or no gradient is defined there.
        UsageError: there is no such view or form, or `max_terms` is less than 1.

    Cost: O(edges + max_terms · path length); paths are not enumerated beyond `max_terms`.
    """
    if form is not None and form not in get_args(Form):
        close = suggest(form, get_args(Form))
        hint = f"; did you mean {close!r}?" if close else ""
        raise UsageError(f"there is no form {form!r}: choose partials, local or nested{hint}")
    if max_terms < 1:
        raise UsageError(f"the number of terms must be at least 1, not {max_terms}")
    seen = view_of(graph, view, wrt, of)
    symbols = HopSymbols(seen, Factors(graph))
    terms = tuple(_terms(symbols, max_terms))
    count = count_paths(seen.arrays)
    left = symbols.factors.partial(of, wrt, total=True)
    forms = get_args(Form) if form is None else (form,)
    equations = tuple(Equation(f, _rows(f, left, terms, count, symbols)) for f in forms)
    return Derivation(seen, left, count, terms, equations)


def _terms(symbols: HopSymbols, limit: int) -> Iterator[Term]:
    seen = symbols.view
    for path in islice(iter_paths(seen.arrays), limit):
        hops = [seen.hops[i] for i in reversed(path.edge_indices)]
        factors = tuple(Factor(hop, symbols.partial(hop), symbols.local(hop)) for hop in hops)
        yield Term(seen.wrt, factors)


def _rows(
    form: Form, left: Atom, terms: Sequence[Term], count: int, symbols: HopSymbols
) -> tuple[Row, ...]:
    if not terms:
        return (Row(left, (literal(0),)),)
    if symbols.view.wrt == symbols.view.of:
        return (Row(left, (ONE,)),)
    if form == "nested":
        return tuple(_nested_rows(left, symbols))
    shown = terms[:MAX_LINES]
    written = tuple(term.partial if form == "partials" else term.local for term in shown)
    return (Row(left, written, count - len(shown), spread=True),)


def _nested_rows(left: Atom, symbols: HopSymbols) -> Iterator[Row]:
    """Yield each line in direct partials and, below it, in local derivatives."""
    for line in nested_lines(symbols):
        name = left if line.node == symbols.view.wrt else symbols.total(line.node)
        # A total that is one hop of its own has nothing to say but what it is locally.
        said: tuple[Expression, ...] = (name,)
        heading: Atom | None = name
        for terms in (line.partial, line.local):
            if terms != said or (heading and line.node == symbols.view.wrt):
                yield Row(heading, terms)
                said, heading = terms, None


def format_numbers(
    derivation: Derivation,
    values: Sequence[Sequence[tuple[str, float]]],
    *,
    reference: float | None = None,
) -> str:
    """Return the derivation at one recorded pass: term by term in numbers, the sum beside autograd.

    Args:
        derivation: What was derived.
        values: For each of its terms the factors in order, each as (symbol, number).
        reference: Autograd's value.

    Raises:
        UsageError: there are not as many lists of numbers as terms.
    """
    return format_term_numbers(
        [term.partial for term in derivation.terms],
        values,
        left=derivation.left.text,
        hidden=derivation.hidden,
        reference=reference,
    )


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
