"""What the merge of several values is, or why they do not merge. Nothing here runs a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from archgraph.graph import Edge, Learnable
from archgraph.module.values import Shape, Value

__all__ = ["MergeError", "concat_axis", "merge", "scale_shape"]

Term = tuple[Edge, Value]


@dataclass
class MergeError(Exception):
    """The terms of a merge do not fit; `edge` is the one to point at."""

    code: str
    message: str
    why: str
    help: str | None = None
    edge: Edge | None = None


def merge(terms: Sequence[Term], axis: int | None = None) -> Value:
    """Return the merge of one port's terms.

    Args:
        terms: The edges into the port, in order, each with the value it reads.
        axis: Of a concat, from `concat_axis`.

    Raises:
        MergeError: the shapes do not fit, or integers are multiplied by a λ.
    """
    for edge, value in terms:
        if not value.is_float and not edge.scale.is_one:
            raise MergeError(
                "integer-scale",
                f"'{edge.target}' multiplies the integers of '{edge.source}' by {edge.scale}",
                "integers are looked up or counted; only floating-point values are scaled",
                "read them through an Embedding first",
                edge,
            )
    first = terms[0][1]
    if len(terms) == 1:
        return first
    kind = terms[0][0].kind
    if kind == "concat":
        assert axis is not None
        shape = _concat_shape(terms, axis)
    elif kind == "multiply":
        shape = _product_shape(terms)
    else:
        shape = _sum_shape(terms)
    dtype = next((v.dtype for _, v in terms if v.is_float), first.dtype)
    channel = next((v.channel_axis for _, v in terms if v.channel_axis is not None), None)
    batched = any(v.batched for _, v in terms)
    return replace(first, shape=shape, dtype=dtype, channel_axis=channel, batched=batched)


def concat_axis(terms: Sequence[Term], dim: int | None) -> int:
    """Return the axis of a concat, batch counted, counted from the front.

    Args:
        terms: The edges into the port, in order, each with the value it reads.
        dim: The axis as the spec gives it; None is the channel axis.

    Raises:
        MergeError: the axis does not exist, is the batch, or is not known.
    """
    edge, first = terms[0]
    rank = len(first.shape) + 1
    if dim is not None:
        if dim % rank == 0 or not -rank <= dim < rank:
            raise MergeError(
                "concat-axis",
                f"'{edge.target}' concatenates along axis {dim} of {first} from '{edge.source}'",
                "axis 0 is the batch, so these values have the axes "
                f"1 … {rank - 1}, or -1 … {1 - rank} from the back",
                edge=edge,
            )
        return dim % rank
    known = {v.channel_axis for _, v in terms if v.channel_axis is not None}
    if len(known) == 1:
        return known.pop()
    reads = " and ".join(f"{v} from '{e.source}'" for e, v in terms[:2])
    raise MergeError(
        "unknown-axis",
        f"'{edge.target}' concatenates {reads}, and which axis holds the channels is "
        + ("not known" if not known else "not the same in all"),
        "the default axis of a concat is that of the channels, which the layer before sets",
        "give dim: concat(…, dim=1) for channels before pixels, dim=-1 for the last axis",
        edge,
    )


def scale_shape(edge: Edge, learn: Learnable, value: Value) -> Shape:
    """Return the shape of the parameter that a learnable λ is, or is an element of.

    Args:
        edge: The edge that it scales.
        learn: The λ.
        value: What the edge reads.

    Raises:
        MergeError: it is one for each channel of a value whose channel axis is not known, or an
            element that the parameter does not have.
    """
    shape: Shape = ()
    if learn.per == "channel":
        if value.channel_axis is None:
            raise MergeError(
                "unknown-axis",
                f"'{learn.name}' has a number per channel of '{edge.source}', whose channel "
                "axis is not known",
                "the channel axis is set by the layer before, such as a convolution",
                "use one number for all: learn(0)",
                edge,
            )
        axis = value.channel_axis
        shape = (value.shape[axis - 1], *(1 for _ in value.shape[axis:]))
    if learn.index is None:
        return shape
    if learn.count is None or not 0 <= learn.index < learn.count:
        raise MergeError(
            "no-element",
            f"'{learn.name}' has {learn.count} elements, and no element {learn.index}",
            "an element of a vector is counted from 0",
            edge=edge,
        )
    return (learn.count, *shape)


def _sum_shape(terms: Sequence[Term]) -> Shape:
    base, first = terms[0]
    for edge, value in terms[1:]:
        if value.shape != first.shape:
            raise MergeError(
                "shape-mismatch",
                f"'{edge.target}' adds {first} from '{base.source}' and {value} from"
                f" '{edge.source}'",
                "add is elementwise, so its terms must have one shape (batch axis excluded)",
                _sum_help(first, value),
                edge,
            )
    return first.shape


def _sum_help(first: Value, other: Value) -> str | None:
    """Say which layer would make the shapes equal, where one would."""
    if len(first.shape) != len(other.shape):
        return None
    differing = [i for i, (a, b) in enumerate(zip(first.shape, other.shape, strict=True)) if a != b]
    if len(differing) > 1:
        return None
    place = differing[0]
    joined = list(first.shape)
    joined[place] += other.shape[place]
    size, last = first.shape[place], len(first.shape) - 1
    if place == last and (first.channel_axis or other.channel_axis or last + 1) == last + 1:
        layer = f"Linear({size})"
    elif place == 0 and 1 <= last <= 3:
        layer = f"Conv{last}d({size}, 1)"
    else:
        return None
    return f"put {layer} on the skip, or use concat, which would give {tuple(joined)}"


def _product_shape(terms: Sequence[Term]) -> Shape:
    base, first = terms[0]
    shape = first.shape
    for edge, value in terms[1:]:
        fits = len(value.shape) == len(shape) and all(
            a == b or 1 in (a, b) for a, b in zip(shape, value.shape, strict=True)
        )
        if not fits:
            raise MergeError(
                "shape-mismatch",
                f"'{edge.target}' multiplies {shape} from '{base.source}' and {value} from"
                f" '{edge.source}'",
                "a product is elementwise: each axis must have one size, or size 1 in one factor",
                edge=edge,
            )
        shape = tuple(max(a, b) if a and b else 0 for a, b in zip(shape, value.shape, strict=True))
    return shape


def _concat_shape(terms: Sequence[Term], axis: int) -> Shape:
    base, first = terms[0]
    for edge, value in terms[1:]:
        fits = len(value.shape) == len(first.shape) and all(
            a == b or i + 1 == axis
            for i, (a, b) in enumerate(zip(first.shape, value.shape, strict=True))
        )
        if not fits:
            raise MergeError(
                "shape-mismatch",
                f"'{edge.target}' concatenates {first} from '{base.source}' and {value} from"
                f" '{edge.source}' along axis {axis}",
                "all axes but the one of the concat must have equal sizes"
                " (the batch is axis 0, and is not shown)",
                _other_axis(terms),
                edge,
            )
    total = sum(value.shape[axis - 1] for _, value in terms)
    return (*first.shape[: axis - 1], total, *first.shape[axis:])


def _other_axis(terms: Sequence[Term]) -> str | None:
    """Name the axis along which the terms would fit, if there is just one."""
    shapes = [value.shape for _, value in terms]
    if len({len(shape) for shape in shapes}) > 1:
        return None
    differing = [i + 1 for i, sizes in enumerate(zip(*shapes, strict=True)) if len(set(sizes)) > 1]
    if len(differing) != 1:
        return None
    return f"along axis {differing[0]} they would fit: dim={differing[0]}"
