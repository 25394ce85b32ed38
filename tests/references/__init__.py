"""Implementations of published networks that nobody here wrote: the oracles of the zoo."""

from tests.references.loading import MissingReferenceError, torchvision_models, transformers

__all__ = ["MissingReferenceError", "torchvision_models", "transformers"]
