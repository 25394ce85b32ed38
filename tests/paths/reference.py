"""Numbers for symbols: a forward pass under autograd, and expressions evaluated in matrices."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import reduce
from typing import Any

import torch

from archgraph.graph import Edge, Graph
from archgraph.paths.algebra import Atom, Expression, Literal, Product, Sum

FUNCTIONS = {"ReLU": torch.relu, "Tanh": torch.tanh, "Sigmoid": torch.sigmoid}


class Reference:
    """One example of random numbers through a graph of Linear layers and activations."""

    def __init__(self, graph: Graph, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.graph = graph
        self.parameters: dict[str, Any] = {}
        self.values: dict[str, torch.Tensor] = {}
        self.merged: dict[str, torch.Tensor] = {}
        self.losses: list[torch.Tensor] = []
        for node in graph.nodes:
            if node.kind == "input":
                self.values[node.name] = self._leaf(*node.shape)
            elif node.kind == "layer":
                self.merged[node.name] = self._merge(node.name)
                self.merged[node.name].retain_grad()
                self.values[node.name] = self._apply(node, self.merged[node.name])
                self.values[node.name].retain_grad()
        for edge in graph.edges_into("L"):
            value = self.values[edge.source]
            self.losses.append((torch.randn(len(value), dtype=torch.float64) * value.sin()).sum())
        terms = zip(graph.edges_into("L"), self.losses, strict=True)
        self.loss = sum(float(edge.scale.value) * loss for edge, loss in terms)

    def _leaf(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    def scale(self, edge: Edge) -> Any:
        learn = edge.scale.learn
        if learn is None:
            return float(edge.scale.value)
        if learn.name not in self.parameters:
            width = len(self.values[edge.source]) if learn.per == "channel" else 1
            self.parameters[learn.name] = self._leaf(width)
        return self.parameters[learn.name]

    def _merge(self, name: str) -> torch.Tensor:
        edges = self.graph.edges_into(name)
        terms = [self.scale(edge) * self.values[edge.source] for edge in edges]
        if edges[0].kind == "concat":
            return torch.cat(terms)
        # A product by one makes a tensor of its own, whose gradient is the merge's alone.
        return 1 * (torch.stack(terms).prod(0) if edges[0].kind == "multiply" else sum(terms))

    def _apply(self, node: Any, value: torch.Tensor) -> torch.Tensor:
        if node.op is None:
            return 1 * value
        if node.op.name == "Affine":
            return float(node.op.get("scale")) * value + float(node.op.get("shift"))
        if node.op.name in FUNCTIONS:
            return FUNCTIONS[node.op.name](value)
        size = node.op.get("out_features")
        weight = self.parameters[f"{node.name}.weight"] = self._leaf(size, len(value))
        out = weight @ value
        if node.op.get("bias"):
            bias = self.parameters[f"{node.name}.bias"] = self._leaf(size)
            out = out + bias
        return out

    def gradient(self, wrt: str) -> torch.Tensor:
        """Autograd's ∂L/∂wrt, flat."""
        leaf = self.values[wrt] if wrt in self.values else self.parameters[wrt]
        found = torch.autograd.grad(self.loss, leaf, retain_graph=True, allow_unused=True)[0]
        return (torch.zeros_like(leaf) if found is None else found).flatten()

    def matrix(self, atom: Atom, edge: Edge, wrt: str) -> Any:
        """The matrix that a symbol in the factor of `edge` stands for."""
        text = atom.text
        if edge.index >= len(self.graph.edges):
            own = self._own_step(text, edge, wrt)
            if own is not None:
                return own
            edge = next(e for e in self.graph.edges if e.scale.learn and e.scale.learn.name == wrt)
        if text.startswith("∂"):
            leaf = self.values[edge.source]
            return torch.autograd.grad(self.losses[edge.slot], leaf, retain_graph=True)[0][None]
        if match := re.fullmatch(r"φ'\(z_(.*)\)", text):
            node = self.graph.node(match[1])
            inner = self.merged[match[1]].detach().requires_grad_()
            outer = FUNCTIONS[node.op.name](inner)
            return torch.diag(torch.autograd.grad(outer.sum(), inner)[0])
        if text.startswith("W_"):
            return self.parameters[f"{text[2:]}.weight"]
        if text.startswith("S_"):
            peers = self.graph.edges_into(edge.target)
            sizes = [len(self.values[peer.source]) for peer in peers]
            rows = sum(sizes[: edge.slot])
            return torch.eye(sum(sizes), dtype=torch.float64)[:, rows : rows + sizes[edge.slot]]
        if match := re.fullmatch(r"diag\((.*)\)", text):
            return torch.diag(reduce(torch.mul, map(self._value, match[1].split("·"))))
        if text == "λ":
            return float(edge.scale.value)
        if text.startswith("α"):
            return self.parameters[text.replace("α", "alpha")]
        raise AssertionError(f"what is {text!r}?")

    def _value(self, name: str) -> torch.Tensor:
        known = {**self.parameters, **self.values}
        return known[name.replace("α", "alpha")].reshape(-1)

    def _own_step(self, text: str, edge: Edge, wrt: str) -> torch.Tensor | None:
        """∂z/∂W of a Linear, ∂z/∂b, or the value that a learnable λ multiplies; else None."""
        node = self.graph.node(edge.target)
        if wrt == f"{node.name}.weight":
            return torch.kron(torch.eye(node.op.get("out_features")), self.merged[node.name][None])
        if wrt == f"{node.name}.bias":
            return torch.eye(node.op.get("out_features"), dtype=torch.float64)
        scaled = next(e for e in self.graph.edges if e.scale.learn and e.scale.learn.name == wrt)
        if text == scaled.source:
            return self.values[scaled.source][:, None]
        channel = scaled.scale.learn.per == "channel"
        return (
            torch.diag(self.values[scaled.source])
            if (channel and text == f"diag({scaled.source})")
            else None
        )


def evaluate(expression: Expression, number: Callable[[Atom], Any]) -> Any:
    """The value of an expression: matrices multiply as written, numbers scale the identity."""
    match expression:
        case Atom():
            value = number(expression)
            return value.detach() if isinstance(value, torch.Tensor) else value
        case Literal(value):
            return value
        case Product(factors):
            return reduce(_times, (evaluate(f, number) for f in factors), 1)
        case Sum(terms):
            return reduce(_plus, (evaluate(t, number) for t in terms), 0)


def _times(a: Any, b: Any) -> Any:
    return a @ b if _is_matrix(a) and _is_matrix(b) else _number(a, b) * _number(b, a)


def _number(value: Any, beside: Any) -> Any:
    """A number as a float where it scales a matrix; exact numbers stay exact among themselves."""
    return float(value) if not _is_matrix(value) and isinstance(beside, torch.Tensor) else value


def _is_matrix(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() == 2


def _plus(a: Any, b: Any) -> Any:
    if _is_matrix(a) and not _is_matrix(b):
        b = float(b) * torch.eye(*a.shape, dtype=torch.float64)
    elif _is_matrix(b) and not _is_matrix(a):
        a = float(a) * torch.eye(*b.shape, dtype=torch.float64)
    return a + b
