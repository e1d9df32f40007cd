"""The first difference, as text for people and as data for programs."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conformance.judge.compare import ORACLE, UNTRACED, Account, Compared, Difference, How
from conformance.judge.fields import differing_fields
from conformance.judge.verdict import Verdict
from conformance.observe.observation import Observation, StateDigest
from conformance.observe.trace import Event
from conformance.protocol import PROTOCOL
from conformance.report.symbols import Symbols

__all__ = ["as_json", "show"]

_WIDTH = 100
_MARGIN = 6
_GAP = 3
_BLOCK = (_WIDTH - _MARGIN - _GAP) // 2
_SHA256_DIGITS = 16


@dataclass(frozen=True, slots=True)
class _Side:
    """One column: what its members show where they first differ from another side.

    Attributes:
        title: the members' names.
        event: what stands there; None where nothing does.
        note: what to say then.
        extra: lines to add, as (name, text).
    """

    title: str
    event: Event | None
    note: str = ""
    extra: tuple[tuple[str, str], ...] = ()

    def line(self, symbols: Symbols) -> str | None:
        """All of it on one line; None where nothing stands."""
        if self.event is None:
            return None
        extra = (f"{name}={text}" for name, text in self.extra)
        return " ".join([symbols.line(self.event), *extra])


def show(
    verdict: Verdict,
    observations: Sequence[Observation],
    symbols: Symbols | None = None,
    context: int = 5,
) -> str:
    """The first difference with up to `context` events before it, a column for each side.

    Instruction pointers are shown with the image's `symbols`. What differs is marked with `>`. At
    most 100 columns; ends with a newline. Where there is no difference to show, the verdict's
    reason.
    """
    difference = verdict.difference
    if difference is None:
        return "\n".join(_wrap(verdict.reason, _WIDTH)) + "\n"
    symbols = symbols or Symbols()
    accounts = _accounts(verdict, observations)
    sides = _sides(verdict, difference, accounts)
    lines = _wrap(f"first difference: {_place(difference)}", _WIDTH)
    before = _context(difference, accounts, context)
    if before and difference.index is None:
        lines.extend(_wrap(f"the last events of {difference.names[1]}:", _WIDTH))
    for number, event in before:
        first, *others = _wrap(symbols.line(event), _WIDTH - _MARGIN - 2)
        lines.append(f"{number:>{_MARGIN}}  {first}")
        lines.extend(" " * (_MARGIN + 2) + other for other in others)
    lines.extend(_columns([_block(side, sides[0], difference, symbols) for side in sides]))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def as_json(
    verdict: Verdict,
    observations: Sequence[Observation],
    symbols: Symbols | None = None,
    context: int = 5,
) -> dict[str, object] | None:
    """The same as plain data; None where there is no difference to show."""
    difference = verdict.difference
    if difference is None:
        return None
    symbols = symbols or Symbols()
    accounts = _accounts(verdict, observations)
    sides = _sides(verdict, difference, accounts)
    return {
        "index": difference.index,
        "compared": str(difference.compared),
        "how": str(difference.how),
        "context": [symbols.line(event) for _, event in _context(difference, accounts, context)],
        "sides": {side.title: side.line(symbols) for side in sides},
        "fields": {field.name: field.how for field in difference.fields},
    }


def _accounts(
    verdict: Verdict, observations: Sequence[Observation]
) -> dict[str, tuple[Account, str]]:
    """Each account and its outcome's detail, by name."""
    accounts = {each.backend: (Account.observed(each), each.detail) for each in observations}
    if verdict.expectation is not None:
        accounts[ORACLE] = (Account.expected(verdict.expectation), "")
    return accounts


def _place(difference: Difference) -> str:
    if difference.compared is Compared.OUTCOME:
        return "how the run ended"
    if difference.compared is Compared.STATE:
        return f"memory at the end, {_region(difference)}, read from outside"
    if difference.compared is Compared.KERNEL_TRACE:
        return f"event {difference.index}, the kernel's own record of its memory"
    if difference.compared is Compared.MACHINE_RECORD:
        if difference.index is None:
            return "after the last fault that the kernel recorded"
        return f"event {difference.index}, the kernel's record of what the machine recorded too"
    return f"event {difference.index} of the trace"


def _region(difference: Difference) -> str:
    event = difference.right if difference.left is None else difference.left
    assert event is not None
    return PROTOCOL.enums["state_region"][event.fields["region"]]


