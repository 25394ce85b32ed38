"""Blocks as they stand in a file, before they are called."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from archgraph.errors import Problem, SpecError, suggest
from archgraph.spec.checked import check_library
from archgraph.spec.document import Document, Limits, parse_document
from archgraph.spec.model import BlockModel, SpecModel
from archgraph.spec.names import name_problem

__all__ = ["REQUIRED", "BlockCall", "Template", "read_templates"]

REQUIRED: Final = "required"
"""What a block's param says instead of a default."""


@dataclass(frozen=True, slots=True)
class Template:
    """A block, and the file it stands in: its own or one that the spec includes."""

    name: str
    document: Document
    model: BlockModel

    @property
    def path(self) -> tuple[str, ...]:
        """Where it stands in its document."""
        return ("blocks", self.name)

    @property
    def ports(self) -> tuple[str, ...]:
        """The names of its inputs."""
        return tuple(self.model.inputs)


@dataclass(frozen=True, slots=True)
class BlockCall:
    """A call of a block: which one, with which values of its params, as the caller spells them."""

    template: Template
    params: Mapping[str, Any]
    texts: tuple[tuple[str, str], ...] = ()


def read_templates(
    document: Document,
    spec: SpecModel,
    folder: Path | None,
    ops: Container[str],
    limits: Limits | None,
) -> tuple[dict[str, Template], list[Problem]]:
    """Return the blocks of a spec and of the files it includes, by name.

    Args:
        document: The spec's own document.
        spec: The spec.
        folder: Where the spec stands; None for text without a file, which includes nothing.
        ops: The names of all ops, which no block may bear.
        limits: Bounds on the included files.
    """
    templates: dict[str, Template] = {}
    problems: list[Problem] = []
    for k, name in enumerate(spec.include):
        included, more = _library(document, ("include", k), name, folder, limits)
        problems += more
        for template in included:
            problems += _add(templates, template, ops)
    for name, model in spec.blocks.items():
        problems += _add(templates, Template(name, document, model), ops)
    return templates, problems


def _library(
    document: Document,
    path: tuple[str | int, ...],
    name: str,
    folder: Path | None,
    limits: Limits | None,
) -> tuple[list[Template], list[Problem]]:
    mark = document.mark(path)
    if folder is None:
        return [], [Problem("include", "text without a file includes nothing", mark)]
    if Path(name).name != name or name in ("", ".", ".."):
        why = "blocks are taken from the spec's own folder only"
        return [], [Problem("include", f"'{name}' is no plain file name", mark, why=why)]
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        reason = (error.strerror or "no such file").lower()
        close = suggest(name, [p.name for p in folder.glob("*.yaml")])
        hint = f"did you mean '{close}'?" if close else None
        return [], [Problem("include", f"cannot read '{name}': {reason}", mark, help=hint)]
    try:
        file = Path(document.file).with_name(name).as_posix()
        included = parse_document(data, file, limits)
    except SpecError as error:
        return [], list(error.problems)
    library, problems = check_library(included)
    models = library.blocks if library is not None else {}
    return [Template(key, included, model) for key, model in models.items()], problems


def _add(templates: dict[str, Template], template: Template, ops: Container[str]) -> list[Problem]:
    """Note a block under its name, and say what is wrong with its names."""
    name, document = template.name, template.document
    mark = document.mark(template.path, key=True)
    found = name_problem(name, "block")
    problems = [] if found is None else [Problem("reserved-name", found[0], mark, why=found[1])]
    if name in ops:
        why = "a formula could not tell which of the two is called"
        problems.append(Problem("duplicate-name", f"'{name}' is an op already", mark, why=why))
        return problems
    if name in templates:
        other = templates[name].document.mark(templates[name].path, key=True)
        message = f"there are two blocks called '{name}', the other at {other}"
        problems.append(Problem("duplicate-name", message, mark))
    templates.setdefault(name, template)
    return problems + _names_inside(template)


def _names_inside(template: Template) -> list[Problem]:
    """Return what is wrong with the names of a block's params and inputs."""
    document, path, model = template.document, template.path, template.model
    entries: list[tuple[str, str, tuple[str | int, ...]]]
    entries = [(name, "param", (*path, "params", name)) for name in model.params]
    entries += [(name, "input", (*path, "inputs", k)) for k, name in enumerate(model.inputs)]
    problems = []
    seen: dict[str, str] = {}
    for name, what, place in entries:
        mark = document.mark(place, key=what == "param")
        found = name_problem(name, what)
        if found is not None:
            problems.append(Problem("reserved-name", found[0], mark, why=found[1]))
        elif name in seen:
            article = "an" if seen[name] == "input" else "a"
            message = f"'{name}' is the name of {article} {seen[name]} already"
            problems.append(Problem("duplicate-name", message, mark))
        seen[name] = what
    if not model.inputs:
        mark = document.mark((*path, "inputs"))
        problems.append(Problem("block", f"block '{template.name}' has no inputs", mark))
    tree = document.tree((*path, "layers"))
    if not model.layers and tree is not document.tree(path):  # else the key is reported missing
        mark = document.mark((*path, "layers"), key=True)
        problems.append(Problem("no-layers", f"block '{template.name}' has no layers", mark))
    return problems
