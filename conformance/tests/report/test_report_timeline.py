"""The timeline of the scheduler: rows, bands, marks, and traces that make no sense."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

import pytest
from rich.console import Console
from scheduler_trace import IDLE, TRACE, event

from conformance.observe.trace import UNDECODABLE, Event
from conformance.protocol import PROTOCOL
from conformance.report.symbols import Symbols
from conformance.report.task_marks import Mark, TaskReader, has_tasks
from conformance.report.timeline import Timeline, lay_out, point_out


def read(events: Sequence[Event], symbols: Symbols | None = None) -> list[Mark]:
    reader = TaskReader(symbols or Symbols())
    return [reader.read(each) for each in events]


def drawn(marks: Sequence[Mark], width: int, marked: int | None = None, first: int = 0) -> str:
    timeline = Timeline(marks, marked)
    bands = lay_out([marks], first, len(marks), width)
    return "\n\n".join("\n".join(line.plain for line in timeline.draw(band)) for band in bands)


def text(each: Event) -> str:
    """What an event is called in its row."""
    (mark,) = read([each])
    return mark.text


def test_bands_of_a_terminal_s_width() -> None:
    assert (
        drawn(point_out(read(TRACE), 24), 60, 24, first=13)
        == """\
event 13        14     16    17     18      19
main  ----------------------------------------------------
1     ----------- woken tick resume proceed unlock 4 for 2
2     ----------------------------------------------------
idle  idle at 0 tick 1 to 1: idle

event 20     22           >24      25     26   28
main  ------------------------------------- woken all by 2 .
1     = exit to 2: exit stack 0 back
2     woken mutex by 1 .. > resume lock 4 exit to main: exit

event 29       31
main  . resume completed
2     stack 1 back"""
    )


def test_the_beginning() -> None:
    assert (
        drawn(read(TRACE[1:15]), 90)
        == """\
event 0              1                         2          3 4             5
main  spawn 1 body 0 spawn 2 body 1 priority 3 wait all 2 to 1: wait -----------
1     ..................................................... start stack 0 lock 4
2                    ...........................................................

