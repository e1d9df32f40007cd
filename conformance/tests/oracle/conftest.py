"""A kernel layout for the oracle's tests, and a short way to state a case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from conformance.case.case import Case
from conformance.case.image import ImageId
from conformance.case.machine import Machine
from conformance.case.memory_map import MemoryMap, Region
from conformance.case.program import Operation, Program
from conformance.observe.trace import Event
from conformance.oracle.expect import expect
from conformance.oracle.expectation import Expectation

_WINDOW = 0xC0000000
_PLACES = """
user_code_start user_stack_start probe_stack_start probe_stack_end
read_1 read_2 read_4 write_1 write_2 write_4 call
user_read_1 user_read_2 user_read_4 user_write_1 user_write_2 user_write_4 user_call
fs_read_1 fs_read_2 fs_read_4 fs_write_1 fs_write_2 fs_write_4
ss_read_1 ss_read_2 ss_read_4 ss_write_1 ss_write_2 ss_write_4
raise_divide_error raise_debug raise_breakpoint raise_overflow raise_bound_range
raise_invalid_opcode raise_device_not_available raise_double_fault raise_short_task
raise_absent_gate raise_gate_beyond_limit raise_absent_segment raise_absent_stack
raise_selector_beyond_limit raise_reserved_control_bit
user_privileged_instruction user_privileged_gate user_alignment_check
reload control_cr0 control_cr4 control_efer
overflow_push overflow_call overflow_recursion_call overflow_recursion_touch overflow_array
overflow_interrupt overflow_exception overflow_string overflow_straddle overflow_own
raise_return_null_code raise_return_code_beyond raise_return_data_as_code raise_return_absent_code
raise_return_code_privilege raise_return_null_stack raise_return_stack_privilege
raise_return_code_as_stack raise_return_absent_stack raise_return_nested_task raise_return_nowhere
raise_return_user_nowhere user_return_frame user_return_inward user_push
"""
_THROUGH = [
    f"{ring}{base}{access}_{size}"
    for ring in ("", "user_")
    for base in ("", "stack_", "frame_")
    for access in ("read", "write")
    for size in (1, 2, 4, 8)
]
_COMPUTATIONS = {"arithmetic": 8, "string": 6, "stack_segment": 5, "flags": 7, "interrupt": 4}
"""How many instructions they have."""


def _symbols() -> dict[str, int]:
    symbols = {
        "user_code_start": _WINDOW + 0x110000,
        "user_stack_start": _WINDOW + 0x112000,
        "probe_stack_start": _WINDOW + 0x113000,
        "probe_stack_end": _WINDOW + 0x117000,
    }
    names = [*_PLACES.split(), *(f"interrupt_{vector}" for vector in range(32))]
    names += [name for name in _THROUGH if name not in names]
    for number, name in enumerate(each for each in names if each not in symbols):
        base = symbols["user_code_start"] if name.startswith("user") else _WINDOW + 0x101000
        symbols[f"fault_at_{name}"] = base + 16 * number
    places = [
        f"compute_{kind}_{place}"
        for kind, instructions in _COMPUTATIONS.items()
        for place in (*range(instructions), "end_0", "end_1", "end_2")
    ]
    symbols |= {name: _WINDOW + 0x103000 + 4 * number for number, name in enumerate(places)}
    symbols["compute_scratch"] = _WINDOW + 0x12E000
    return symbols


@dataclass(frozen=True)
class LayoutStub:
    """What the oracle asks of an image, without one."""

    parts: Mapping[str, tuple[int, int]]
    symbols: Mapping[str, int] = field(default_factory=_symbols)

    def bounds(self, region: str, /) -> tuple[int, int]:
        return self.parts[region]


_PARTS = {
    # Deliberately not whole frames.
    "kernel_image": (0x100010, 0x12F001),
    "page_tables": (0x130000, 0x146000),
    "trace_buffer": (0x148000, 0x188000),
    "task_stacks": (0x408000, 0x418000),
    "probe_arena": (0x400000, 0x408000),
}


@pytest.fixture(scope="session")
def layout() -> LayoutStub:
    """An image's layout with a trace buffer of 256 KiB."""
    return LayoutStub(_PARTS)


