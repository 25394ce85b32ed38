"""Figures to reach, measured side by side in one run."""
