"""Hold a document against the models: every key and kind that is wrong, in the user's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from archgraph.errors import Problem, suggest
from archgraph.spec.document import Document
from archgraph.spec.model import (
    BlockModel,
    EdgeModel,
    InputModel,
    LayerModel,
    LibraryModel,
    LossModel,
    SpecModel,
)
from archgraph.spec.tree import to_plain

__all__ = ["Checked", "check", "check_library"]

_Path: TypeAlias = tuple[Any, ...]

_OWNERS: Final[Mapping[str, tuple[str, type[BaseModel]]]] = {
    "": ("a spec", SpecModel),
    "inputs": ("an input", InputModel),
    "layers": ("a layer", LayerModel),
    "blocks": ("a block", BlockModel),
    "edges": ("an edge", EdgeModel),
    "loss": ("a loss term", LossModel),
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
    broken: frozenset[_Path]
    """Paths of the layers of which something was left out."""


def check(document: Document) -> Checked:
    """Hold a spec against the models, collecting every problem."""
    plain = to_plain(document.root)
    spec, problems, broken = _validated(document, plain, SpecModel)
    losses, loss_problems = _loss_terms(document, plain)
    found = tuple(_without_repeats(problems + loss_problems))
    return Checked(spec, losses, found, frozenset(broken))


def check_library(document: Document) -> tuple[LibraryModel | None, list[Problem]]:
    """Hold a file of blocks against its model, collecting every problem."""
    library, problems, _ = _validated(document, to_plain(document.root), LibraryModel)
    return library, _without_repeats(problems)


_Model = TypeVar("_Model", bound=BaseModel)


def _validated(
    document: Document, plain: Any, model: type[_Model]
) -> tuple[_Model | None, list[Problem], set[_Path]]:
    """Return the model, what is wrong, and the paths of the layers that had to be cut."""
    problems: list[Problem] = []
    broken: set[_Path] = set()
    # Each round leaves out what was wrong; keys hidden behind a wrong one show in the next.
    for round_number in range(4):
        try:
            return model.model_validate(plain), problems, broken
        except ValidationError as error:
            for item in error.errors():
                path = _place(item["loc"])
                if round_number and item["type"] == "missing":
                    continue  # it was there, and was left out as wrong
                problems.append(_problem(document, path, dict(item), model))
                if "layers" in path[:-1]:
                    last = len(path) - 1 - path[::-1].index("layers", 1)
                    broken.add(path[: last + 2])
                _leave_out(plain, path)
    return None, problems, broken


def _owner(path: _Path) -> str:
    """Return the section whose entry holds the last step of a path; empty for the file itself."""
    section, inside = "", False
    for step in path[:-1]:
        if inside:
            inside = False
        elif step in _OWNERS:
            section, inside = str(step), True
        else:
            return section  # `params`, `init`, …: their keys are the user's own
    return section if not inside else ""


_STAND_INS: Final[Mapping[str, Any]] = {"archgraph": 1, "shape": [1], "to": "", "from": "", "op": 0}


def _leave_out(plain: Any, path: _Path) -> None:
    """Remove the value at `path`; where one is required, put a harmless one in its place."""
    here = plain
    for step in path[:-1]:
        inside = isinstance(here, dict) and step in here
        listed = isinstance(here, list) and isinstance(step, int) and step < len(here)
        if not inside and not listed:
            return
        here = here[step]
    last = path[-1] if path else ""
    if isinstance(here, dict):
        here.pop(last, None)
        owner = _owner(path)
        if path[0] == "inputs" and len(path) == 2:
            here[last] = [1]
        elif path[-2:-1] == ("params",):
            here[last] = 1  # its readers have nothing wrong
        elif owner == "blocks" and last == "layers":
            here[last] = {}
        elif last in _STAND_INS and owner != "layers":
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


def _problem(
    document: Document, path: _Path, error: dict[str, Any], root: type[BaseModel] = SpecModel
) -> Problem:
    """Return one Pydantic error as a problem in the user's words, at its place in the file."""
    kind = error["type"]
    last = str(path[-1]) if path else ""
    where, model = _OWNERS[_owner(path)]
    if model is SpecModel:
        model = root
    if kind == "extra_forbidden":
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
