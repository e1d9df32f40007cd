"""Accounts of a case as a page: timelines of the tasks, or lists of events where there are none."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from rich.text import Text

from conformance.case.wire import one_line
from conformance.observe.trace import Event
from conformance.report.accounts import Told, parting
from conformance.report.symbols import Symbols
from conformance.report.task_marks import TaskReader, has_tasks
from conformance.report.timeline import LEGEND, Timeline, lay_out, point_out
from conformance.report.window import CONTEXT, Window

__all__ = ["draw"]

_WIDEST: Final = 400
_NARROWEST: Final = 40
_BESIDE: Final = 72
"""Columns that a panel needs for standing beside another one."""
_GAP: Final = 3
_LONGEST: Final = 400
"""Letters of an event, or of anything that a backend says."""
_NUMBER: Final = 6
_TITLE: Final = "bold"
_MARKED: Final = "bold red"

_Panel = list[Text]
"""The lines of one account."""


_Renderer = Callable[[Sequence[Told], range, int], Iterator[list[_Panel]]]
"""Of accounts, the events to show and the columns of a panel, makes stretches of events, one below
the other; of each, a panel for each account."""


def draw(accounts: Sequence[Told], shown: Window, symbols: Symbols, width: int) -> Iterator[Text]:
    """A page, line by line: what all have in common once, then each account from where they part.

    Args:
        symbols: the image's, for instruction pointers.
        width: columns of the terminal.
    """
    width = min(max(width, _NARROWEST), _WIDEST)
    mark = parting(accounts)
    if mark is not None and mark >= shown.end:
        mark = None
    tasks = any(has_tasks(event) for account in accounts for event in account.events)
    render = partial(_timelines if tasks else _lists, mark=mark, symbols=symbols)
    cut = shown.end if mark is None else max(shown.first, mark - CONTEXT)
    if mark is None or shown.first < cut:
        everybody = dict.fromkeys(name for account in accounts for name in account.names)
        ending = f": {_ending(accounts[0])}" if len(accounts) == 1 else ""
        yield from _lines(", ".join(everybody) + ending, width, _TITLE)
        for (panel,) in render(accounts[:1], range(shown.first, cut), width):
            yield from panel
            yield Text()
    if mark is not None:
        if mark >= shown.first:
            yield from _lines(f"first difference: event {mark}", width, _MARKED)
        yield from _apart(accounts, render, range(cut, shown.end), width)
    if mark is not None and tasks and mark >= shown.first:
        for account in accounts:
            yield from _lines(f"> {', '.join(account.names)}:", width, _TITLE)
            yield from _lines(f"  {_in_full(account, mark, symbols)}", width, indent=4)
        yield Text()
    if tasks:
        yield from _lines(LEGEND, width, "dim")
    if str(shown):
        yield from _lines(str(shown), width, "dim")


def _apart(accounts: Sequence[Told], render: _Renderer, shown: range, width: int) -> Iterator[Text]:
    """Panels side by side if the terminal is wide enough, otherwise one below the other."""
    each = (width - _GAP * (len(accounts) - 1)) // len(accounts)
    beside = each >= _BESIDE
    each = each if beside else width
    titles = [
        list(_lines(f"{', '.join(account.names)}: {_ending(account)}", each, _TITLE))
        for account in accounts
    ]
    for panels in render(accounts, shown, each):
        titled = [[*title, *panel, Text()] for title, panel in zip(titles, panels, strict=True)]
        if beside:
            yield from (_joined(row, each) for row in itertools.zip_longest(*titled))
        else:
            yield from itertools.chain(*titled)


def _joined(cells: Sequence[Text | None], width: int) -> Text:
    line = Text()
    for number, cell in enumerate(cells):
        line.append(" " * (number * (width + _GAP) - len(line.plain)))
        line.append_text(cell or Text())
    line.rstrip()
    return line


def _timelines(
    accounts: Sequence[Told], shown: range, width: int, *, mark: int | None, symbols: Symbols
) -> Iterator[list[_Panel]]:
    """Accounts with tasks."""
    told = []
    for account in accounts:
        reader = TaskReader(symbols)
        marks = [reader.read(event) for event in account.events]
        if mark is not None and len(accounts) > 1:
            marks = list(point_out(marks, mark))
        told.append(marks)
    drawings = [Timeline(marks, mark) for marks in told]
    for band in lay_out(told, shown.start, shown.stop, width):
        yield [drawing.draw(band) for drawing in drawings]


def _lists(
    accounts: Sequence[Told], shown: range, width: int, *, mark: int | None, symbols: Symbols
) -> Iterator[list[_Panel]]:
    """Accounts without tasks, in a single stretch."""
    panels: list[_Panel] = [[] for _ in accounts]
    for index in shown:
        marked = index == mark
        number = f"{'> ' if marked else ''}{index}"
        for account, panel in zip(accounts, panels, strict=True):
            if marked or index < len(account.events):
                line = f"{number:>{_NUMBER}}  {_in_full(account, index, symbols)}"
                panel += _lines(line, width, _MARKED if marked else "", indent=_NUMBER + 4)
    yield panels


def _in_full(account: Told, index: int, symbols: Symbols) -> str:
    if index < len(account.events):
        event: Event = account.events[index]
        return symbols.line(event)
    return f"(nothing: {_ending(account)})"


def _ending(account: Told) -> str:
    detail = f" ({account.detail})" if account.detail else ""
    return f"{account.outcome}, {len(account.events)} events{detail}"


def _lines(text: str, width: int, style: str = "", indent: int = 2) -> Iterator[Text]:
    """Lines of printable text; those after the first are indented."""
    bounded = one_line(text[:_LONGEST])
    margin = " " * (len(bounded) - len(bounded.lstrip()))
    wrapped = textwrap.wrap(
        bounded.lstrip(),
        width,
        initial_indent=margin,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
    )
    for line in wrapped:
        yield Text(line, style)
