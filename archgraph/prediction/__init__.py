"""How large the gradient will be, before a weight exists: bounds, limits, finite widths, draws.

Importing this package imports torch.
"""

from archgraph.prediction.methods import predict
from archgraph.prediction.results import (
    EdgePrediction,
    NodePrediction,
    ParameterPrediction,
    Prediction,
)

__all__ = [
    "EdgePrediction",
    "NodePrediction",
    "ParameterPrediction",
    "Prediction",
    "predict",
]
