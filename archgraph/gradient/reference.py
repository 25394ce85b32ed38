"""An ordinary backward pass through the compiled module: what the tape is held against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from archgraph.errors import GradientError
from archgraph.gradient.bundle import Bundle, differentiable, fingerprint
from archgraph.gradient.cell import as_elements
from archgraph.gradient.environment import RandomState
from archgraph.graph import Graph, Node
from archgraph.module.loss import Batch, loss

__all__ = ["Print", "Reference", "may_overwrite", "run"]

Print: TypeAlias = Mapping[int, tuple[float, float]]
"""By element of a node's value: what `fingerprint` says of the gradient there."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What one forward and backward pass of the module gave."""

    outputs: tuple[Tensor, ...]
    loss: Tensor
    gradients: dict[str, Bundle]
    """∂L/∂ each float input and parameter, and each node whose value could be observed if that was
    asked for. A parameter that has several names stands under each. What L does not depend on has
    an empty bundle."""
    prints: Mapping[str, Print]
    """What was seen of ∂L/∂ each other node whose value could be observed."""
    random_states: Mapping[str, RandomState]
    """By node with a submodule of its own: the random state in which the submodule was called."""


def run(
    graph: Graph,
    module: nn.Module,
    batch: Batch,
    *,
    random_states: Mapping[str, RandomState] | None = None,
    whole: bool = False,
) -> Reference:
    """Run the module forward and backward once.

    Args:
        graph: The graph that `module` was compiled from.
        module: The module, already prepared; see `environment.prepared`.
        batch: Inputs and targets.
        random_states: If given, each layer is called in the state that stands under its node.
        whole: Whether to keep the gradients at nodes, and not only what was seen of them.

    Raises:
        GradientError: torch refuses the forward or the backward pass.
    """
    inputs = [t.detach().clone().requires_grad_(differentiable(t)) for t in batch.inputs]
    observer = _Observer(random_states, batch.targets[0].device, whole=whole)
    try:
        with observer.watching(graph, module):
            # A copy, since an op that works in place may not touch a leaf.
            returned = module(*(t.clone() for t in inputs))
            value = loss(graph, returned, batch)
        gradients = _gradients(graph, module, inputs, value)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise GradientError(f"the network cannot be run and differentiated: {error}") from error
    outputs = as_elements(returned).values()
    return Reference(
        outputs=tuple(t.detach() for t in outputs),
        loss=value.detach(),
        gradients={**gradients, **observer.gradients},
        prints=observer.prints,
        random_states=observer.states,
    )


def may_overwrite(node: Node) -> bool:
    """Whether a node's op may work in place, where what it reads is not its own to change."""
    return node.op is not None and node.op.op.origin in ("opaque", "plugin")


def _gradients(
    graph: Graph,
    module: nn.Module,
    inputs: list[Tensor],
    value: Tensor,
) -> dict[str, Bundle]:
    sources: dict[str, Mapping[int, Tensor]] = {
        node.name: {0: tensor}
        for node, tensor in zip(graph.inputs, inputs, strict=True)
        if tensor.requires_grad
    }
    sources |= {name: {0: p} for name, p in module.named_parameters(remove_duplicate=False)}
    wanted = [
        (name, element, tensor)
        for name, elements in sources.items()
        for element, tensor in elements.items()
        if tensor.requires_grad
    ]
    gradients: dict[str, dict[int, Tensor]] = {name: {} for name in sources}
    if not value.requires_grad or not wanted:
        return {**gradients}
    found = torch.autograd.grad(value, [t for *_, t in wanted], allow_unused=True)
    for (name, element, _), gradient in zip(wanted, found, strict=True):
        if gradient is not None:
            gradients[name][element] = gradient
    return {**gradients}


class _Observer:
    """Sees each layer called: in which random state, and what it returns."""

    def __init__(
        self, imposed: Mapping[str, RandomState] | None, device: torch.device, *, whole: bool
    ) -> None:
        self.imposed = imposed or {}
        self.device = device
        self.whole = whole
        self.states: dict[str, RandomState] = {}
        self.gradients: dict[str, dict[int, Tensor]] = {}
        self.prints: dict[str, dict[int, tuple[float, float]]] = {}
        self.unknown_ops = False

    @contextmanager
    def watching(self, graph: Graph, module: nn.Module) -> Iterator[None]:
        self.unknown_ops = any(may_overwrite(node) for node in graph.nodes)
        users: dict[str, list[str]] = defaultdict(list)
        for node in graph.nodes:
            if node.module is not None:
                users[node.module].append(node.name)
        with ExitStack() as stack:
            for path, names in users.items():
                try:
                    part = module.get_submodule(path)
                except AttributeError:
                    continue  # an op without weights, which is an expression in the source
                calls = iter(names)
                stack.enter_context(part.register_forward_pre_hook(self._before(calls, names)))
                if len(names) == 1:
                    # Of shared layers, which call is which node is the source's affair.
                    stack.enter_context(part.register_forward_hook(self._after(names[0])))
            yield

    def _before(self, calls: Iterator[str], names: list[str]) -> Callable[..., None]:
        def hook(part: nn.Module, arguments: Any) -> None:
            name = next(calls, names[-1])
            if name in self.imposed:
                self.imposed[name].restore()
            self.states[name] = RandomState.now(self.device)

        return hook

    def _after(self, name: str) -> Callable[..., Any]:
        def hook(part: nn.Module, arguments: Any, result: Any) -> Any:
            passed = {
                i: self._observed(name, i, t)
                for i, t in as_elements(result).items()
                if differentiable(t)
            }
            if not isinstance(result, tuple | list):
                return passed.get(0, result)
            return tuple(passed.get(i, item) for i, item in enumerate(result))

        return hook

    def _observed(self, name: str, element: int, value: Tensor) -> Tensor:
        """Return a value's own alias, whose gradient will be seen."""
        (self.gradients if self.whole else self.prints).setdefault(name, {})
        if not value.requires_grad:
            return value
        # An op may return its own input, whose gradient has other terms as well; and a reader that
        # is not known might overwrite what it reads.
        alias = value.view_as(value)
        alias.register_hook(  # type: ignore[no-untyped-call]
            partial(self._see, name, element)
        )
        return alias.clone() if self.unknown_ops else alias

    def _see(self, name: str, element: int, gradient: Tensor) -> None:
        if self.whole:
            self.gradients[name][element] = gradient.detach()
        else:
            self.prints[name][element] = fingerprint(gradient)
