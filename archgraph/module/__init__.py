"""Graph to module: shapes, Python source, the compiled `nn.Module`, and batches to run it on.

Importing this package imports torch.
"""

from archgraph.module.build import compile, operations
from archgraph.module.loss import Batch, draw, loss, term_loss
from archgraph.module.python import source
from archgraph.module.shapes import Shapes, Value, infer

__all__ = [
    "Batch",
    "Shapes",
    "Value",
    "compile",
    "draw",
    "infer",
    "loss",
    "operations",
    "source",
    "term_loss",
]
