"""One small case, what a right kernel does with it, and ways to go wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from conformance.case.case import Case
from conformance.case.image import ImageId
from conformance.case.program import (
    Allocate,
    AllocateRun,
    Count,
    Dump,
    Probe,
    Program,
    ReadEntry,
)
from conformance.judge.blame import judge
from conformance.judge.verdict import Verdict
from conformance.observe.observation import (
    ControlRegisters,
    MachineFault,
    Observation,
    Outcome,
    StateDigest,
)
from conformance.observe.trace import Event, encode
from conformance.oracle.expectation import Expectation
from conformance.protocol import PROTOCOL

_PASS = {name: code for code, name in PROTOCOL.enums["allocator_pass"].items()}


@dataclass(frozen=True)
class World:
    """A case and its right trace; `judge` fills in the case and, unless told, the expectation."""

    case: Case
    events: tuple[Event, ...]
    state: tuple[StateDigest, ...]
    expectation: Expectation = field(init=False)

    def __post_init__(self) -> None:
        expectation = Expectation(Outcome.COMPLETED, self.events, self.state)
        object.__setattr__(self, "expectation", expectation)

    def observe(
        self,
        backend: str,
        events: tuple[Event, ...] | None = None,
        *,
        outcome: Outcome = Outcome.COMPLETED,
        state: tuple[StateDigest, ...] | None = None,
        rest: bytes = b"",
        detail: str = "",
        faults: tuple[MachineFault, ...] | None = None,
        control: ControlRegisters | None = None,
    ) -> Observation:
        """A backend's observation: right, unless told otherwise."""
        return Observation(
            backend,
            outcome,
            detail,
            encode(self.events if events is None else events) + rest,
            self.state if state is None else state,
            faults=faults,
            control=control,
        )

    def index(self, kind: str, nth: int = 0) -> int:
        """Where the nth event of a kind is."""
        return [i for i, event in enumerate(self.events) if event.kind == kind][nth]

    def changed(self, kind: str, nth: int = 0, **fields: int) -> tuple[Event, ...]:
        """The events with some fields of one of them changed."""
        index = self.index(kind, nth)
        assert fields.keys() <= self.events[index].fields.keys()
        return self.replaced(index, Event(kind, {**self.events[index].fields, **fields}))

    def replaced(self, index: int, event: Event) -> tuple[Event, ...]:
        """The events with another one in one's place."""
        return (*self.events[:index], event, *self.events[index + 1 :])

    def omitting(self, kind: str, name: str) -> Expectation:
        """An expectation that does not predict one field."""
        index = self.index(kind)
        fields = {key: value for key, value in self.events[index].fields.items() if key != name}
        return replace(self.expectation, events=self.replaced(index, Event(kind, fields)))

    def corrupted(self, region: str) -> tuple[StateDigest, ...]:
        """The memory with other content in one region."""
        return tuple(
            replace(each, checksum=each.checksum ^ 0x100) if each.region == region else each
            for each in self.state
        )

    def judge(self, *observations: Observation, oracle: bool = True) -> Verdict:
        """The verdict with this world's expectation, or without one."""
        return judge(self.case, (lambda _: self.expectation) if oracle else None, observations)


@pytest.fixture(scope="session")
def world() -> World:
    state = tuple(
        StateDigest.of(region, bytes([region.code + 1] * 64))
        for region in PROTOCOL.state_regions.values()
    )
    claims = (
        Event(
            "state",
            {
                "region": PROTOCOL.code("state_region", each.region),
                "words": each.words,
                "checksum": each.checksum,
            },
        )
        for each in state
    )
    entry = {
        "magic": 0x2BADB002,
        "information": 0x10000,
        "cr0": 0x60000011,
        "eflags": 0x46,
        "a20": 1,
        "code_limit": 0xFFFFFFFF,
        "data_limit": 0xFFFFFFFF,
        "stack_limit": 0xFFFFFFFF,
    }
    region = {"index": 0, "base": 0, "length": 0x9FC00, "type": 1, "entry_size": 20}
    paging = {"cr0": 0xE0010011, "cr3": 0x130000, "cr4": 0, "efer": 0, "features": 3}
    fault = {
        "operation": 4,
        "vector": PROTOCOL.code("exception", "page_fault"),
        "error_code": 9,
        "cr2": 0x40000000,
        "eip": 0xC0101234,
        "esp": 0xC0150000,
        "cpl": 0,
        "stack": PROTOCOL.code("stack_kind", "probe"),
        "stack_number": 0,
    }
    control = {"cr0": 0xE0010011, "cr2": 0x40000000, "cr3": 0x130000, "cr4": 0, "efer": 0}
    events = (
        Event("entry", entry),
        Event("paging", paging),
        Event("region", region),
        Event("map_end", {"entries": 1, "problem": 0}),
        Event("pass", {"pass": _PASS["all_used"], "free_frames": 0}),
        Event("pass", {"pass": _PASS["available"], "free_frames": 159}),
        Event("pass", {"pass": _PASS["unavailable"], "free_frames": 159}),
        Event("reserved", {"pass": _PASS["first_frame"], "first": 0, "end": 1}),
        Event("pass", {"pass": _PASS["first_frame"], "free_frames": 158}),
        Event("ready", {"free_frames": 158, "lowest": 1}),
        Event("allocated", {"operation": 0, "frame": 1, "count": 1}),
        Event("allocation_failed", {"operation": 1, "reason": 1}),
        Event("counted", {"operation": 2, "free_frames": 157}),
        Event("free_range", {"operation": 3, "first": 2, "end": 159}),
        Event("dumped", {"operation": 3, "ranges": 1, "frames": 157}),
        Event("fault", fault),
        Event("attempted", {"operation": 4, "outcome": 1, "value": 0}),
        Event("entry_read", {"operation": 5, "level": 0, "value": 0x130067}),
        Event("control", control),
        *claims,
        Event("completed", {"operations": 6}),
    )
    probe, read = Probe(0x40000000), ReadEntry(0x40000000, "page_table")
    program = Program((Allocate(), AllocateRun(4096), Count(), Dump(), probe, read))
    return World(Case(ImageId("i686", "0" * 64), program=program), events, state)
