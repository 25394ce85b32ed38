"""What a network's gradient is like, what is wrong with it and why, in ten lines.

May import `errors`, `graph`, `paths`, `module` and `gradient`, and nothing that imports them.
"""

from archgraph.diagnosis.expectation import Expectation, outcome, parse_expectation
from archgraph.diagnosis.finding import Finding
from archgraph.diagnosis.result import Diagnosis
from archgraph.diagnosis.verdict import diagnose, diagnose_pass

__all__ = [
    "Diagnosis",
    "Expectation",
    "Finding",
    "diagnose",
    "diagnose_pass",
    "outcome",
    "parse_expectation",
]
