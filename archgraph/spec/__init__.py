"""The spec language: YAML in, a graph out, and back."""

from archgraph.spec.document import Limits
from archgraph.spec.load import find_spec, load, parse, parse_setting, zoo

__all__ = ["Limits", "find_spec", "load", "parse", "parse_setting", "zoo"]
