"""Every op by name, read from `catalogue.json` on first use; torch is not imported."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from archgraph.ops.op import REQUIRED, Argument, Op, Port

__all__ = ["get", "initialiser", "initialisers", "names", "torch_version"]

_PATH: Final = Path(__file__).with_name("catalogue.json")


@cache
def get(name: str) -> Op | None:
    """Return the op called `name`, of torch.nn or archgraph's own, or None.

    Example:
        >>> get("Linear").inferred
        {'in_features': 'last'}
    """
    return _read("ops", name)


def names() -> tuple[str, ...]:
    """Return the names of all ops, sorted."""
    return tuple(_document()["ops"])


@cache
def initialiser(name: str) -> Op | None:
    """Return the `torch.nn.init` function `name` (without its underscore), or None.

    Example:
        >>> [argument.name for argument in initialiser("kaiming_normal").arguments]
        ['a', 'mode', 'nonlinearity']
    """
    return _read("initialisers", name)


def initialisers() -> tuple[str, ...]:
    """Return the names of all initialisers, sorted."""
    return tuple(_document()["initialisers"])


def torch_version() -> str:
    """Return the version of torch that the catalogue was made from."""
    return str(_document()["torch"])


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_PATH.read_text(encoding="utf-8"))
    return document


def _read(section: str, name: str) -> Op | None:
    record = _document()[section].get(name)
    if record is None:
        return None
    fields: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in record.items()
    }
    fields["arguments"] = tuple(map(_argument, record.get("arguments", ())))
    fields["parameters"] = tuple((p, switch) for p, switch in record.get("parameters", ()))
    fields["ports"] = tuple(
        Port(port.removesuffix("?"), required=not port.endswith("?")) for port in record["ports"]
    )
    return Op(name=name, **fields)


def _argument(record: dict[str, Any]) -> Argument:
    default = record.get("default", REQUIRED)
    return Argument(
        record["name"],
        record["type"],
        tuple(default) if isinstance(default, list) else default,
        positive=record.get("positive", False),
        choices=tuple(record.get("choices", ())),
        keyword_only=record.get("keyword_only", False),
    )
