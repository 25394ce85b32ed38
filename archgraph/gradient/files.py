"""Weights and data out of files, read without running any code that they might hold."""

from __future__ import annotations

import json
import math
import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from archgraph.errors import UsageError, suggest
from archgraph.graph import Graph
from archgraph.module.loss import Batch, draw
from archgraph.module.shapes import infer

__all__ = ["read_batch", "read_tensors", "read_weights"]

LARGEST_HEADER: Final = 100_000_000
"""Most bytes of the header of a safetensors file, as its own library has it."""
_TYPES: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_tensors(path: str | Path) -> Tensor | dict[str, Tensor]:
    """Return the tensors of a file, by name where they have names.

    Args:
        path: A `.npy` file holds one array; a `.safetensors` file tensors by name; a `.pt` or
            `.pth` file, as `torch.save` writes it, a tensor or a dictionary of them.

    Raises:
        UsageError: there is no such file, it is of another kind, or it holds anything else. Pickled
            objects other than tensors are refused, since reading them would run code.
    """
    file = Path(path)
    if file.suffix not in (".npy", ".safetensors", ".pt", ".pth"):
        raise UsageError(f"'{path}' ends in neither .npy, .pt, .pth nor .safetensors")
    try:
        if file.suffix == ".npy":
            return torch.from_numpy(np.load(file, allow_pickle=False))
        if file.suffix == ".safetensors":
            return _safetensors(file.read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how the file was pickled
            return _plain(torch.load(file, map_location="cpu", weights_only=True))
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror or error}") from None
    except pickle.UnpicklingError:
        raise UsageError(
            f"'{path}' holds more than tensors, and reading that could run code; save a state_dict"
        ) from None
    except Exception as error:  # of a broken file torch raises whatever it meets
        raise UsageError(f"cannot read '{path}': {error}") from None


def read_weights(path: str | Path, module: nn.Module) -> None:
    """Load weights from a file into a module.

    Args:
        path: A file of tensors by name; see `read_tensors`.
        module: What they are for. Their type and device stay the module's.

    Raises:
        UsageError: a tensor is missing, not one of the module's, or has another shape.
    """
    found = read_tensors(path)
    if isinstance(found, Tensor):
        raise UsageError(f"'{path}' holds one tensor without a name, and no weights by name")
    expected = module.state_dict()
    problems = [
        *(f"'{name}' is missing" for name in expected.keys() - found.keys()),
        *(
            f"'{name}' is no weight of this network{_hint(name, expected)}"
            for name in found.keys() - expected.keys()
        ),
        *(
            f"'{name}' has shape {tuple(found[name].shape)}, and not {tuple(tensor.shape)}"
            for name, tensor in expected.items()
            if name in found and found[name].shape != tensor.shape
        ),
    ]
    if problems:
        shown = sorted(problems)[:8]
        more = f", and {len(problems) - len(shown)} more" if len(problems) > len(shown) else ""
        raise UsageError(f"the weights in '{path}' do not fit: {'; '.join(shown)}{more}")
    module.load_state_dict(found)


