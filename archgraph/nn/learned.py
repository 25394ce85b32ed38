"""Values that depend on no example: learned tensors and positions."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Parameter", "Positions"]


class Parameter(nn.Module):
    """A learned tensor that reads no input: a class token, learned positions, a gate.

    A compiled network holds it as a plain `nn.Parameter` under the layer's own name.

    Args:
        shape: Shape of the value, batch excluded.
        init: How it starts: a number, or the name of a `torch.nn.init` function that fits every
            shape (`normal`, `uniform`, `trunc_normal`, `zeros`, `ones`). Default N(0, 1), as
            `nn.Embedding` does.

    Example:
        >>> Parameter(2, 3, init=0.5)().shape
        torch.Size([1, 2, 3])
    """

    def __init__(self, *shape: int | tuple[int, ...], init: float | str = "normal") -> None:
        super().__init__()
        # Both spellings, as for Tensor.reshape: Parameter(1, 8) and Parameter((1, 8)).
        flat = [n for part in shape for n in (part if isinstance(part, tuple) else (part,))]
        self.init = init
        self.weight = nn.Parameter(torch.empty(1, *flat))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Fill the tensor anew as `init` says."""
        if isinstance(self.init, str):
            getattr(nn.init, f"{self.init}_")(self.weight)
        else:
            nn.init.constant_(self.weight, self.init)

    def forward(self) -> torch.Tensor:
        """Return the tensor as a batch of one, which broadcasts over a batch of any size."""
        return self.weight

    def extra_repr(self) -> str:
        """Return the arguments as `repr` shows them."""
        return f"{', '.join(map(str, self.weight.shape[1:]))}, init={self.init!r}"


class Positions(nn.Module):
    """The integers 0 … n − 1, n being the length of the input's axis 1."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the positions as a batch of one, of shape (1, n); they carry no gradient."""
        return torch.arange(input.shape[1], device=input.device).unsqueeze(0)
