"""Pages: who tells what, which events are shown, and how they are put onto the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from scheduler_trace import TRACE, event

from conformance.errors import InvalidArgument
from conformance.judge.verdict import Status, Verdict
from conformance.observe.observation import Observation, Outcome
from conformance.observe.trace import Event, encode
from conformance.oracle.expectation import Expectation
from conformance.report.accounts import Told, expected, parting, told
from conformance.report.drawing import draw
from conformance.report.symbols import Symbols
from conformance.report.window import Window, window

EVIL = "\x1b[31mred\r\n\u202e" + "x" * 10_000
DAMAGED = (*TRACE[:24], event("resumed", task=2, stack=1, damaged=0x41), *TRACE[25:])
RIGHT = Told(("oracle", "bochs"), Outcome.COMPLETED, "", TRACE)
WRONG = Told(("qemu",), Outcome.PANICKED, "", DAMAGED[:26])


def observation(name: str, events: Sequence[Event], **more: object) -> Observation:
    return Observation(name, Outcome.COMPLETED, trace=encode(tuple(events)), **more)  # type: ignore[arg-type]


def verdict(events: Sequence[Event] | None = TRACE, status: Status = Status.DIVERGE) -> Verdict:
    expectation = None if events is None else Expectation(Outcome.COMPLETED, tuple(events))
    return Verdict(status, "because", expectation=expectation)


def lines(accounts: Sequence[Told], width: int = 72, **shown: int) -> list[str]:
    page = draw(accounts, window(accounts, **shown), Symbols(), width)
    return [line.plain for line in page]


def test_who_agrees_shares_an_account() -> None:
    seen = [observation("unicorn", TRACE), observation("qemu", DAMAGED), observation("b", TRACE)]
    right, wrong = told(verdict(), seen)
    assert (right.names, right.events) == (("oracle", "b", "unicorn"), TRACE)
    assert (wrong.names, wrong.events) == (("qemu",), DAMAGED)
    assert parting((right, wrong)) == 24


def test_an_oracle_that_nobody_follows_comes_first() -> None:
    accounts = told(verdict(), [observation("a", DAMAGED)])
    assert [each.names for each in accounts] == [("oracle",), ("a",)]
    assert [each.names for each in told(verdict(None), [observation("a", TRACE)])] == [("a",)]


def test_an_oracle_that_leaves_something_open_follows_all_who_agree() -> None:
    vague = [*TRACE[:24], Event("resumed", {"task": 2}), *TRACE[25:]]
    accounts = told(verdict(vague), [observation("a", TRACE), observation("b", DAMAGED)])
    assert [each.names for each in accounts] == [("oracle", "a"), ("oracle", "b")]
    assert parting(accounts) == 24


def test_who_agrees_in_another_way_agrees_too() -> None:
    refused = Observation("c", Outcome.REFUSED)
    seen = [observation("a", TRACE), observation("b", DAMAGED), refused]
    accounts = told(verdict(status=Status.AGREE), seen)
    assert [each.names for each in accounts] == [("oracle", "a"), ("oracle", "b"), ("c",)]


def test_what_is_not_compared_makes_no_other_account() -> None:
    # CR2 is whatever the last page fault left, of several.
    one, other = ([event("control", cr2=cr2)] for cr2 in (1, 2))
    assert len(told(verdict(None), [observation("a", one), observation("b", other)])) == 1


def test_accounts_may_part_at_the_very_end() -> None:
    dead = replace(RIGHT, outcome=Outcome.DEADLINE)
    assert parting((RIGHT, dead)) == len(TRACE)
    assert parting((RIGHT, replace(RIGHT, events=TRACE[:-1]))) == len(TRACE) - 1
    assert parting((RIGHT, RIGHT)) is None
    shown = window((RIGHT, dead))
    assert shown == Window(1, len(TRACE) + 1, len(TRACE) + 1)
    assert any("> the trace has ended" in line for line in lines((RIGHT, dead)))
    assert "  (nothing: deadline, 32 events)" in lines((RIGHT, dead))


def test_all_agree() -> None:
    page = lines((RIGHT,))
    assert page[0] == "oracle, bochs: completed, 32 events"
    assert page[1].split()[:2] == ["event", "1"]
    assert page[-2:] == [
        "= runs   . is ready   - waits   > first difference",
        "not shown of 32 events: 0 (--from, --to)",
    ]
    assert not any(">" in line for line in page[:-2])


def test_they_differ() -> None:
    page = lines((RIGHT, WRONG), first=20)
    assert (
        "\n".join(page)
        == """\
