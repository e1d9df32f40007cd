"""Which events of a trace are shown, where there are too many for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from conformance.errors import InvalidArgument
from conformance.report.accounts import Told, parting

__all__ = ["CONTEXT", "Window", "window"]

CONTEXT: Final = 8
"""Events before the first difference that are shown in any case."""

_LIMIT: Final = 200
"""Events that are shown, unless more are asked for."""
_AFTERWARDS: Final = 50
"""Events after the first difference, where there are too many."""
_START_UP: Final = "stacks"
"""The event that comes last before the operations."""


@dataclass(frozen=True, slots=True)
class Window:
    """The events to show: from `first` up to, not including, `end`, of so many."""

    first: int
    end: int
    total: int

    def __str__(self) -> str:
        """What is left out; empty if nothing is."""
        left_out = [
            f"{first} to {end - 1}" if end - first > 1 else str(first)
            for first, end in ((0, self.first), (self.end, self.total))
            if first < end
        ]
        if not left_out:
            return ""
        return f"not shown of {self.total} events: {', '.join(left_out)} (--from, --to)"


def window(accounts: Sequence[Told], first: int | None = None, end: int | None = None) -> Window:
    """What to show of accounts: all operations, or as much as is sensible around what differs.

    Args:
        first, end: what the user wants; None for whatever is sensible.

    Raises:
        InvalidArgument: there is no such event.
    """
    total = max(len(each.events) for each in accounts)
    mark = parting(accounts)
    total += mark == total  # a place to say so
    if first is not None and first >= total:
        raise InvalidArgument(f"--from {first}: there are only {total} events, from 0")
    if first is not None and end is not None and end <= first:
        raise InvalidArgument(f"--to {end}: expected a number above --from, which is {first}")
    stop = total if end is None else min(end, total)
    start = first
    if start is None:
        start = max(0, min(_operations(accounts), stop - 1))
        if mark is not None and mark < start:
            start = max(0, mark - CONTEXT)
        if stop - start > _LIMIT and end is not None:
            start = stop - _LIMIT
        elif stop - start > _LIMIT and mark is not None:
            start = max(start, min(mark + _AFTERWARDS, stop) - _LIMIT)
    if end is None:
        stop = min(stop, start + _LIMIT)
    return Window(start, stop, total)


def _operations(accounts: Sequence[Told]) -> int:
    """The number of the first event after start-up; 0 if the kernel never came that far."""
    kinds = [event.kind for event in accounts[0].events]
    return kinds.index(_START_UP) + 1 if _START_UP in kinds else 0