event 6            7 8             9            10      12        13
main  ------------------------------------------------------------------
1     wait sleep 1 to 2: wait ------------------------------------------
2     .............. start stack 1 wait mutex 4 to idle: wait ----------
idle                                            . start idle at 0 tick 1"""
    )


@pytest.mark.parametrize("width", [0, 10, 40, 80, 133, 400])
def test_no_line_is_wider_and_no_event_is_lost(width: int) -> None:
    marks = read(TRACE)
    lines = drawn(marks, width).splitlines()
    assert max(map(len, lines)) <= max(width, 30)
    assert not any(line.endswith(" ") for line in lines)
    # On a terminal that is wide enough for every word there is.
    if width >= 40:
        words = " ".join(line for line in lines if not line.startswith("event"))
        assert all(mark.text in words for mark in marks)


def test_accounts_are_laid_out_together() -> None:
    other = [*TRACE[:9], event("completed"), *TRACE[10:]]
    both = [read(TRACE), read(other)]
    bands = lay_out(both, 0, len(TRACE), 80)
    assert bands == lay_out(both[::-1], 0, len(TRACE), 80)
    assert [number for band in bands for number, _ in band.places()] == list(range(len(TRACE)))
    for marks in both:
        timeline = Timeline(marks)
        lines = [line.plain for band in bands for line in timeline.draw(band)]
        assert max(map(len, lines)) <= 80


def test_an_account_that_ends_earlier() -> None:
    marks = [*point_out(read(TRACE[:6]), 6)]
    assert (marks[-1].task, marks[-1].text) == (1, "> the trace has ended")
    timeline = Timeline(marks, 6)
    first, *_, last = lay_out([read(TRACE), marks], 5, len(TRACE), 70)
    assert timeline.draw(first)[1:3][-1].plain.endswith("> the trace has ended")
    assert [line.plain for line in timeline.draw(last)] == ["(the trace has ended)"]
    assert point_out((), 0)[0].text == "> the trace has ended"


@pytest.mark.parametrize(
    ("each", "words"),
    [
        (event("spawn_failed", reason="no_stack"), "no spawn: no_stack"),
        (event("started", task=3, stack=PROTOCOL.constants["no_stack"]), "start no stack"),
        (event("started", task=IDLE, stack=PROTOCOL.constants["no_stack"]), "start"),
        (event("switched", from_=1, to=2, reason="preempt"), "to 2: preempt"),
        (event("switched", from_=1, to=0, reason="yield"), "to main: yield"),
        (event("resumed", damaged=0x7F), "resume DAMAGED ebx,esi,edi,ebp,eflags,fs,gs"),
        (event("resumed", damaged=0x180), "resume DAMAGED 0x180"),
        (event("blocked", task=1, reason="block"), "wait block"),
        (event("blocked", task=1, reason="join", on=7), "wait join 7"),
        (event("woken", task=1, reason="wake", by=0), "woken wake by main"),
        (event("wake_kept", task=1), "wake kept"),
        (event("unlocked", mutex=2, next=IDLE), "unlock 2"),
        (event("task_rejected", reason="not_owner"), "rejected: not_owner"),
        (event("computed", task=1), "computed"),
        (event("panic", reason="deadlock", detail=3), "PANIC deadlock 3"),
        (event("fault", vector="page_fault", stack="task"), "fault page_fault"),
        (event("attempted", outcome=1), "attempted faulted"),
        (event("counted", free_frames=7), "counted"),
        (Event(UNDECODABLE, {"offset": 12}), "undecodable"),
    ],
)
def test_what_an_event_is_called(each: Event, words: str) -> None:
    assert text(each) == words


def test_whose_an_event_is_follows_from_the_switches() -> None:
    plain = event("counted")
    trace = [plain, event("switched", to=3, reason="wait"), plain, event("started", task=2), plain]
    assert [mark.task for mark in read(trace)] == [0, 0, 3, 2, 2]


def test_a_step_names_the_instruction() -> None:
    at = 0xC0100000
    symbols = Symbols({"compute_string_1": at})
    step = event("stepped", task=1, eip=at)
    assert read([step], symbols)[0].text == "stepped string_1"
    assert text(step) == "stepped 0xc0100000"
    # The image comes from a file.
    evil = Symbols({"\x1b[2J" + "x" * 1000: at})
    (mark,) = read([step], evil)
    assert mark.text.isprintable()
    assert len(mark.text) < 60


def test_what_the_oracle_leaves_out() -> None:
    for kind in PROTOCOL.events:
        (mark,) = read([Event(kind)])
        assert mark.text


def test_which_events_are_the_scheduler_s() -> None:
    numbers = {kind.code for kind in PROTOCOL.events.values() if has_tasks(Event(kind.name))}
    assert numbers == set(range(96, 96 + len(numbers)))
    assert len(numbers) == 18


def test_nothing_in_a_trace_is_too_strange() -> None:
    generator = random.Random(1)
    kinds = [kind for kind in PROTOCOL.events.values() if has_tasks(Event(kind.name))]
    events = [
        Event(
            kind.name,
            {
                field.name: generator.choice([0, 1, 2, 9, generator.getrandbits(field.bits)])
                for field in kind.layout.fields
            },
        )
        for kind in generator.choices(kinds, k=2000)
    ]
    lines = drawn(read(events), 100).splitlines()
    assert all(len(line) <= 100 and line.isprintable() for line in lines)
    longest = max(map(len, drawn(read(events), 100).split("\n\n")))
    assert longest <= 27 * 101


def test_many_tasks_have_no_room() -> None:
    events = [event("spawned", task=number) for number in range(1, 1001)]
    events += [event("exited", task=number) for number in range(1, 1001)]
    last = drawn(read(events), 80, first=1000).split("\n\n")[0].splitlines()
    assert len(last) == 26
    # 24 exit; the others are there, and so is the main task.
    assert last[-1] == "… and 977 more tasks that did nothing here"


def test_colours_only_say_it_again() -> None:
    def shown(**options: object) -> str:
        output = io.StringIO()
        console = Console(file=output, width=80, highlight=False, **options)  # type: ignore[arg-type]
        marks = point_out(read(TRACE), 24)
        timeline = Timeline(marks, 24)
        for band in lay_out([marks], 0, len(marks), 80):
            for line in timeline.draw(band):
                console.print(line, soft_wrap=True)
        return output.getvalue()

    coloured = shown(force_terminal=True, color_system="truecolor")
    assert "\x1b[1;31m> resume\x1b[0m" in coloured
    assert "\x1b" not in shown()