def _context(
    difference: Difference, accounts: dict[str, tuple[Account, str]], context: int
) -> list[tuple[int, Event]]:
    """The events that came before, from the account that is under suspicion."""
    account = accounts[difference.names[1]][0]
    end = len(account.events) if difference.index is None else difference.index
    start = max(0, end - max(0, context))
    return list(enumerate(account.events[start:end], start))


def _sides(
    verdict: Verdict, difference: Difference, accounts: dict[str, tuple[Account, str]]
) -> list[_Side]:
    if difference.compared is Compared.KERNEL_TRACE:
        name = difference.names[1]
        return [
            _Side(f"{name}: memory, read from outside", difference.left, "(not read)"),
            _Side(f"{name}: what the kernel says", difference.right),
        ]
    if difference.compared is Compared.MACHINE_RECORD:
        name = difference.names[1]
        return [
            _Side(f"{name}: the machine's own record", difference.left, "(nothing)"),
            _Side(f"{name}: what the kernel recorded", difference.right, "(nothing)"),
        ]
    sides = []
    for names in verdict.clusters:
        # A backend's account is whole, the oracle's may leave something open.
        name = next((name for name in names if name != ORACLE), ORACLE)
        sides.append(_side(", ".join(names), *accounts[name], difference))
    return sides


def _side(title: str, account: Account, detail: str, difference: Difference) -> _Side:
    if difference.compared is Compared.OUTCOME or account.outcome in UNTRACED:
        # An outcome has no event; its name stands in for one.
        return _Side(title, Event(str(account.outcome)), extra=_detail(detail))
    if difference.compared is Compared.STATE:
        region = _region(difference)
        digest = next((each for each in account.state if each.region == region), None)
        if digest is None:
            return _Side(title, None, "(not predicted)" if account.partial else "(not read)")
        return _Side(title, _event(digest), extra=(("sha256", digest.sha256[:_SHA256_DIGITS]),))
    assert difference.index is not None
    if difference.index < len(account.events):
        return _Side(title, account.events[difference.index])
    return _Side(title, None, "(nothing: the trace ends here)", (("outcome", account.outcome),))


def _event(digest: StateDigest) -> Event:
    region = PROTOCOL.code("state_region", digest.region)
    return Event("state", {"region": region, "words": digest.words, "checksum": digest.checksum})


def _detail(detail: str) -> tuple[tuple[str, str], ...]:
    return (("detail", detail),) if detail else ()


def _block(side: _Side, first: _Side, difference: Difference, symbols: Symbols) -> list[str]:
    """The lines of a column."""
    lines = _wrap(side.title, _BLOCK)
    lines.append("-" * max(len(line) for line in lines))
    marks = {field.name for field in difference.fields}
    rows: list[tuple[str, str]] = []
    if side.event is None:
        lines.extend(_wrap(f"> {side.note}", _BLOCK, indent=4))
    else:
        marks |= _marks(side.event, first.event, difference)
        lines.extend(_wrap(f"{'>' if 'kind' in marks else ' '} {side.event.kind}", _BLOCK))
        rows.extend((name, symbols.show(side.event, name)) for name in side.event.fields)
    rows.extend(side.extra)
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        mark = ">" if name in marks else " "
        lines.extend(_wrap(f"{mark}   {name:<{width}}  {text}", _BLOCK, indent=width + 6))
    return lines


def _marks(event: Event, other: Event | None, difference: Difference) -> set[str]:
    """`kind`, or the fields in which this event differs from the first column's."""
    if difference.compared is Compared.OUTCOME or difference.how is not How.FIELDS:
        return {"kind"}
    if other is None or event.kind != other.kind:
        return {"kind"}
    return {field.name for field in differing_fields(other, event)}


def _columns(blocks: Sequence[Sequence[str]]) -> Iterator[str]:
    """Blocks side by side, as many as fit, then the others below."""
    rows: list[list[Sequence[str]]] = []
    room = 0
    for block in blocks:
        width = max(len(line) for line in block) + _GAP
        if not rows or width > room:
            rows.append([])
            room = _WIDTH - _MARGIN + _GAP
        rows[-1].append(block)
        room -= width
    for row in rows:
        widths = [max(len(line) for line in block) for block in row]
        yield ""
        for cells in itertools.zip_longest(*row, fillvalue=""):
            pairs = zip(cells, widths, strict=True)
            yield " " * _MARGIN + (" " * _GAP).join(f"{cell:<{width}}" for cell, width in pairs)


def _wrap(text: str, width: int, indent: int = 2) -> list[str]:
    """Lines of printable text; those after the first are indented."""
    printable = "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
    lines = textwrap.wrap(printable, width, subsequent_indent=" " * indent, break_on_hyphens=False)
    return lines or [""]
