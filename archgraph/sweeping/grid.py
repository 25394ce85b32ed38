"""Grids of settings: `lam=0.5,1,1.1`, `depth=2:20:4`, and all their combinations.

A comma separates values, and `start:stop:step` is a range that includes its stop. What stands in
brackets or quotes is not cut, so a value may be a list or an op with arguments: `depths=[3, 4]` is
one value, `depths=[3, 4],[3, 8]` are two, and so are `act=LeakyReLU(0.1, False),ReLU`.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from archgraph.errors import UsageError, suggest
from archgraph.spec.load import parse_setting
from archgraph.spec.tree import plain_number

__all__ = ["Axis", "Grid", "Settings", "make_grid", "parse_grid", "value_text"]

Settings = tuple[tuple[str, Any], ...]
"""The values of one point of a grid, by param, in the order of the grid."""

MOST_VALUES: Final = 10_000
"""Of one param."""
MOST_POINTS: Final = 1_000_000
_OPEN, _CLOSED, _QUOTES = "([{", ")]}", "'\""


@dataclass(frozen=True, slots=True)
class Axis:
    """A param and the values that it takes."""

    name: str
    values: tuple[Any, ...]

    @property
    def varies(self) -> bool:
        """Whether there is more than one value."""
        return len(self.values) > 1


@dataclass(frozen=True, slots=True)
class Grid:
    """All combinations of the values of some params; the last param varies fastest."""

    axes: tuple[Axis, ...] = ()

    def __len__(self) -> int:
        return math.prod(len(axis.values) for axis in self.axes)

    def __iter__(self) -> Iterator[Settings]:
        names = [axis.name for axis in self.axes]
        for values in itertools.product(*(axis.values for axis in self.axes)):
            yield tuple(zip(names, values, strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        """The params, in order."""
        return tuple(axis.name for axis in self.axes)

    @property
    def varying(self) -> tuple[Axis, ...]:
        """The params that take more than one value."""
        return tuple(axis for axis in self.axes if axis.varies)

    def problems(self, declared: Iterable[str], where: str) -> list[str]:
        """Return what is wrong with the names, given those that a spec declares.

        Args:
            declared: The spec's params.
            where: How messages call the spec.
        """
        known = list(declared)
        found = []
        for name in self.names:
            if name not in known:
                close = suggest(name, known)
                has = f"it has {', '.join(known)}" if known else "it has none"
                hint = f"did you mean {close!r}?" if close else has
                found.append(f"{where} has no param {name!r}; {hint}")
        return found


def parse_grid(
    settings: Sequence[str], *, declared: Iterable[str] | None = None, where: str = "the spec"
) -> Grid:
    """Return the grid that `--set` options mean.

    Args:
        settings: Each `name=values`; values are read as YAML 1.2, decimals exactly. Values are
            separated by commas; `2:20:4` counts from 2 to 20 in steps of 4, `2:20` in steps of 1,
            `16:256:*2` multiplies by 2.
        declared: The params that there are; by default any name will do.
        where: How messages call what declares them.

    Raises:
        UsageError: with everything that is wrong.

    Example:
        >>> grid = parse_grid(["lam=0.5,1", "depth=2:10:4", "depths=[3, 4]"])
        >>> [len(axis.values) for axis in grid.axes], len(grid)
        ([2, 3, 1], 6)
        >>> parse_grid(["lam=0:0.3:0.1"]).axes[0].values
        (0, Fraction(1, 10), Fraction(1, 5), Fraction(3, 10))
    """
    problems: list[str] = []
    axes: dict[str, Axis] = {}
    for setting in settings:
        try:
            axis = _parse_axis(setting)
        except UsageError as error:
            problems.append(str(error))
            continue
        if axis.name in axes:
            problems.append(f"--set {axis.name} stands there twice; put all its values into one")
        axes[axis.name] = axis
    grid = Grid(tuple(axes.values()))
    problems += [] if declared is None else grid.problems(declared, where)
    return _checked(grid, problems)


def make_grid(axes: Mapping[str, Any]) -> Grid:
    """Return a grid from Python values: by param one value, or a sequence of them.

    A list or range is a sequence of values; a list param takes a list of lists.

    Raises:
        UsageError: with everything that is wrong.

    Example:
        >>> len(make_grid({"lam": [0.5, 1], "depth": range(2, 11, 4), "width": 8}))
        6
    """
    found: list[Axis] = []
    problems: list[str] = []
    for name, given in axes.items():
        several = isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping)
        values = tuple(map(_plain, given if several else [given]))
        problems += _wrong_values(name, values)
        found.append(Axis(name, values))
    return _checked(Grid(tuple(found)), problems)


def value_text(value: Any) -> str:
    """Return a param's value as a person writes it, and as it is told from other values.

    Example:
        >>> value_text(Fraction(1, 2)), value_text([3, Fraction(1, 3)]), value_text("ReLU")
        ('0.5', '[3, 1/3]', 'ReLU')
    """
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, Fraction):
        number = float(value)
        return repr(number) if Fraction(repr(number)) == value else str(value)
    return str(value)


def _plain(value: Any) -> Any:
    """Return a value as a spec would hold it; 1.0 is 1, so that both are one point."""
    value = plain_number(value)
    whole = isinstance(value, Fraction) and value.denominator == 1
    return value.numerator if whole else value


def _checked(grid: Grid, problems: list[str]) -> Grid:
    if not problems and len(grid) > MOST_POINTS:
        problems.append(f"the grid has {len(grid):,} points; {MOST_POINTS:,} are the most")
    if problems:
        raise UsageError("\n".join(problems))
    return grid


def _parse_axis(setting: str) -> Axis:
    name, equals, text = setting.partition("=")
    name = name.strip()
    if not equals or not name:
        raise UsageError(f"--set takes name=values, not {setting!r}")
    values: list[Any] = []
    for part in _split(text, ","):
        if not part.strip():
            raise UsageError(f"--set {setting}: there is an empty value between the commas")
        ends = _split(part, ":")
        one = len(ends) == 1
        values += [_plain(parse_setting(f"{name}={part}")[1])] if one else _range(setting, ends)
    wrong = _wrong_values(name, tuple(values))
    if wrong:
        raise UsageError("\n".join(wrong))
    return Axis(name, tuple(values))


def _wrong_values(name: str, values: tuple[Any, ...]) -> list[str]:
    if not values:
        return [f"{name} has no values"]
    if len(values) > MOST_VALUES:
        return [f"{name} has {len(values):,} values; {MOST_VALUES:,} are the most"]
    counts = Counter(map(value_text, values))
    return [f"{name} has the value {text} twice" for text, count in counts.items() if count > 1]


def _split(text: str, separator: str) -> list[str]:
    """Cut text where a separator stands outside brackets and quotes."""
    parts, start, depth, quote = [], 0, 0, ""
    for i, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in _QUOTES:
            quote = character
        elif character in _OPEN:
            depth += 1
        elif character in _CLOSED:
            depth -= 1
        elif character == separator and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


def _range(setting: str, ends: list[str]) -> list[Any]:
    """Return the values of `start:stop`, `start:stop:step` or `start:stop:*factor`."""
    shown = ":".join(ends)
    factor = len(ends) == 3 and ends[2].strip().startswith("*")
    texts = [end.strip().removeprefix("*") if i == 2 else end for i, end in enumerate(ends)]
    numbers = [parse_setting(f"x={text}")[1] for text in texts]
    right = (int, Fraction)
    if len(ends) > 3 or not all(isinstance(n, right) and n is not True for n in numbers):
        raise UsageError(
            f"--set {setting}: {shown!r} is no range start:stop, start:stop:step or "
            "start:stop:*factor of numbers"
        )
    start, stop, step = numbers if len(numbers) == 3 else (*numbers, 1)
    if factor:
        ok = start > 0 and stop > 0 and step > 0 and step != 1
        ok = ok and (start == stop or (stop > start) == (step > 1))
    else:
        ok = step != 0 and (start == stop or (stop > start) == (step > 0))
    if not ok:
        raise UsageError(f"--set {setting}: the range {shown!r} never gets to its stop")
    return [_plain(value) for value in _steps(start, stop, step, factor=factor)]


def _steps(start: Any, stop: Any, step: Any, *, factor: bool) -> Iterator[Any]:
    value, upwards = start, stop >= start
    for _ in range(MOST_VALUES + 1):
        if (value > stop) if upwards else (value < stop):
            return
        yield value
        value = value * step if factor else value + step
