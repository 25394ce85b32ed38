"""A layer while its inputs are being collected."""

from __future__ import annotations

from dataclasses import dataclass, field

from archgraph.errors import Mark
from archgraph.ops.op import OpCall
from archgraph.spec.template import BlockCall
from archgraph.spec.values import Linear, Reading, TensorTerm

__all__ = ["Draft"]


@dataclass(slots=True)
class Draft:
    """What a layer calls, and what each of its ports reads so far."""

    name: str
    """Its own name, as the spec says it."""
    call: OpCall | BlockCall | None
    """None for a bare merge, and for a group."""
    mark: Mark
    bases: dict[str, Linear] = field(default_factory=dict)
    from_formula: set[str] = field(default_factory=set)
    """Ports whose base stands in the formula, which no chain or `sequential` edge replaces."""
    broken: bool = False
    """Whether a problem was reported for it, so that nothing more is said about its inputs."""

    @property
    def ports(self) -> tuple[str, ...]:
        """The inputs of what it calls."""
        if isinstance(self.call, BlockCall):
            return self.call.template.ports
        return tuple(p.name for p in self.call.op.ports) if self.call else ("input",)

    @property
    def needed(self) -> tuple[str, ...]:
        """The inputs that must read something."""
        if isinstance(self.call, OpCall):
            return tuple(p.name for p in self.call.op.ports if p.required)
        return self.ports

    @property
    def first_port(self) -> str:
        """The port that the chain feeds."""
        return self.ports[0] if self.ports else "input"

    @property
    def reads_nothing(self) -> bool:
        """Whether its op takes no tensor at all, as a `Parameter`."""
        return not self.ports

    @property
    def what(self) -> str:
        """What it calls, in words."""
        if isinstance(self.call, BlockCall):
            return f"block '{self.call.template.name}'"
        return self.call.op.name if self.call else "a merge"

    def read(self, reading: Reading) -> None:
        """Let the first port read one value."""
        self.bases[self.first_port] = Linear((TensorTerm(reading),))
