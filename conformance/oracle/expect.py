"""What a correct kernel on a correct machine does with a case: kernel/TRACE.md in executable form.

Where the manual leaves something open, the expectation follows a witness: the events that one
backend showed. It follows it inside of what is permitted only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from conformance.case.case import Case
from conformance.case.program import (
    Control,
    Interrupt,
    Invalidate,
    Map,
    Operation,
    Overflow,
    OverflowOwn,
    Probe,
    Protect,
    Raise,
    ReadEntry,
    Reload,
    Segment,
    StackAllocate,
    StackFree,
    StackFreeAddress,
    TripleFault,
    Unmap,
    WriteEntry,
)
from conformance.observe.observation import Outcome, StateDigest
from conformance.observe.trace import Event
from conformance.oracle.allocator import FrameAllocator
from conformance.oracle.attempts import (
    access_memory,
    access_segment,
    reload,
    write_control,
)
from conformance.oracle.boot import Layout, entry_event
from conformance.oracle.control import control_event, paging_event
from conformance.oracle.expectation import Choice, Expectation, Rule
from conformance.oracle.frames import (
    bitmap_digest,
    frame_capacity,
    frame_extent,
    initialise_frames,
)
from conformance.oracle.lines import Line, blame_ghosts, continued
from conformance.oracle.overflows import overflow_own, overflow_stack
from conformance.oracle.paging_operations import (
    change_protection,
    invalidate,
    map_page,
    read_entry,
    unmap_page,
    write_entry,
)
from conformance.oracle.raises import interrupt, raise_exception
from conformance.oracle.scheduler import RunOver
from conformance.oracle.setting import Setting
from conformance.oracle.stacks import StackPool, stack_rejected
from conformance.oracle.task_operations import Tasks
from conformance.oracle.task_rules import WINDOW
from conformance.oracle.trace_buffer import capacity, panic, record_size, recorded
from conformance.oracle.worlds import Act, Performance, World, agreement, ways
from conformance.protocol import PROTOCOL

__all__ = ["expect"]

_ACTS: Final[dict[type[Operation], Callable[[Performance, Any], None]]] = {
    Map: map_page,
    Unmap: unmap_page,
    Protect: change_protection,
    Invalidate: invalidate,
    WriteEntry: write_entry,
    ReadEntry: read_entry,
    Reload: lambda performance, _: reload(performance),
    Control: write_control,
    Probe: access_memory,
    Segment: access_segment,
    Raise: raise_exception,
    Interrupt: interrupt,
}
"""The operations that depend on the machine's state, but for `overflow`."""

_MOST_EVENTS: Final = 4
"""No such operation writes more."""


def expect(case: Case, image: Layout, witness: Sequence[Event] = ()) -> Expectation:
    """What the kernel should do with a case.

    Args:
        case: what is run.
        image: the kernel, for where its parts are.
        witness: the events that a backend showed, if the expectation is to follow its choices.

    Raises:
        ImageError: the image's trace buffer cannot hold any trace, or it lacks a symbol.
    """
    expectation = _Run(case, image, witness).expectation()
    index = agreement(expectation.events, witness)
    left = index < min(len(expectation.events), len(witness))
    if left and witness[index].kind == "ticked" != expectation.events[index].kind:
        return replace(expectation, rules={**expectation.rules, index: WINDOW})
    return expectation


