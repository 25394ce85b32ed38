"""The shape of a spec as Pydantic models: which keys exist, and what kind of value each takes.

Meaning (names, formulas, shapes) is checked later; here a key is known or not, a value is of the
right kind or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from archgraph.errors import Problem, suggest
from archgraph.spec.document import Document, to_plain

__all__ = ["Checked", "EdgeModel", "InputModel", "LayerModel", "LossModel", "SpecModel", "check"]


def _expects(what: str, *types: type) -> BeforeValidator:
    """Return a validator that accepts values of `types` as they are and names `what` it wants."""

    def accept(value: Any) -> Any:
        if isinstance(value, types) and (bool in types or not isinstance(value, bool)):
            return value
        raise PydanticCustomError("kind", "{what}", {"what": what})

    return BeforeValidator(accept)


Text: TypeAlias = Annotated[Any, _expects("text", str)]
Whole: TypeAlias = Annotated[Any, _expects("a whole number", int)]
Formula: TypeAlias = Annotated[
    Any, _expects("a formula such as Linear(64) or a + b", str, int, Fraction, float)
]
Expression: TypeAlias = Annotated[
    Any, _expects("a number or an expression", str, int, Fraction, float)
]
Condition: TypeAlias = Annotated[Any, _expects("an expression", str, int, Fraction, float, bool)]
Param: TypeAlias = Annotated[
    Any,
    _expects("a number, a list, an op or an expression", str, int, Fraction, float, list, bool),
]
Initialiser: TypeAlias = Annotated[
    Any, _expects("an initialiser or a number", str, int, Fraction, float)
]
Names: TypeAlias = Annotated[Any, _expects("a name or a list of names", str, list)]
Shape: TypeAlias = Annotated[
    list[Expression], _expects("a list of sizes, such as [3, 32, 32]", list)
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _from_short_form(key: str) -> BeforeValidator:
    def widen(value: Any) -> Any:
        return value if isinstance(value, dict) else {key: value}

    return BeforeValidator(widen)


class InputModel(_Strict):
    """An input: its shape without the batch axis; integers say their type and their bound."""

    shape: Shape
    dtype: Literal["float", "int64", "int32"] = "float"
    below: Expression | None = None


class LayerModel(_Strict):
    """A layer: a formula, or a bare merge of its edges if `op` is left out."""

    op: Formula | None = None
    from_: Text | None = Field(None, alias="from")
    init: Annotated[dict[str, Initialiser], _expects("a mapping of parameter names", dict)] = {}
    label: Text | None = None
    symbol: Text | None = None
    about: Text | None = None


class EdgeModel(_Strict):
    """An edge beside the chain."""

    from_: Names = Field(alias="from")
    to: Text
    kind: Literal["sequential", "add-skip", "add", "concat", "multiply"] = "sequential"
    scale: Expression = 1
    port: Text | None = None
    dim: Whole | None = None


class LossModel(_Strict):
    """A summand of the loss; without an op a fixed random linear readout."""

    op: Formula | None = None
    of: Text | None = None
    scale: Expression = 1


class SpecModel(_Strict):
    """A whole spec."""

    archgraph: Literal[1]
    name: Text | None = None
    about: Text | None = None
    params: Annotated[dict[str, Param], _expects("a mapping of names to values", dict)] = {}
    inputs: Annotated[
        dict[str, Annotated[InputModel, _from_short_form("shape")]],
        _expects("a mapping of names to shapes", dict),
    ]
    layers: Annotated[
        dict[str, Annotated[LayerModel, _from_short_form("op")]],
        _expects("a mapping of names to formulas", dict),
    ]
    edges: Annotated[list[EdgeModel], _expects("a list of edges", list)] = []
    states: Annotated[list[Text], _expects("a list of names", list)] | None = None
    outputs: Annotated[Any, _expects("a list of names or a mapping", list, dict, str)] = None
    init: Annotated[dict[str, Initialiser], _expects("a mapping of parameter names", dict)] = {}
    tie: Annotated[dict[str, Text], _expects("a mapping of parameter names", dict)] = {}
    loss: Annotated[Any, _expects("a loss or a mapping of losses", str, dict)] = None


_MODELS: Final[dict[str, type[_Strict]]] = {
    "": SpecModel,
    "inputs": InputModel,
    "layers": LayerModel,
    "edges": EdgeModel,
    "loss": LossModel,
}
_WHAT: Final = {
    "": "a spec",
    "inputs": "an input",
    "layers": "a layer",
    "edges": "an edge",
    "loss": "a loss term",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """A document held against the models."""

    spec: SpecModel | None
    """The spec; where something was of the wrong kind, with that left out, so that the rest can
    still be checked. None if too little is left."""
    losses: Mapping[str, LossModel]
    """The loss terms by name, a single unnamed one under `loss`."""
    problems: tuple[Problem, ...]
    broken: frozenset[str]
    """Layers of which something was left out."""


def check(document: Document) -> Checked:
    """Hold a document against the models, collecting every problem."""
    plain = to_plain(document.root)
    problems: list[Problem] = []
    broken: set[str] = set()
    spec: SpecModel | None = None
    # Each round leaves out what was wrong; keys hidden behind a wrong one show in the next.
    for round_number in range(4):
        try:
            spec = SpecModel.model_validate(plain)
            break
        except ValidationError as error:
            for item in error.errors():
                path = _place(item["loc"])
                if round_number and item["type"] == "missing":
                    continue  # it was there, and was left out as wrong
                problems.append(_problem(document, path, dict(item)))
                if path[:1] == ("layers",) and len(path) > 1:
                    broken.add(str(path[1]))
                _leave_out(plain, path)
    losses, loss_problems = _loss_terms(document, plain)
    return Checked(
        spec, losses, tuple(_without_repeats(problems + loss_problems)), frozenset(broken)
    )


_STAND_INS: Final[Mapping[str, Any]] = {"archgraph": 1, "shape": [1], "to": "", "from": "", "op": 0}


def _leave_out(plain: Any, path: tuple[Any, ...]) -> None:
    """Remove the value at `path`; where one is required, put a harmless one in its place."""
    here = plain
    for step in path[:-1]:
        inside = isinstance(here, dict) and step in here
        if not inside and not (isinstance(here, list) and step < len(here)):
            return
        here = here[step]
    last = path[-1] if path else ""
    if isinstance(here, dict):
        here.pop(last, None)
        if path[0] == "inputs" and len(path) == 2:
            here[last] = [1]
        elif last in _STAND_INS and path[0] != "layers":
            here[last] = _STAND_INS[last]
    elif isinstance(here, list) and isinstance(last, int) and last < len(here):
        here[last] = 1 if path[0] == "inputs" else {}


def _place(loc: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a Pydantic location without the names of its own wrappers ("function-before[…]")."""
    return tuple(
        step
        for step in loc
        if not (isinstance(step, str) and "[" in step and step.startswith(("function-", "list")))
    )


