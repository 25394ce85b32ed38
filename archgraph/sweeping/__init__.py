"""Many networks: grids of settings, run in parallel, resumable; and several side by side.

May import everything up to `measurement`, and nothing that imports it. Importing this package
does not import torch: the processes that do the work import it.
"""

from archgraph.sweeping.comparing import Comparison, compare
from archgraph.sweeping.grid import Axis, Grid, parse_grid
from archgraph.sweeping.job import Options
from archgraph.sweeping.run import sweep
from archgraph.sweeping.table import Sweep

__all__ = ["Axis", "Comparison", "Grid", "Options", "Sweep", "compare", "parse_grid", "sweep"]