def read_batch(
    path: str | Path,
    graph: Graph,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> Batch:
    """Return a batch from a file.

    Args:
        path: One tensor is the only input; tensors by name are inputs under their own names, and
            targets under those of the terms of the loss (`loss` if it has but one).
        graph: The network.
        seed: Of the targets that the file does not give; they are drawn.
        dtype: Type of what is no integer.
        device: Where the tensors go.

    Raises:
        UsageError: an input is missing or has another shape, or a name is not known.
    """
    found = read_tensors(path)
    names = [node.name for node in graph.inputs]
    if isinstance(found, Tensor):
        if len(names) != 1:
            raise UsageError(f"'{path}' holds one tensor, and '{graph.name}' reads {_and(names)}")
        found = {names[0]: found}
    terms = [term.name for term in graph.loss]
    for name in found.keys() - {*names, *terms}:
        known = f"its inputs are {_and(names)}, the terms of its loss {_and(terms)}"
        raise UsageError(f"'{path}' holds '{name}', which '{graph.name}' does not read; {known}")
    missing = [name for name in names if name not in found]
    if missing:
        raise UsageError(f"'{path}' lacks the input {_and(missing)} of '{graph.name}'")
    sizes = {len(tensor) if tensor.dim() else 0 for tensor in found.values()}
    if len(sizes) != 1 or 0 in sizes:
        raise UsageError(
            f"'{path}' holds {_and([str(s) for s in sorted(sizes)])} examples; all tensors must "
            "have the same number of them, in front"
        )
    drawn = draw(graph, batch=sizes.pop(), seed=seed, dtype=dtype, device=device)
    return Batch(
        tuple(
            _fitted(
                found[node.name], like, node.name, below=node.below if node.is_integer else None
            )
            for node, like in zip(graph.inputs, drawn.inputs, strict=True)
        ),
        tuple(
            _fitted(found[name], like, name, below=_classes(graph, i)) if name in found else like
            for i, (name, like) in enumerate(zip(terms, drawn.targets, strict=True))
        ),
    )


def _fitted(tensor: Tensor, like: Tensor, name: str, *, below: int | None) -> Tensor:
    """Return a tensor in the type and place of one that was drawn for the same."""
    if tensor.shape != like.shape:
        raise UsageError(f"'{name}' has shape {tuple(tensor.shape)}, and not {tuple(like.shape)}")
    if tensor.is_floating_point() and not like.is_floating_point():
        raise UsageError(f"'{name}' has {tensor.dtype} where {like.dtype} is read")
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise UsageError(f"'{name}' holds numbers that are not finite")
    if not like.is_floating_point() and below is not None and tensor.numel():
        low, high = int(tensor.min()), int(tensor.max())
        if low < 0 or high >= below:
            raise UsageError(f"'{name}' holds {low} … {high}, and must hold 0 … {below - 1}")
    return tensor.to(like)


def _classes(graph: Graph, index: int) -> int | None:
    """Return the number of classes that a target of integers may name."""
    term = graph.loss[index]
    if term.op is None or term.op.op.target != "classes":
        return None
    value = infer(graph).element(term.of, term.element)
    return value.shape[(value.channel_axis or len(value.shape)) - 1]


def _plain(loaded: Any) -> Tensor | dict[str, Tensor]:
    """Return what a file holds, a state_dict taken out of the dictionary around it."""
    for key in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if isinstance(loaded, Tensor):
        return loaded
    if isinstance(loaded, Mapping) and all(isinstance(t, Tensor) for t in loaded.values()):
        return {str(name): tensor for name, tensor in loaded.items()}
    raise ValueError("it holds neither a tensor nor tensors by name")


def _safetensors(data: bytes) -> dict[str, Tensor]:
    """Read the safetensors format: a length, a header of JSON, and the numbers one after another.

    References:
        https://huggingface.co/docs/safetensors/index#format
    """
    size = int.from_bytes(data[:8], "little")
    if not 2 <= size <= min(LARGEST_HEADER, len(data) - 8):
        raise ValueError(f"its header of {size} bytes does not fit into its {len(data)}")
    header = json.loads(data[8 : 8 + size])
    if not isinstance(header, dict):
        raise ValueError("its header is no object of JSON")
    body = memoryview(bytearray(data[8 + size :]))
    return {
        name: _tensor(name, entry, body) for name, entry in header.items() if name != "__metadata__"
    }


def _tensor(name: str, entry: Mapping[str, Any], body: memoryview) -> Tensor:
    kind, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if kind not in _TYPES:
        raise ValueError(f"'{name}' has the type {kind}")
    dtype = _TYPES[kind]
    count = math.prod(shape)
    if not 0 <= start <= stop <= len(body) or stop - start != count * dtype.itemsize:
        raise ValueError(f"'{name}' of shape {shape} stands at {start} … {stop} of {len(body)}")
    if not count:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(body[start:stop], dtype=dtype).reshape(shape).clone()


def _hint(name: str, choices: Mapping[str, Tensor]) -> str:
    close = suggest(name, choices)
    return f" (did you mean '{close}'?)" if close else ""


def _and(names: Sequence[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
