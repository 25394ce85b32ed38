"""What archgraph knows of each op, one place per op family."""

from archgraph.ops.arguments import ArgumentProblem, bind, positional_name
from archgraph.ops.calls import parse_call
from archgraph.ops.embedding import initial_tensor
from archgraph.ops.op import REQUIRED, Argument, Op, OpCall, Port, SizeExpression, opaque
from archgraph.ops.rules import tensor_expression, track_channel_axis
from archgraph.ops.symbols import jacobian_symbol

__all__ = [
    "REQUIRED",
    "Argument",
    "ArgumentProblem",
    "Op",
    "OpCall",
    "Port",
    "SizeExpression",
    "bind",
    "initial_tensor",
    "jacobian_symbol",
    "opaque",
    "parse_call",
    "positional_name",
    "tensor_expression",
    "track_channel_axis",
]
