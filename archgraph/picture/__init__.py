"""Drawings: Graph → DOT → SVG, PNG, PDF. Nothing here imports torch."""

from archgraph.picture.diagram import diagram
from archgraph.picture.flow import Flow, PathRow
from archgraph.picture.layout import LayoutError, layout
from archgraph.picture.render import render

__all__ = ["Flow", "LayoutError", "PathRow", "diagram", "layout", "render"]
