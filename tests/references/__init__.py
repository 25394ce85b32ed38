"""Implementations of published networks that nobody here wrote: the oracles of the zoo."""

from tests.references.loading import (
    MissingReferenceError,
    left_as_it_was,
    torchvision_models,
    transformers,
)

__all__ = ["MissingReferenceError", "left_as_it_was", "torchvision_models", "transformers"]
