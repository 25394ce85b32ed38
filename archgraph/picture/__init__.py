"""Drawings: Graph → DOT → SVG, PNG, PDF. Nothing here imports torch."""

from archgraph.picture.flow import Flow, PathRow
from archgraph.picture.layout import LayoutError
from archgraph.picture.writing import render

__all__ = ["Flow", "LayoutError", "PathRow", "render"]
