"""What must hold while a pass is recorded, and is put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from archgraph.gradient.bundle import differentiable

__all__ = ["RandomState", "forked", "prepared", "preserved_buffers"]


@dataclass(frozen=True, slots=True)
class RandomState:
    """The state of every random number generator that an op may draw from."""

    cpu: Tensor
    cuda: Tensor | None = None
    device: torch.device | None = None

    @classmethod
    def now(cls, device: torch.device) -> RandomState:
        """Return the present state, that of `device` included."""
        if device.type == "cuda":
            return cls(torch.get_rng_state(), torch.cuda.get_rng_state(device), device)
        return cls(torch.get_rng_state())

    def restore(self) -> None:
        """Make it the present state."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, self.device or "cuda")


@contextmanager
def forked(device: torch.device) -> Iterator[None]:
    """Leave the random number generators as they were found."""
    state = RandomState.now(device)
    try:
        yield
    finally:
        state.restore()


@contextmanager
def prepared(module: nn.Module, *, train: bool) -> Iterator[None]:
    """Make `module` ready to be run twice with the same result, and split.

    Inside, it is in train or eval mode, no submodule works in place, every parameter has a
    gradient, and attention runs in its mathematical form (the fused kernels can be differentiated
    only once). Modes, flags and buffers, running statistics among them, are put back at the end.
    """
    with ExitStack() as stack:
        stack.enter_context(_flags(module))
        stack.enter_context(preserved_buffers(module))
        stack.enter_context(_mathematical_attention())
        stack.enter_context(torch.enable_grad())
        module.train(train)
        yield


@contextmanager
def _flags(module: nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    in_place: list[Any] = [m for m in module.modules() if getattr(m, "inplace", False) is True]
    frozen = [p for p in module.parameters() if not p.requires_grad and differentiable(p)]
    try:
        for part in in_place:
            part.inplace = False
        for parameter in frozen:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
        for part in in_place:
            part.inplace = True
        for part, mode in modes:
            part.training = mode


@contextmanager
def preserved_buffers(module: nn.Module) -> Iterator[None]:
    """Let the module write into copies of its buffers, and put the buffers themselves back.

    Copies, because what autograd has recorded may not be written to afterwards.
    """
    saved = [
        (part, name, buffer)
        for part in module.modules()
        for name, buffer in part._buffers.items()
        if buffer is not None
    ]
    copies = {id(buffer): buffer.detach().clone() for *_, buffer in saved}
    try:
        for part, name, buffer in saved:
            part._buffers[name] = copies[id(buffer)]
        yield
    finally:
        for part, name, buffer in saved:
            part._buffers[name] = buffer


@contextmanager
def _mathematical_attention() -> Iterator[None]:
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
