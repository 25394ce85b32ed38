"""Read a spec from a file, the zoo, or text."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from archgraph.errors import Mark, Problem, SpecError, UsageError, suggest
from archgraph.expression import ExpressionError, evaluate
from archgraph.graph.core import Graph
from archgraph.ops import catalogue
from archgraph.ops.op import Op
from archgraph.spec.checked import check
from archgraph.spec.document import Limits, parse_document
from archgraph.spec.expand import expand
from archgraph.spec.template import read_templates
from archgraph.spec.tree import plain_number, scalar_value

__all__ = ["find_spec", "load", "parse", "parse_setting", "zoo"]

ZOO: Final = Path(__file__).parent.parent / "zoo"


def zoo() -> dict[str, Path]:
    """Return the specs that ship with archgraph, by name; a folder's are `folder/name`."""
    folder = zoo_folder()
    found = {p.relative_to(folder).with_suffix("").as_posix(): p for p in folder.rglob("*.yaml")}
    return dict(sorted(found.items()))


def zoo_folder() -> Path:
    """Return where the shipped specs stand: in the package, or in a checkout beside it."""
    checkout = Path(__file__).parent.parent.parent / "specs"
    return ZOO if ZOO.is_dir() else checkout


def find_spec(name: str | os.PathLike[str]) -> Path:
    """Return the file that `name` means: the name of a shipped spec, or else a path.

    Raises:
        UsageError: a bare name is no shipped spec.
    """
    text = os.fspath(name)
    if text.endswith((".yaml", ".yml")) or (isinstance(name, Path) and name.exists()):
        return Path(text)
    shipped = zoo()
    if text in shipped:
        return shipped[text]
    if os.sep in text or "/" in text:
        return Path(text)
    close = suggest(text, shipped)
    hint = f"did you mean {close!r}?" if close else f"there are: {', '.join(shipped)}"
    raise UsageError(
        f"no shipped spec is called {text!r}; {hint} (a file is written ./{text}.yaml)"
    )


def load(
    spec: str | os.PathLike[str],
    *,
    limits: Limits | None = None,
    plugins: Iterable[str] = (),
    **params: Any,
) -> Graph:
    """Load a spec and return its graph.

    Args:
        spec: A file's path, or the name of a shipped spec.
        limits: Bounds on the size of the spec.
        plugins: Modules to import, whose registered classes are ops too; see `register`.
        params: Values that replace the spec's own params. Numbers are exact as written: 0.1 is
            1/10; strings are expressions, or names of ops.

    Returns:
        The graph; `graph.warnings` holds what is odd but legal.

    Raises:
        SpecError: with every problem found, each at its file:line:column.
        UsageError: there is no such spec, or no such param.

    Example:
        >>> graph = load("residual", lam=0.5)
        >>> graph.edge("x1->x3").scale.value
        Fraction(1, 2)
    """
    path = find_spec(spec)
    shown = os.fspath(spec) if path == Path(os.fspath(spec)) else path.name
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = "it is a directory" if path.is_dir() else (error.strerror or "").lower()
        problem = Problem("unreadable", f"cannot read the file: {reason}", Mark(shown, 1, 1))
        raise SpecError([problem]) from None
    return parse(data, file=shown, folder=path.parent, limits=limits, plugins=plugins, **params)


def parse(
    text: str | bytes,
    *,
    file: str = "<text>",
    folder: Path | None = None,
    limits: Limits | None = None,
    plugins: Iterable[str] = (),
    **params: Any,
) -> Graph:
    """Return the graph of a spec given as text; see `load`.

    Args:
        text: The spec.
        file: How messages call it.
        folder: Where the files that it includes are; by default it includes none.
        limits: Bounds on the size of the spec.
        plugins: Modules whose registered classes are ops too.
        params: Values that replace the spec's own params.

    Example:
        >>> parse("{archgraph: 1, inputs: {x: [4]}, layers: {y: Linear(2)}}")
        Graph('<text>', 3 nodes, 2 edges)
    """
    document = parse_document(text, file, limits)
    checked = check(document)
    model = checked.spec
    if model is None:
        raise SpecError(checked.problems)
    overrides = {name: plain_number(value) for name, value in params.items()}
    _check_overrides(overrides, model.params, file)
    found = _plugged(plugins)
    ops = {*catalogue.names(), *found}
    templates, more = read_templates(document, model, folder, ops, limits)
    problems = [*checked.problems, *more]
    stem = Path(file).stem if not file.startswith("<") else file
    try:
        # What is wrong has a stand-in, so that the rest is checked in the same go.
        graph = expand(
            document,
            checked,
            overrides,
            stem,
            templates=templates,
            plugins=found,
            limits=limits or Limits(),
            doomed=bool(problems),
        )
    except SpecError as error:
        raise SpecError([*problems, *error.problems]) from None
    except RecursionError:
        problem = Problem("too-deep", "formulas nest too deep", Mark(file, 1, 1))
        raise SpecError([*problems, problem]) from None
    if problems:
        raise SpecError(problems)
    return graph


def _check_overrides(given: Iterable[str], declared: Mapping[str, Any], file: str) -> None:
    for name in given:
        if name not in declared:
            close = suggest(name, declared)
            known = f"it has {', '.join(declared)}" if declared else "it has none"
            hint = f"did you mean {close!r}?" if close else known
            raise UsageError(f"{file} has no param {name!r}; {hint}")


def _plugged(modules: Iterable[str]) -> Mapping[str, Op]:
    modules = tuple(modules)
    if not modules:
        return {}
    from archgraph.ops.plugin import load_plugins

    return load_plugins(modules)


def parse_setting(text: str) -> tuple[str, Any]:
    """Return (name, value) of a `name=value` from the command line, read as YAML 1.2.

    Raises:
        UsageError: it has no `=`.

    Example:
        >>> parse_setting("lam=0.5")
        ('lam', Fraction(1, 2))
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--set takes name=value, not {text!r}")
    if value.strip().startswith("["):
        try:
            return name.strip(), evaluate(value, {})
        except ExpressionError as error:
            raise UsageError(f"--set {text}: {error.message}") from None
    return name.strip(), scalar_value(value.strip())


def settings(pairs: Mapping[str, Any] | list[str]) -> dict[str, Any]:
    """Return `--set` options as keyword arguments of `load`."""
    if isinstance(pairs, Mapping):
        return dict(pairs)
    return dict(parse_setting(pair) for pair in pairs)
