"""Changes of a spec that would mend its gradient, each with its predicted effect and its diff.

Importing this package imports torch.
"""

from archgraph.suggestion.advice import Advice, Suggestion
from archgraph.suggestion.effect import Effect
from archgraph.suggestion.search import suggest

__all__ = ["Advice", "Effect", "Suggestion", "suggest"]
