"""The names that generated code uses: classes, attributes, local variables, globals."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable, Sequence
from typing import Final

from torch import nn

__all__ = ["RESERVED", "Scope", "attribute", "class_name", "is_plain"]

RESERVED: Final = frozenset(
    {
        "OrderedDict",
        "Sequence",
        "Tensor",
        "annotations",
        "copy",
        "math",
        "nn",
        "self",
        "torch",
    }
)
"""Names that generated code uses itself."""

_AMBIGUOUS: Final = frozenset({"l", "O", "I"})
"""Variables that linters take for digits."""

_ATTRIBUTES: Final = frozenset(dir(nn.Module())) | {"training"}


class Scope:
    """Names that are taken in one piece of code; gives readable ones that are not."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {*taken, *RESERVED, *_AMBIGUOUS}
        self.taken = frozenset({*self._taken, *dir(builtins)})
        """What was taken before any name was chosen."""

    def choose_of(self, names: Sequence[str]) -> str:
        """Return the first of several names that is free as it is, else one like the last.

        Example:
            >>> Scope({"x"}).choose_of(["x", "class", "h"])
            'h'
        """
        free = (n for n in names if n.isidentifier() and self._free(n))
        return self.choose(next(free, names[-1]))

    def _free(self, name: str) -> bool:
        taken = name in self._taken or keyword.iskeyword(name) or hasattr(builtins, name)
        return name.isascii() and not taken

    def choose(self, name: str) -> str:
        """Return an identifier like `name` that nothing else in the scope has.

        Example:
            >>> scope = Scope()
            >>> [scope.choose(name) for name in ("y~1", "y.1", "0", "class")]
            ['y_1', 'y_1_', 'x0', 'class_']
        """
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "x"
        if plain[0].isdigit():
            plain = f"x{plain}"
        if name.isidentifier() and name.isascii():
            plain = name  # as it is, leading underscores too
        while not self._free(plain):
            plain += "_"
        self._taken.add(plain)
        return plain


def class_name(name: str) -> str:
    """Return a network's name in CamelCase.

    Example:
        >>> class_name("scaled_residual"), class_name("resnet-50"), class_name("3 layers")
        ('ScaledResidual', 'Resnet50', 'Net3Layers')
    """
    words = re.findall(r"[A-Za-z0-9]+", name)
    camel = "".join(word[0].upper() + word[1:] for word in words) or "Net"
    if camel[0].isdigit():
        camel = f"Net{camel}"
    taken = camel in RESERVED or keyword.iskeyword(camel) or hasattr(builtins, camel)
    return f"{camel}Net" if taken else camel


def is_plain(name: str) -> bool:
    """Whether `self.name` can be written."""
    return name.isidentifier() and name.isascii() and not keyword.iskeyword(name)


def attribute(name: str) -> str:
    """Return the attribute that holds a number called `name`: not one that `nn.Module` has."""
    return f"{name}_" if name in _ATTRIBUTES else name