class _Run:
    """One run of the kernel."""

    def __init__(self, case: Case, image: Layout, witness: Sequence[Event]) -> None:
        self._case = case
        self._image = image
        self._witness = witness
        self._setting = Setting.of(case, image)
        self._capacity = capacity(image)
        self._allocator = FrameAllocator(frame_capacity(case))
        self._stacks = StackPool(case.program.stacks, self._setting.stack_area)
        self._tasks = Tasks(
            case.program,
            self._setting,
            self._stacks,
            self,
            self._operation,
            self._stacks_are_usable,
        )
        self._lines = [Line(World(self._setting))]
        self._size = 0
        self._state: tuple[StateDigest, ...] = ()

    def expectation(self) -> Expectation:
        """Run, and sum up."""
        triple_fault = self._perform()
        line = self._lines[0]
        events = recorded(line.events, self._capacity)
        shown = len(events)
        outcome, state = Outcome.COMPLETED, self._state
        if triple_fault:
            outcome = Outcome.TRIPLE_FAULT
        if events[-1].kind == "panic":
            outcome, state = Outcome.PANICKED, ()
            shown -= 1
        return Expectation(
            outcome,
            events,
            state,
            {index: rule for index, rule in line.rules.items() if index < shown},
            tuple(choice for choice in line.choices if choice.index < shown),
        )

    def _perform(self) -> bool:
        """Up to the end, or to a triple fault (True), or until the trace buffer is full."""
        self._everywhere([entry_event(), paging_event(self._setting)])
        # The loader's magic is right and its structures are inside the kernel window, always: no
        # not_multiboot, no information_out_of_reach. And a Program is never a bad_program.
        self._everywhere(initialise_frames(self._case, self._image, self._allocator))
        if not self._allocator.owned:
            self._everywhere([panic("no_usable_frame")])
            return False
        self._everywhere([self._stacks.ready()])
        try:
            self._tasks.run()
        except RunOver as over:
            return over.triple_fault
        operations = len(self._case.program.operations)
        self._finish([Event("completed", {"operations": operations})])
        return False

    def write(self, event: Event, rule: Rule) -> None:
        """An event of the scheduler's, which no world has a say in."""
        for line in self._lines:
            line.rules[len(line.events)] = rule
        self._everywhere([event])
        if self._size > self._capacity:
            raise RunOver

    def shown(self) -> Event | None:
        """What the witness shows in the place of the next event."""
        index = len(self._lines[0].events)
        return self._witness[index] if index < len(self._witness) else None

    def leave_open(self, rule: Rule, *, taken: bool) -> None:
        """From the next event on, something may happen or not."""
        for line in self._lines:
            line.choices.append(Choice(len(line.events), rule, 2, int(taken)))

    def keep_stacks(self, stacks: frozenset[int]) -> None:
        """These stacks belong to tasks."""
        for line in self._lines:
            line.world.task_stacks = stacks

    def _stacks_are_usable(self) -> bool:
        # Their entries have XD, which is a reserved bit while it is not enabled (4.4.2).
        return self._lines[0].world.control.no_execute or not self._setting.no_execute

    def _operation(self, number: int, operation: Operation) -> None:
        if self._size > self._capacity:
            raise RunOver
        if isinstance(operation, TripleFault):
            raise RunOver(triple_fault=True)
        act = _ACTS.get(type(operation))
        if act is not None:
            self._in_each(number, lambda performance: act(performance, operation))
        elif isinstance(operation, Overflow):
            stack = self._stacks.given(number, operation.operation)
            if stack is None:
                self._everywhere([stack_rejected(number, 0, "nothing_allocated")])
            elif stack in self._stacks.of_tasks:
                self._everywhere([stack_rejected(number, 0, "used_by_task")])
            else:
                self._in_each(number, lambda each: overflow_stack(each, operation, stack))
        elif isinstance(operation, OverflowOwn):
            own = self._tasks.running.stack
            self._in_each(number, lambda each: overflow_own(each, own))
        elif isinstance(operation, StackAllocate | StackFree | StackFreeAddress):
            self._everywhere([self._stacks.perform(number, operation)])
        else:
            self._everywhere(self._allocator.perform(number, operation))

    def _everywhere(self, events: Iterable[Event]) -> None:
        """What happens whatever the machine's state is."""
        happened = list(events)
        self._size += sum(record_size(event.kind) for event in happened)
        for line in self._lines:
            line.events += happened

    def _in_each(self, number: int, act: Act) -> None:
        """What depends on the state: in each world, in each permitted way."""
        index = len(self._lines[0].events)
        witness = self._witness[index : index + _MOST_EVENTS]
        performed = [
            (line, performance)
            for line in self._lines
            for performance in ways(line.world, act, number, witness)
        ]
        agreements = [agreement(each.events, witness) for _, each in performed]
        kept = [
            each
            for each, agreed in zip(performed, agreements, strict=True)
            if agreed == len(each[1].events)
        ]
        if not kept:
            most = agreements.index(max(agreements))
            line, performance = kept_one = performed[most]
            kept = [kept_one]
            if witness:
                blame_ghosts(line.world, act, performance, agreements[most], witness)
            # From here on there is nothing to follow.
            self._witness = ()
        self._lines = continued(kept)
        self._size += sum(record_size(event.kind) for event in kept[0][1].events)

    def _finish(self, last: list[Event]) -> None:
        """The registers, the memory, and the end; the world that the witness bears out."""
        index = len(self._lines[0].events)
        witness = self._witness[index:]
        ends = []
        for line in self._lines:
            state = tuple(self._digests(line.world))
            events = [control_event(self._setting, line.world.control)]
            events += [_state_event(digest) for digest in state] + last
            ends.append((agreement(events, witness), line, events, state))
        _, line, events, self._state = max(ends, key=lambda end: end[0])
        line.events += events
        self._lines = [line]

    def _digests(self, world: World) -> Iterator[StateDigest]:
        for name, region in PROTOCOL.state_regions.items():
            if name not in self._case.state_regions:
                continue
            if name == "frame_bitmap":
                yield bitmap_digest(name, self._allocator.free, frame_extent(self._case))
            elif name == "frame_owned":
                yield bitmap_digest(name, self._allocator.owned, frame_extent(self._case))
            elif name == "page_tables":
                yield StateDigest.of(region, world.structures.content())
            else:
                yield StateDigest.of(region, world.arena.content())


def _state_event(digest: StateDigest) -> Event:
    code = PROTOCOL.state_regions[digest.region].code
    fields = {"region": code, "words": digest.words, "checksum": digest.checksum}
    return Event("state", fields)
