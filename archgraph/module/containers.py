"""The text of what holds several modules: `nn.Sequential`, `nn.ModuleList`, `nn.ModuleDict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archgraph.module import text as python
from archgraph.module.classes import names_pattern
from archgraph.module.expressions import names_in, substitute
from archgraph.module.names import is_plain

__all__ = ["Element", "is_counted", "mapping", "sequence", "sequential"]


@dataclass(frozen=True, slots=True)
class Element:
    """The text of one module, or of all modules from `start` to `stop`, which may name `i`."""

    text: str
    start: int | None = None
    stop: str = ""

    @property
    def is_run(self) -> bool:
        """Whether it stands for several."""
        return self.start is not None

    def clause(self, *, counts: bool = False) -> str:
        """Return `for i in range(…)`; `counts` says that `i` is used elsewhere too."""
        if counts or "i" in names_in(self.text):
            bounds = f"{self.start}, {self.stop}" if self.start else self.stop
            return f"for i in range({bounds})"
        return f"for _ in range({substitute(f'stop - {self.start}', {'stop': self.stop})})"


def is_counted(names: Sequence[str]) -> bool:
    """Whether names are 0, 1, 2, …, as `nn.Sequential` gives them."""
    return list(names) == [str(i) for i in range(len(names))]


def sequential(names: Sequence[str], elements: Sequence[Element]) -> str:
    """Return the text of an `nn.Sequential`."""
    if is_counted(names):
        texts = [f"*({e.text} {e.clause()})" if e.is_run else e.text for e in elements]
        return python.call("nn.Sequential", texts)
    if not any(element.is_run for element in elements) and all(map(is_plain, names)):
        items = [f"{name}={e.text}" for name, e in zip(names, elements, strict=True)]
        return f"nn.Sequential({python.call('OrderedDict', items)})"
    pairs = _pairs(names, elements, "({}, {})")
    if len(elements) == 1 and elements[0].is_run:
        return f"nn.Sequential(OrderedDict({pairs[0][2:-1]}))"
    return f"nn.Sequential(OrderedDict([{', '.join(pairs)}]))"


def sequence(elements: Sequence[Element]) -> str:
    """Return the text of an `nn.ModuleList`."""
    if len(elements) == 1 and elements[0].is_run:
        return f"nn.ModuleList({elements[0].text} {elements[0].clause()})"
    texts = [f"*({e.text} {e.clause()})" if e.is_run else e.text for e in elements]
    return f"nn.ModuleList([{', '.join(texts)}])"


def mapping(names: Sequence[str], elements: Sequence[Element]) -> str:
    """Return the text of an `nn.ModuleDict`."""
    if len(elements) == 1 and elements[0].is_run:
        (pair,) = _pairs(names, elements, "{}: {}")
        return f"nn.ModuleDict({{{pair[2:-1]}}})"
    pairs = []
    position = 0
    for element in elements:
        if element.is_run:
            (pair,) = _pairs(names, [element], "{}: {}")
            pairs.append(f"**{{{pair[2:-1]}}}")
        else:
            pairs.append(f'"{names[position]}": {element.text}')
            position += 1
    return f"nn.ModuleDict({{{', '.join(pairs)}}})"


def _pairs(names: Sequence[str], elements: Sequence[Element], form: str) -> list[str]:
    """Return names and modules side by side; a run as `*(… for i in range(…))`."""
    pairs = []
    position = 0
    for element in elements:
        if element.is_run:
            pair = form.format(_formatted(names), element.text)
            pairs.append(f"*({pair} {element.clause(counts=True)})")
        else:
            pairs.append(form.format(f'"{names[position]}"', element.text))
            position += 1
    return pairs


def _formatted(names: Sequence[str]) -> str:
    """Return the text of the name of copy `i`."""
    pattern = names_pattern(tuple(names))
    assert pattern is not None, names
    before, first, after = pattern
    return f'f"{before}{{i{f" + {first}" if first else ""}}}{after}"'