first difference: event 24
oracle, bochs: completed, 32 events
event 20     22           >24                     25     26
main  -------------------------------------------------------
1     = exit to 2: exit stack 0 back
2     woken mutex by 1 .. > resume ============== lock 4 exit

qemu: panicked, 26 events
event 20     22           >24                     25
main  --------------------------------------------------
1     = exit to 2: exit stack 0 back
2     woken mutex by 1 .. > resume DAMAGED ebx,gs lock 4

oracle, bochs: completed, 32 events
event 27              29       31
main  woken all by 2 .. resume completed
2       to main: exit stack 1 back

qemu: panicked, 26 events
(the trace has ended)

> oracle, bochs:
  resumed task=2 stack=1 damaged=0
> qemu:
  resumed task=2 stack=1 damaged=65

= runs   . is ready   - waits   > first difference
not shown of 32 events: 0 to 19 (--from, --to)"""
    )


def test_they_differ_side_by_side() -> None:
    first, *page = lines((RIGHT, WRONG), 160, first=24, end=30)
    assert first == "first difference: event 24"
    left, right = ([line[at : at + 78].rstrip() for line in page[:4]] for at in (0, 81))
    assert left == [
        "oracle, bochs: completed, 32 events",
        "event >24                     25     26   28            29",
        "main  -------------------------------- woken all by 2 ..............",
        "2     > resume ============== lock 4 exit to main: exit stack 1 back",
    ]
    assert right == [
        "qemu: panicked, 26 events",
        "event >24                     25",
        "main  ------------------------------",
        "2     > resume DAMAGED ebx,gs lock 4",
    ]


def test_three_accounts_beside_each_other_take_a_wide_terminal() -> None:
    third = Told(("unicorn",), Outcome.COMPLETED, "", (*TRACE[:24], *TRACE[25:]))
    accounts = (RIGHT, WRONG, third)
    heads = [line for line in lines(accounts, 222) if "qemu: panicked" in line]
    assert all("bochs" in line and "unicorn" in line for line in heads)
    assert "qemu: panicked, 26 events" in lines(accounts, 221)


def test_a_list_where_there_are_no_tasks() -> None:
    start = [event("counted", operation=number, free_frames=9) for number in range(12)]
    more = [*start, event("completed", operations=12)]
    less = [*start[:10], event("panic", reason="trace_full"), *start[11:]]
    same = Told(("oracle",), Outcome.COMPLETED, "", tuple(more))
    other = Told(("bochs",), Outcome.PANICKED, "", tuple(less))
    assert lines((same,), first=11) == [
        "oracle: completed, 13 events",
        "    11  counted operation=11 free_frames=9",
        "    12  completed operations=12",
        "",
        "not shown of 13 events: 0 to 10 (--from, --to)",
    ]
    page = lines((same, other))
    assert page[0] == "oracle, bochs"
    assert page[4] == "first difference: event 10"
    assert "  > 10  counted operation=10 free_frames=9" in page
    assert "  > 10  panic reason=trace_full detail=0" in page
    assert lines((same, other), end=10) == [
        "oracle, bochs",
        *(f"{number:>6}  counted operation={number} free_frames=9" for number in range(10)),
        "",
        "not shown of 13 events: 10 to 12 (--from, --to)",
    ]


@pytest.mark.parametrize("width", [1, 40, 72, 100, 160, 100_000])
@pytest.mark.parametrize("tasks", [True, False])
def test_no_page_is_wider_than_the_terminal(width: int, tasks: bool) -> None:
    accounts: tuple[Told, ...] = (RIGHT, WRONG)
    if not tasks:
        accounts = tuple(
            replace(each, events=tuple(event("counted") for _ in each.events)) for each in accounts
        )
    assert max(map(len, lines(accounts, width))) <= min(max(width, 40), 400)


def test_nothing_that_a_backend_says_steers_the_terminal() -> None:
    evil = replace(WRONG, detail=EVIL)
    for page in (lines((evil,)), lines((RIGHT, evil)), lines((RIGHT, evil), 200)):
        assert all(line.isprintable() for line in page)
        assert len("".join(page)) < 10_000
        assert any("\\x1b[31mred\\r\\n\\u202e" in line for line in page)


def long(count: int, mark: int | None = None) -> tuple[Told, ...]:
    events = [event("stacks"), *[event("counted")] * count]
    account = Told(("a",), Outcome.COMPLETED, "", tuple(events))
    if mark is None:
        return (account,)
    events[mark] = event("dumped")
    return account, Told(("b",), Outcome.COMPLETED, "", tuple(events))


@pytest.mark.parametrize(
    ("accounts", "wanted", "shown"),
    [
        (long(10), {}, (1, 11)),
        (long(10), {"first": 0}, (0, 11)),
        (long(10), {"first": 4, "end": 5}, (4, 5)),
        (long(10), {"end": 100}, (1, 11)),
        (long(10), {"end": 1}, (0, 1)),
        (long(1000), {}, (1, 201)),
        (long(1000), {"first": 500}, (500, 700)),
        (long(1000), {"first": 900}, (900, 1001)),
        (long(1000), {"first": 0, "end": 1000}, (0, 1000)),
        (long(1000), {"end": 900}, (700, 900)),
        (long(1000, 10), {}, (1, 201)),
        (long(1000, 500), {}, (350, 550)),
        (long(1000, 999), {}, (801, 1001)),
        (long(1000, 0), {}, (0, 200)),
    ],
)
def test_which_events_are_shown(
    accounts: tuple[Told, ...], wanted: dict[str, int], shown: tuple[int, int]
) -> None:
    found = window(accounts, **wanted)
    assert (found.first, found.end) == shown


def test_a_difference_in_start_up_is_shown() -> None:
    events = [event("map_end"), *[event("pass")] * 20, *TRACE]
    one = Told(("a",), Outcome.COMPLETED, "", tuple(events))
    events[12] = event("panic", reason="no_usable_frame")
    other = Told(("b",), Outcome.PANICKED, "", tuple(events[:13]))
    assert window((one, other)).first == 4


def test_of_nothing_nothing_is_shown() -> None:
    refused = Told(("a",), Outcome.REFUSED, "no such processor", ())
    assert lines((refused,)) == ["a: refused, 0 events (no such processor)", ""]
    assert "first difference: event 0" in lines((RIGHT, refused))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"first": 11}, "--from 11: there are only 11 events, from 0"),
        ({"first": 5, "end": 5}, "--to 5: expected a number above --from, which is 5"),
    ],
)
def test_no_such_event(wanted: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        window(long(10), **wanted)
    assert str(caught.value) == message


def test_what_is_left_out_is_said() -> None:
    assert str(Window(0, 9, 9)) == ""
    assert str(Window(1, 8, 9)) == "not shown of 9 events: 0, 8 (--from, --to)"
    assert str(Window(3, 9, 9)) == "not shown of 9 events: 0 to 2 (--from, --to)"


def test_the_oracle_alone() -> None:
    account = expected(Expectation(Outcome.PANICKED, TRACE))
    assert account == Told(("oracle",), Outcome.PANICKED, "", TRACE)
