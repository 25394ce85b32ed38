"""Statements about a network that are checked by running it.

May import `errors`, `graph`, `paths`, `module` and `gradient`, and nothing that imports them.
"""

from archgraph.checking.algebra import Check, Skipped, TargetCheck, check

__all__ = ["Check", "Skipped", "TargetCheck", "check"]
