"""The measured gradient: one recorded pass, split exactly.

May import `errors`, `graph`, `paths` and `module`, and nothing that imports them.
"""

from archgraph.gradient.flow import EdgeFlow, edge_flow
from archgraph.gradient.folding import MergeRow, fold_edges
from archgraph.gradient.headline import Headline, headline
from archgraph.gradient.numbers import Numbers, TermNumbers, evaluate
from archgraph.gradient.once import run_once
from archgraph.gradient.parts import Decomposition, Part
from archgraph.gradient.recording import autograd, record
from archgraph.gradient.rounding import uncancelled_sizes
from archgraph.gradient.sampled import PathNorms, sample_norms
from archgraph.gradient.splitting import decompose, path_gradients
from archgraph.gradient.tape import Cotangents, Pull, Tape
from archgraph.gradient.tolerance import TOLERANCES, Tolerance, as_dtype, tolerance_of
from archgraph.gradient.tree import path_gradient

__all__ = [
    "TOLERANCES",
    "Cotangents",
    "Decomposition",
    "EdgeFlow",
    "Headline",
    "MergeRow",
    "Numbers",
    "Part",
    "PathNorms",
    "Pull",
    "Tape",
    "TermNumbers",
    "Tolerance",
    "as_dtype",
    "autograd",
    "decompose",
    "edge_flow",
    "evaluate",
    "fold_edges",
    "headline",
    "path_gradient",
    "path_gradients",
    "record",
    "run_once",
    "sample_norms",
    "tolerance_of",
    "uncancelled_sizes",
]
