"""Import torchvision and transformers as plain Python, whatever they were built for.

The package index has torchvision only for CUDA; its networks need none of its compiled operators,
so beside a torch for processors alone two of them are declared, and never called.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

import torch

__all__ = ["MissingReferenceError", "left_as_it_was", "torchvision_models", "transformers"]

_OPERATORS: Final = ("nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor",)
_QUANTISED: Final = "qnms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor"


class MissingReferenceError(Exception):
    """A reference is not installed; `make references` does it."""


def torchvision_models() -> ModuleType:
    """Return `torchvision.models`.

    Raises:
        MissingReferenceError: it is not installed.
    """
    return _module("torchvision.models")


def transformers() -> ModuleType:
    """Return `transformers`.

    Raises:
        MissingReferenceError: it is not installed.
    """
    return _module("transformers")


@contextlib.contextmanager
def left_as_it_was(kind: type) -> Iterator[None]:
    """Take off a class what is put on it meanwhile: transformers adds to `nn.Module` itself."""
    before = set(vars(kind))
    try:
        yield
    finally:
        for name in set(vars(kind)) - before:
            delattr(kind, name)


def _module(name: str) -> ModuleType:
    _declare_operators()  # transformers imports torchvision too, if it is there
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingReferenceError(f"{error.name} is not installed: make references") from None


@functools.cache
def _declare_operators() -> torch.library.Library | None:
    """Declare what torchvision's Python part asks for, unless its compiled part can be loaded."""
    found = importlib.util.find_spec("torchvision")
    if found is None:
        return None
    for folder in found.submodule_search_locations or ():
        for compiled in Path(folder).glob("_C*"):
            try:
                torch.ops.load_library(str(compiled))
            except OSError:
                continue
            return None
    library = torch.library.Library("torchvision", "DEF")
    for signature in (*_OPERATORS, _QUANTISED):
        library.define(signature)
    return library
