"""The scheduler's timeline: a row for each task, events from left to right.

Several accounts of one case are laid out together: an event has the same place in all of their
drawings, so that they can be compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from rich.text import Text

from conformance.report.task_marks import MAIN, Activity, Mark, task_name

__all__ = ["LEGEND", "Band", "Timeline", "lay_out", "point_out"]

LEGEND: Final = "= runs   . is ready   - waits   > first difference"

_ROWS: Final = 24
"""Of a drawing: a band in which more tasks do something ends sooner."""
_NARROWEST: Final = 24
"""Columns of events: a band never has fewer."""
_STEP: Final = 2
"""Columns between the beginnings of two events: no two begin in one place."""
_NAMES: Final = len("event ")
_STYLES: Final = {
    Activity.RUNNING: "green",
    Activity.READY: "yellow",
    Activity.WAITING: "dim",
}
_MARKED: Final = "bold red"


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of events that fits into the terminal's width.

    Attributes:
        first: the number of its first event.
        columns: where each event begins.
        width: columns that the band has.
    """

    first: int
    columns: list[int]
    width: int

    def places(self) -> zip[tuple[int, int]]:
        """The events' numbers, with their columns."""
        return zip(itertools.count(self.first), self.columns)


def point_out(marks: Sequence[Mark], index: int) -> tuple[Mark, ...]:
    """The marks with the one of a number pointed out; where there is none, that is said there."""
    before, after = tuple(marks[:index]), tuple(marks[index + 1 :])
    if index < len(marks):
        return (*before, replace(marks[index], text=f"> {marks[index].text}"), *after)
    return (*before, Mark(before[-1].task if before else MAIN, "> the trace has ended"))


def lay_out(
    timelines: Sequence[Sequence[Mark]], first: int, end: int, width: int
) -> tuple[Band, ...]:
    """The bands for the events from `first` up to, not including, `end`.

    Args:
        timelines: the accounts, each from its beginning.
        width: columns of the terminal, for the names of the tasks as well.
    """
    room = max(width - _NAMES, _NARROWEST)
    bands: list[Band] = []
    taken: list[dict[int, int]] = [{} for _ in timelines]  # columns, by row
    for index in range(first, end):
        present = [
            (rows, marks[index])
            for rows, marks in zip(taken, timelines, strict=True)
            if index < len(marks)
        ]
        columns = bands[-1].columns if bands else []
        column = max(
            [
                columns[-1] + _STEP if columns else 0,
                *(rows.get(each.task, 0) for rows, each in present),
            ]
        )
        longest = max((len(mark.text) for _, mark in present), default=0)
        crowded = any(len(rows) >= _ROWS and each.task not in rows for rows, each in present)
        if not bands or crowded or column + longest > room:
            bands.append(Band(index, [], room))
            for rows in taken:
                rows.clear()
            column = 0
        bands[-1].columns.append(column)
        for rows, mark in present:
            rows[mark.task] = column + len(mark.text) + 1
    return tuple(bands)


@dataclass(slots=True)
class _Row:
    """A task's line in a band: what it is doing from which column on, and its events."""

    doing: list[tuple[int, Activity]]
    events: list[tuple[int, str, bool]] = field(default_factory=list)

    def text(self, width: int) -> Text:
        """The line."""
        letters: list[tuple[str, str]] = []
        for (start, activity), (stop, _) in itertools.pairwise(
            [*self.doing, (width, Activity.ABSENT)]
        ):
            letters += [(str(activity), _STYLES.get(activity, ""))] * (stop - start)
        for column, words, marked in self.events:
            style = _MARKED if marked else ""
            letters[max(column - 1, 0) : column + len(words) + 1] = [
                *([(" ", "")] if column else []),
                *((letter, style) for letter in words),
                (" ", ""),
            ]
        line = Text()
        for style, run in itertools.groupby(letters[:width], key=lambda each: each[1]):
            line.append("".join(letter for letter, _ in run), style)
        return line


class Timeline:
    """One account's drawing, band by band.

    Args:
        marks: its events, from the beginning of the trace.
        marked: the number of the event to point out; None for none.
    """

    def __init__(self, marks: Sequence[Mark], marked: int | None = None) -> None:
        self._marks = marks
        self._marked = marked
        self._doing: dict[int, Activity] = {MAIN: Activity.RUNNING}
        self._next = 0

    def draw(self, band: Band) -> list[Text]:
        """The lines of a band that comes after those that were drawn before."""
        while self._next < min(band.first, len(self._marks)):
            self._doing.update(self._marks[self._next].then)
            self._next += 1
        places = [(index, column) for index, column in band.places() if index < len(self._marks)]
        rows = self._rows(places)
        end = 0
        for index, column in places:
            mark = self._marks[index]
            words = mark.text[: band.width - column]
            rows[mark.task].events.append((column, words, index == self._marked))
            end = max(end, column + len(words))
            for task, activity in mark.then.items():
                self._doing[task] = activity
                if task in rows:
                    rows[task].doing.append((column, activity))
        self._next = max(self._next, band.first + len(band.columns))
        if not places:
            return [Text("(the trace has ended)", "dim")]
        lines = [self._ruler(places)]
        for task in sorted(rows):
            line = Text.assemble((f"{task_name(task):<{_NAMES}}", "bold"), rows[task].text(end))
            line.rstrip()
            lines.append(line)
        hidden = sum(
            activity is not Activity.ABSENT and task not in rows
            for task, activity in self._doing.items()
        )
        if hidden:
            lines.append(Text(f"… and {hidden} more tasks that did nothing here", "dim"))
        return lines

    def _rows(self, places: Sequence[tuple[int, int]]) -> dict[int, _Row]:
        """The rows of a band: of those that do something, and while there is room of the others."""
        tasks = dict.fromkeys(self._marks[index].task for index, _ in places)
        others = [task for task, activity in self._doing.items() if activity is not Activity.ABSENT]
        for index, _ in places:
            others += self._marks[index].then
        for task in others:
            if len(tasks) < _ROWS:
                tasks.setdefault(task)
        return {task: _Row([(0, self._doing.get(task, Activity.ABSENT))]) for task in tasks}

    def _ruler(self, places: Sequence[tuple[int, int]]) -> Text:
        """The events' numbers, as many as there is room for; the marked one in any case."""
        numbers = {column: str(index) for index, column in places}
        marked = {column: f">{index}" for index, column in places if index == self._marked}
        line, taken = Text.assemble((f"{'event':<{_NAMES}}", "dim")), 0
        for column, number in (numbers | marked).items():
            ahead = next((each for each in marked if each > column), None)
            crowds = ahead is not None and column + len(number) >= ahead
            if column >= taken and not crowds:
                line.append(" " * (_NAMES + column - len(line.plain)))
                line.append(number, _MARKED if column in marked else "dim")
                taken = column + len(number) + 1
        return line
