"""The command line: arguments, progress, printing and exit codes; no logic."""

from archgraph.cli.main import main

__all__ = ["main"]
