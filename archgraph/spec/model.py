"""The shape of a spec as Pydantic models: which keys exist, and what kind of value each takes.

Meaning (names, formulas, shapes) is checked later; here a key is known or not, a value is of the
right kind or not.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from archgraph.numbers import is_finite

__all__ = [
    "BlockModel",
    "EdgeModel",
    "InputModel",
    "LayerModel",
    "LibraryModel",
    "LossModel",
    "SpecModel",
]


def _expects(what: str, *types: type) -> BeforeValidator:
    """Return a validator that accepts values of `types` as they are and names `what` it wants."""

    def accept(value: Any) -> Any:
        if isinstance(value, types) and (bool in types or not isinstance(value, bool)):
            if not isinstance(value, int | float | Fraction) or is_finite(value):
                return value
            raise PydanticCustomError("kind", "a finite number")
        raise PydanticCustomError("kind", "{what}", {"what": what})

    return BeforeValidator(accept)


Text: TypeAlias = Annotated[Any, _expects("text", str)]
Whole: TypeAlias = Annotated[Any, _expects("a whole number", int)]
Formula: TypeAlias = Annotated[
    Any, _expects("a formula such as Linear(64) or a + b", str, int, Fraction, float)
]
Expression: TypeAlias = Annotated[
    Any, _expects("a number or an expression", str, int, Fraction, float)
]
Condition: TypeAlias = Annotated[Any, _expects("an expression", str, int, Fraction, float, bool)]
Param: TypeAlias = Annotated[
    Any,
    _expects("a number, a list, an op or an expression", str, int, Fraction, float, list, bool),
]
Initialiser: TypeAlias = Annotated[
    Any, _expects("an initialiser or a number", str, int, Fraction, float)
]
Names: TypeAlias = Annotated[Any, _expects("a name or a list of names", str, list)]
Shape: TypeAlias = Annotated[
    list[Expression], _expects("a list of sizes, such as [3, 32, 32]", list)
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _from_short_form(key: str) -> BeforeValidator:
    def widen(value: Any) -> Any:
        return value if isinstance(value, dict) else {key: value}

    return BeforeValidator(widen)


class InputModel(_Strict):
    """An input: its shape without the batch axis; integers say their type and their bound."""

    shape: Shape
    dtype: Literal["float", "int64", "int32"] = "float"
    below: Expression | None = None


class LayerModel(_Strict):
    """A layer: a formula, a group of layers, or a bare merge of its edges if both are left out."""

    op: Formula | None = None
    layers: Layers | None = None
    edges: Edges = []
    from_: Text | None = Field(None, alias="from")
    repeat: Expression | None = None
    connect: Literal["sequential", "add", "concat"] | None = None
    names: Text | None = None
    share: Annotated[Any, _expects("true or the name of a layer", bool, str)] = None
    when: Condition | None = None
    init: Annotated[dict[str, Initialiser], _expects("a mapping of parameter names", dict)] = {}
    label: Text | None = None
    symbol: Text | None = None
    about: Text | None = None


class EdgeModel(_Strict):
    """An edge beside the chain."""

    from_: Names = Field(alias="from")
    to: Text
    kind: Literal["sequential", "add-skip", "add", "concat", "multiply"] = "sequential"
    scale: Expression = 1
    port: Text | None = None
    dim: Whole | None = None


Layers: TypeAlias = Annotated[
    dict[str, Annotated[LayerModel, _from_short_form("op")]],
    _expects("a mapping of names to formulas", dict),
]
Edges: TypeAlias = Annotated[list[EdgeModel], _expects("a list of edges", list)]
Outputs: TypeAlias = Annotated[Any, _expects("a list of names or a mapping", list, dict, str)]
Params: TypeAlias = Annotated[dict[str, Param], _expects("a mapping of names to values", dict)]


class BlockModel(_Strict):
    """A block: layers under a name, called like an op."""

    about: Text | None = None
    params: Params = {}
    inputs: Annotated[list[Text], _expects("a list of names", list)] = ["input"]
    layers: Layers
    edges: Edges = []
    outputs: Outputs = None


class LossModel(_Strict):
    """A summand of the loss; without an op a fixed random linear readout."""

    op: Formula | None = None
    of: Text | None = None
    scale: Expression = 1


Blocks: TypeAlias = Annotated[dict[str, BlockModel], _expects("a mapping of names to blocks", dict)]


class LibraryModel(_Strict):
    """A file of blocks, for `include`."""

    archgraph: Literal[1]
    about: Text | None = None
    blocks: Blocks


class SpecModel(_Strict):
    """A whole spec."""

    archgraph: Literal[1]
    name: Text | None = None
    about: Text | None = None
    include: Annotated[list[Text], _expects("a list of file names", list)] = []
    params: Params = {}
    inputs: Annotated[
        dict[str, Annotated[InputModel, _from_short_form("shape")]],
        _expects("a mapping of names to shapes", dict),
    ]
    blocks: Blocks = {}
    layers: Layers
    edges: Edges = []
    states: Annotated[list[Text], _expects("a list of names", list)] | None = None
    outputs: Outputs = None
    init: Annotated[dict[str, Initialiser], _expects("a mapping of parameter names", dict)] = {}
    tie: Annotated[dict[str, Text], _expects("a mapping of parameter names", dict)] = {}
    loss: Annotated[Any, _expects("a loss or a mapping of losses", str, dict)] = None
