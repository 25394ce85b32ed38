"""Run a graph's source and return the module: what is printed is what runs."""

from __future__ import annotations

import builtins
import contextlib
import copyreg
import functools
import hashlib
import importlib.abc
import importlib.machinery
import itertools
import linecache
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import nn

from archgraph.graph import Graph
from archgraph.module.instances import instantiate
from archgraph.module.python import emit
from archgraph.module.shapes import infer
from archgraph.module.units import is_expression

__all__ = ["compile", "operations"]

_COUNTER: Final = itertools.count()


def compile(
    graph: Graph,
    *,
    seed: int | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> nn.Module:
    """Return the network as a module, made by running exactly the text of `source`.

    The module takes the inputs in the order of `graph.inputs` and returns the output, or a tuple
    in the order of `graph.outputs`. The weights of a node are those of
    `module.get_submodule(node.module)`, a learnable λ is `module.get_parameter(name)`. Tracebacks
    and `inspect.getsource` show the text; pickle, `copy.deepcopy` and `torch.save` carry it along.

    Args:
        graph: The network. An op that is a callable of the user is a global name of the generated
            code, or a copy of it if it is an `nn.Module`; such a network is pickled only if the
            callable is.
        seed: Seed of the initial weights; torch's global random state is then left as it was. By
            default the weights are drawn from the global random state.
        dtype: Type of the weights; default torch's.
        device: Where the weights are; default torch's.

    Raises:
        SpecError: the shapes do not fit.

    Example:
        >>> from archgraph.graph import GraphBuilder
        >>> from archgraph.ops import parse_call
        >>> builder = GraphBuilder("toy")
        >>> x = builder.input("x", (8,))
        >>> y = builder.layer("y", parse_call("Linear(3)"), [x])
        >>> compile(builder.build(), seed=0)(torch.zeros(2, 8)).shape
        torch.Size([2, 3])
    """
    emission = emit(graph)
    text = _Text(emission.text, emission.classes, dict(emission.bindings))
    network_class = text.load(emission.class_name)
    with contextlib.ExitStack() as stack:
        if seed is not None:
            stack.enter_context(torch.random.fork_rng(devices=[]))
            torch.manual_seed(seed)
        # On the CPU, so that a seed means the same weights everywhere. Moving to `meta` would make
        # two tensors of tied parameters.
        if device is not None and torch.device(device).type == "meta":
            stack.enter_context(torch.device(device))
        network = network_class()
    return network if dtype is None and device is None else network.to(device=device, dtype=dtype)


def operations(graph: Graph, module: nn.Module) -> dict[str, Callable[..., Any]]:
    """Return by node what its op does with the tensors of its ports.

    Args:
        graph: The network.
        module: What `compile` made of it.

    Returns:
        For each node with an op: its layer in `module`, an archgraph module for an op that the
        source writes as an expression, or the user's callable. Layers take their ports by name;
        an opaque callable takes them by position, in the order of `graph.ports(node)`.
    """
    shapes = infer(graph)
    found: dict[str, Callable[..., Any]] = {}
    for node in graph.nodes:
        if node.op is None:
            continue
        function = node.op.op.function if node.op.op.origin == "opaque" else None
        if is_expression(node, shapes):
            found[node.name] = instantiate(node.op, shapes.arguments[node.name])
        elif node.op.op.is_parameter:
            path = node.module or node.name
            found[node.name] = functools.partial(module.get_parameter, path)
        elif function is not None and not isinstance(function, nn.Module):
            found[node.name] = function
        else:
            found[node.name] = module.get_submodule(node.module or node.name)
    return found


@dataclass(frozen=True)
class _Text:
    """The text of a network's classes, which travels with every instance of them."""

    text: str
    classes: tuple[str, ...]
    bindings: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def load(self, name: str) -> type[nn.Module]:
        """Return a class, from the module that this text has been run in."""
        found: type[nn.Module] = getattr(self._module, name)
        return found

    @functools.cached_property
    def _module(self) -> types.ModuleType:
        digest = hashlib.sha256(self.text.encode()).hexdigest()[:16]
        # The same text with other callables is another module.
        suffix = f"_{next(_COUNTER)}" if self.bindings else ""
        name = f"archgraph_generated_{digest}{suffix}"
        return sys.modules.get(name) or self._execute(name)

    def _execute(self, name: str) -> types.ModuleType:
        file = f"<{name}>"
        lines = self.text.splitlines(keepends=True)
        # Before exec, so that a traceback out of it shows the lines too.
        linecache.cache[file] = (len(self.text), None, lines, file)
        spec = importlib.machinery.ModuleSpec(name, _Loader(self.text), origin=file)
        module = types.ModuleType(name)
        module.__spec__, module.__loader__, module.__file__ = spec, spec.loader, file
        vars(module).update(self.bindings)
        sys.modules[name] = module
        try:
            exec(builtins.compile(self.text, file, "exec"), vars(module))
        except BaseException:
            del sys.modules[name]
            raise
        for name_of_class in self.classes:
            copyreg.pickle(getattr(module, name_of_class), self._reduce)
        return module

    def _reduce(self, network: nn.Module) -> tuple[Any, ...]:
        return _revive, (self, type(network).__name__), network.__dict__

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_module"}

    def __deepcopy__(self, memo: dict[int, Any]) -> _Text:
        return self


class _Loader(importlib.abc.InspectLoader):
    """Gives the source of a generated module to whoever asks: tracebacks, `inspect`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def get_source(self, fullname: str) -> str:
        return self._text


def _revive(text: _Text, name: str) -> nn.Module:
    """Return an instance without weights, for pickle to fill."""
    found = text.load(name)
    return found.__new__(found)