def _loss_terms(document: Document, plain: Any) -> tuple[dict[str, LossModel], list[Problem]]:
    loss = plain.get("loss") if isinstance(plain, dict) else None
    terms: dict[str, LossModel] = {}
    problems: list[Problem] = []
    if isinstance(loss, str):
        return {"loss": LossModel(op=loss)}, []
    for name, value in loss.items() if isinstance(loss, dict) else ():
        try:
            terms[name] = LossModel.model_validate(
                {"op": value} if isinstance(value, str) else value
            )
        except ValidationError as error:
            for item in error.errors():
                loc = ("loss", name, *item["loc"])
                problems.append(_problem(document, _place(loc), dict(item)))
    return terms, problems


def _without_repeats(problems: list[Problem]) -> list[Problem]:
    return list({(p.mark, p.code): p for p in problems}.values())


def _problem(document: Document, path: tuple[Any, ...], error: dict[str, Any]) -> Problem:
    """Return one Pydantic error as a problem in the user's words, at its place in the file."""
    section = str(path[0]) if len(path) > (1 if path[:1] == ("edges",) else 2) - 1 else ""
    kind = error["type"]
    last = str(path[-1]) if path else ""
    where = _WHAT.get(section, "a spec") if len(path) > 1 else "a spec"
    if kind == "extra_forbidden":
        model = _MODELS.get(section, SpecModel) if len(path) > 1 else SpecModel
        keys = [field.alias or name for name, field in model.model_fields.items()]
        close = suggest(last, keys)
        return Problem(
            "unknown-key",
            f"{where} has no key '{last}'",
            document.mark(path, key=True),
            why=f"the keys of {where} are {', '.join(keys)}, and x-… for your own",
            help=f"did you mean '{close}'?" if close else None,
        )
    if kind == "missing":
        hint = " (it would say: archgraph: 1)" if last == "archgraph" else ""
        parent = document.mark(path[:-1], key=True) if len(path) > 1 else document.root.mark
        return Problem("missing-key", f"{where} needs the key '{last}'{hint}", parent)
    wanted = error["msg"] if kind == "kind" else _wanted(kind, error)
    named = next((step for step in reversed(path) if isinstance(step, str)), "it")
    message = f"'{named}' must be {wanted}, not {_kind_of(error['input'])}"
    return Problem("wrong-type", message, document.mark(path))


def _wanted(kind: str, error: dict[str, Any]) -> str:
    if kind == "literal_error":
        return str(error["ctx"]["expected"]).replace("'", "")
    return {"dict_type": "a mapping", "list_type": "a list", "model_type": "a mapping"}.get(
        kind, str(error["msg"])
    )


def _kind_of(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str) else str(value)
