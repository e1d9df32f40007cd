"""Lines: worlds that are still possible, each with the account of how it came to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from conformance.observe.trace import Event
from conformance.oracle.expectation import Choice, Rule
from conformance.oracle.worlds import Act, Performance, World, agreement, ways

__all__ = ["Line", "blame_ghosts", "continued"]

_MOST_WORLDS: Final = 16


@dataclass(slots=True)
class Line:
    """A world, and the account of how it came to be."""

    world: World
    events: list[Event] = field(default_factory=list)
    rules: dict[int, Rule] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)

    def copy(self) -> Line:
        """The same, to be continued by itself."""
        return Line(self.world, self.events.copy(), self.rules.copy(), self.choices.copy())

    def add(self, performance: Performance) -> None:
        """An operation was performed."""
        start = len(self.events)
        self.events += performance.events
        self.rules.update({start + index: rule for index, rule in performance.rules.items()})
        self.choices += [
            replace(choice, index=start + choice.index) for choice in performance.choices
        ]
        self.world = performance.world


def continued(kept: list[tuple[Line, Performance]]) -> list[Line]:
    """The lines, with one operation more."""
    lines: dict[object, Line] = {}
    for line, performance in kept:
        key = performance.world.key() if len(kept) > 1 else None
        if key not in lines and len(lines) < _MOST_WORLDS:
            lines[key] = line.copy() if len(kept) > 1 else line
            lines[key].add(performance)
    return list(lines.values())


def blame_ghosts(
    before: World, act: Act, performance: Performance, agreed: int, witness: Sequence[Event]
) -> None:
    """Where a translation that has been invalidated explains the witness, say by what it was.

    Args:
        before: the world that the operation began in.
        act: the operation.
        performance: what is expected of it.
        agreed: how many events the witness bears out.
        witness: what it shows.
    """
    if not before.caches.ghosts:
        return
    for haunted in ways(before, act, performance.number, witness, with_ghosts=True):
        if haunted.ghost and agreement(haunted.events, witness) == len(haunted.events):
            for index in range(agreed, len(performance.events)):
                performance.rules[index] = haunted.ghost
            return
