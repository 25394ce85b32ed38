"""Gradients of real networks, drawn many times: how large they are, and whether they are healthy.

Importing this package imports torch.
"""

from archgraph.measurement.health import DEFAULT_THRESHOLDS, Health, Thresholds
from archgraph.measurement.measuring import measure, reference_of
from archgraph.measurement.results import (
    EdgeMeasurement,
    Measurement,
    NodeMeasurement,
    ParameterMeasurement,
)

__all__ = [
    "DEFAULT_THRESHOLDS",
    "EdgeMeasurement",
    "Health",
    "Measurement",
    "NodeMeasurement",
    "ParameterMeasurement",
    "Thresholds",
    "measure",
    "reference_of",
]