@pytest.fixture(scope="session")
def layout_with_trace() -> Callable[[int], LayoutStub]:
    """Makes the same layout, with another size of the trace buffer in bytes."""

    def build(size: int) -> LayoutStub:
        start, _ = _PARTS["trace_buffer"]
        return LayoutStub({**_PARTS, "trace_buffer": (start, start + size)})

    return build


@pytest.fixture(scope="session")
def make_case() -> Callable[..., Case]:
    """Makes a case from a map and operations."""

    def build(
        memory_map: MemoryMap | None,
        *operations: Operation,
        state: tuple[str, ...] = (),
        cpu: str = "pentium3",
        paging: str = "legacy",
        stacks: int = 0,
        **scheduling: Any,
    ) -> Case:
        return Case(
            ImageId("i686", "0" * 64),
            machine=Machine(cpu_profile=cpu, paging=paging),
            memory_map=memory_map,
            program=Program(operations, stacks, **scheduling),
            state_regions=state,
        )

    return build


@pytest.fixture(scope="session")
def run(make_case: Callable[..., Case], layout: LayoutStub) -> Callable[..., Expectation]:
    """Asks the oracle about a map and operations."""

    def ask(memory_map: MemoryMap | None, *operations: Operation) -> Expectation:
        return expect(make_case(memory_map, *operations), layout)

    return ask


@pytest.fixture(scope="session")
def perform(make_case: Callable[..., Case], layout: LayoutStub) -> Callable[..., Expectation]:
    """Asks the oracle about operations; by default on a processor with every feature."""
    memory_map = MemoryMap((Region(0x1000000, 0x10000),))

    def ask(
        *operations: Operation,
        paging: str = "pae",
        cpu: str = "broadwell",
        stacks: int = 4,
        state: tuple[str, ...] = (),
        witness: Sequence[Event] = (),
        **scheduling: Any,
    ) -> Expectation:
        case = make_case(
            memory_map,
            *operations,
            cpu=cpu,
            paging=paging,
            stacks=stacks,
            state=state,
            **scheduling,
        )
        return expect(case, layout, witness)

    return ask


@pytest.fixture(scope="session")
def lines() -> Callable[..., list[str]]:
    """The events of the operations as text; `of` picks those of one operation."""

    def pick(expectation: Expectation, of: int | None = None) -> list[str]:
        kinds = [event.kind for event in expectation.events]
        end = kinds.index("control") if "control" in kinds else len(kinds)
        return [
            str(event)
            for event in expectation.events[kinds.index("stacks") + 1 : end]
            if of is None or event.fields["operation"] == of
        ]

    return pick


@pytest.fixture(scope="session")
def rule_of() -> Callable[[Expectation, int], set[str]]:
    """The names of the rules that decide an operation's events."""

    def pick(expectation: Expectation, operation: int) -> set[str]:
        return {
            rule.name
            for index, rule in expectation.rules.items()
            if expectation.events[index].fields["operation"] == operation
        }

    return pick


@pytest.fixture(scope="session")
def seen() -> Callable[..., tuple[Event, ...]]:
    """A witness: the events of an expectation, with some fields of some operations' replaced.

    The replacement is a list of events, without their `operation`.
    """

    def build(
        expectation: Expectation, replaced: Mapping[int, Sequence[Event]]
    ) -> tuple[Event, ...]:
        built: list[Event] = []
        done: set[int] = set()
        for event in expectation.events:
            number = event.fields.get("operation", -1)
            if number not in replaced or event.kind in ("region", "pass"):
                built.append(event)
            elif number not in done:
                done.add(number)
                built += [
                    Event(each.kind, {"operation": number, **each.fields})
                    for each in replaced[number]
                ]
        return tuple(built)

    return build
