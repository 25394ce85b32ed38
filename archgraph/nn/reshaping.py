"""Modules that move, cut or regroup elements. Axes count the batch, which never moves."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Chunk", "Permute", "Reshape", "Select", "Slice", "Transpose"]


def _not_batch(dim: int, verb: str) -> int:
    if dim == 0:
        raise ValueError(f"axis 0 is the batch, which cannot be {verb}")
    return dim


class Chunk(nn.Module):
    """One of several equal parts of an axis.

    Args:
        chunks: Number of parts.
        index: Which part, 0 … chunks − 1.
        dim: The axis.

    Raises:
        ValueError: `index` is not that of a part, or `dim` is the batch.
    """

    def __init__(self, chunks: int, index: int, dim: int = -1) -> None:
        super().__init__()
        if not 0 <= index < chunks:
            raise ValueError(f"index {index} of {chunks} chunks; they are 0 … {chunks - 1}")
        self.chunks = chunks
        self.index = index
        self.dim = _not_batch(dim, "cut")

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the part; its `dim` is that of the input divided by `chunks`.

        Raises:
            ValueError: the axis cannot be cut into equal parts.
        """
        size = input.shape[self.dim]
        if size % self.chunks:
            raise ValueError(f"axis {self.dim} of size {size} has no {self.chunks} equal chunks")
        return input.chunk(self.chunks, self.dim)[self.index]

    def extra_repr(self) -> str:
        """Return the arguments as `repr` shows them."""
        return f"{self.chunks}, {self.index}, dim={self.dim}"


class Select(nn.Module):
    """One position of an axis, which disappears.

    Args:
        dim: The axis.
        index: The position; negative counts from the end.

    Raises:
        ValueError: `dim` is the batch.
    """

    def __init__(self, dim: int, index: int) -> None:
        super().__init__()
        self.dim = _not_batch(dim, "selected from")
        self.index = index

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the input at that position, one axis fewer."""
        return input.select(self.dim, self.index)

    def extra_repr(self) -> str:
        """Return the arguments as `repr` shows them."""
        return f"{self.dim}, {self.index}"


class Slice(nn.Module):
    """A range of an axis, as Python slices: start included, stop not.

    Args:
        start: First position; negative counts from the end.
        stop: End of the range; None is the end of the axis.
        dim: The axis.

    Raises:
        ValueError: `dim` is the batch.
    """

    def __init__(self, start: int, stop: int | None = None, dim: int = -1) -> None:
        super().__init__()
        self.start = start
        self.stop = stop
        self.dim = _not_batch(dim, "sliced")

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the range.

        Raises:
            ValueError: nothing is left of the axis.
        """
        size = input.shape[self.dim]
        start, stop, _ = slice(self.start, self.stop).indices(size)
        if start >= stop:
            raise ValueError(f"nothing is left of axis {self.dim}, which has size {size}")
        return input.narrow(self.dim, start, stop - start)

    def extra_repr(self) -> str:
        """Return the arguments as `repr` shows them."""
        return f"{self.start}, {self.stop}, dim={self.dim}"


class Reshape(nn.Module):
    """The same elements of each example in another shape.

    Args:
        shape: The shape, batch excluded; one size may be -1, which is then what remains.
    """

    def __init__(self, *shape: int | tuple[int, ...]) -> None:
        super().__init__()
        self.shape = _flat(shape)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the input in shape (batch, *shape)."""
        return input.reshape(input.shape[0], *self.shape)

    def extra_repr(self) -> str:
        """Return the arguments as `repr` shows them."""
        return ", ".join(map(str, self.shape))


class Permute(nn.Module):
    """The axes in another order, as `Tensor.permute`.

    Args:
        dims: For each axis of the output the one of the input, all of them, batch (0) first.

    Raises:
        ValueError: they are no permutation that leaves the batch in front.
    """

    def __init__(self, *dims: int | tuple[int, ...]) -> None:
        super().__init__()
        self.dims = _flat(dims)
        axes = [d % len(self.dims) for d in self.dims]
        if not axes or axes[0] != 0 or sorted(axes) != list(range(len(axes))):
            raise ValueError(f"{self.dims} does not order the axes 0 … with the batch, 0, in front")

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return a view of the input with its axes in the new order."""
        return input.permute(self.dims)

    def extra_repr(self) -> str:
        """Return the arguments as `repr` shows them."""
        return ", ".join(map(str, self.dims))


class Transpose(nn.Module):
    """Two axes exchanged, as `Tensor.transpose`.

    Args:
        dim0: One axis.
        dim1: The other.

    Raises:
        ValueError: one of them is the batch.
    """

    def __init__(self, dim0: int, dim1: int) -> None:
        super().__init__()
        self.dim0 = _not_batch(dim0, "exchanged")
        self.dim1 = _not_batch(dim1, "exchanged")

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return a view of the input with the two axes exchanged."""
        return input.transpose(self.dim0, self.dim1)

    def extra_repr(self) -> str:
        """Return the arguments as `repr` shows them."""
        return f"{self.dim0}, {self.dim1}"


def _flat(sizes: tuple[int | tuple[int, ...], ...]) -> tuple[int, ...]:
    """Accept both spellings, as Tensor.reshape does: (8, 4) and ((8, 4),)."""
    return tuple(n for part in sizes for n in (part if isinstance(part, tuple) else (part,)))
