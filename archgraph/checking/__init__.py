"""Statements about a network that are checked by running it.

May import `prediction` and `measurement` and whatever these may, and nothing that imports it.
"""

from archgraph.checking.algebra import Check, Skipped, TargetCheck, check
from archgraph.checking.statistics import Row, Statistics, affordable_networks, check_statistics

__all__ = [
    "Check",
    "Row",
    "Skipped",
    "Statistics",
    "TargetCheck",
    "affordable_networks",
    "check",
    "check_statistics",
]
