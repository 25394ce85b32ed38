"""The modules of archgraph's own ops: what `torch.nn` lacks.

Forward's argument names are the ops' ports. Importing this package imports torch.
"""

from archgraph.nn.arithmetic import Affine, Detach, MatMul, Mean
from archgraph.nn.attention import ScaledDotProductAttention
from archgraph.nn.dropout import DropPath
from archgraph.nn.learned import Parameter, Positions
from archgraph.nn.normalization import LayerNorm2d
from archgraph.nn.resampling import Interpolate
from archgraph.nn.reshaping import Chunk, Permute, Reshape, Select, Slice, Transpose

__all__ = [
    "Affine",
    "Chunk",
    "Detach",
    "DropPath",
    "Interpolate",
    "LayerNorm2d",
    "MatMul",
    "Mean",
    "Parameter",
    "Permute",
    "Positions",
    "Reshape",
    "ScaledDotProductAttention",
    "Select",
    "Slice",
    "Transpose",
]
