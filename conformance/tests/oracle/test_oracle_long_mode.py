"""The oracle of x86_64: 4-level paging, interrupt stacks, and frames above 4 GiB."""

from __future__ import annotations

import pytest

from conformance.case.attempt_operations import Probe, Raise, Segment
from conformance.case.case import Case
from conformance.case.frame_operations import Dump, FreeAddress
from conformance.case.image import Image, default_image
from conformance.case.machine import Machine
from conformance.case.memory_map import PLAIN_MAP, MemoryMap, Region
from conformance.case.operation import Operation, Rights
from conformance.case.paging_operations import Map, WriteEntry
from conformance.case.program import Program
from conformance.case.stack_operations import Overflow, StackAllocate
from conformance.observe.trace import Event
from conformance.oracle.address_space import PagingStructures, entry_address, initial_entry
from conformance.oracle.expect import expect
from conformance.oracle.expectation import Expectation
from conformance.oracle.frames import frame_extent
from conformance.oracle.setting import Setting
from conformance.protocol import PROTOCOL

MACHINE = Machine(cpu_profile="broadwell", paging="4-level")
AREA = PROTOCOL.images["x86_64"].area["stacks"]
PROBE = PROTOCOL.images["x86_64"].area["probe"]
USER = PROTOCOL.images["x86_64"].area["user"]
SECOND_SLOT = PROBE + PROTOCOL.images["x86_64"].constants["probe_slot_size"]
GIB = 1 << 30


@pytest.fixture(scope="module")
def image() -> Image:
    return default_image("x86_64")


def ask(
    image: Image, *operations: Operation, memory_map: MemoryMap = PLAIN_MAP, stacks: int = 1
) -> Expectation:
    return expect(Case(image.id, MACHINE, memory_map, Program(operations, stacks)), image)


def events_of(expectation: Expectation, kind: str) -> list[Event]:
    return [event for event in expectation.events if event.kind == kind]


def test_the_entries_above_the_page_tables(image: Image) -> None:
    setting = Setting.of(Case(image.id, MACHINE, PLAIN_MAP), image)
    start = setting.tables[0]

    def entry(level: str, linear: int) -> int:
        return PagingStructures(setting).read(entry_address(setting, level, linear))

    window, physical_map = setting.window, PROTOCOL.images["x86_64"].area["physical_map"]
    assert entry("root_table", PROBE) == start + 0x1007
    assert entry("root_table", window) == start + 0x2003
    assert entry("root_table", physical_map) == start + 0x3003 | 1 << 63
    assert entry("root_table", USER) == start + 0x4007
    assert entry("pointer_table", PROBE) == start + 0x5007
    assert entry("pointer_table", SECOND_SLOT) == start + 0x6007
    assert entry("pointer_table", USER) == start + 0x7007
    assert entry("pointer_table", AREA) == start + 0x8003
    assert initial_entry(setting, start + 3 * 0x1000) == start + 0x9003
    assert initial_entry(setting, start + 9 * 0x1000) == start + 0xA003
    assert entry("page_directory", window) == start + 0xA003
    assert entry("page_directory", AREA) == start + 0x12003
    assert entry("page_directory", PROBE) == start + 0x16007
    assert entry("page_directory", SECOND_SLOT) == start + 0x17007
    assert entry("page_directory", USER) == start + 0x18007
    assert entry("page_table", window + 0x5000) == 0x5003
    assert entry("page_table", USER) == setting.user_code | 5


@pytest.mark.parametrize(
    ("how", "pushed"), [("push", 8), ("call", 8), ("exception", 8), ("interrupt", 8), ("string", 4)]
)
def test_an_overflow_is_a_page_fault_on_a_stack_of_its_own(
    image: Image, how: str, pushed: int
) -> None:
    (fault,) = events_of(ask(image, StackAllocate(), Overflow(0, how)), "fault")
    assert fault.fields["vector"] == PROTOCOL.code("exception", "page_fault")
    assert fault.fields["error_code"] == 2
    assert fault.fields["cr2"] == AREA + 0x1000 - pushed
    if how != "string":
        assert fault.fields["esp"] == AREA + 0x1000
    assert fault.fields["eip"] == image.symbols[f"fault_at_overflow_{how}"]


def test_a_recursion_pushes_eight_bytes_each_time(image: Image) -> None:
    (fault,) = events_of(ask(image, StackAllocate(), Overflow(0, "recursion", 1016)), "fault")
    # Four times 1024 bytes, and there is no room for another return address.
    assert fault.fields["eip"] == image.symbols["fault_at_overflow_recursion_call"]
    assert (fault.fields["cr2"], fault.fields["esp"]) == (AREA + 0xFF8, AREA + 0x1000)


@pytest.mark.parametrize(
    ("cause", "vector", "error_code"),
    [
        ("overflow", "invalid_opcode", 0),
        ("bound_range", "invalid_opcode", 0),
        ("short_task", "general_protection", 0x31 << 3 | 2),
        ("absent_gate", "segment_not_present", PROTOCOL.constants["vector_absent"] << 3 | 2),
        ("double_fault", "double_fault", 0),
    ],
)
def test_exceptions_of_64_bit_mode(image: Image, cause: str, vector: str, error_code: int) -> None:
    (fault,) = events_of(ask(image, Raise(cause)), "fault")
    assert fault.fields["vector"] == PROTOCOL.code("exception", vector)
    assert fault.fields["error_code"] == error_code
    assert fault.fields["eip"] == image.symbols[f"fault_at_raise_{cause}"]


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (Segment("fs", PROBE), "no_feature"),
        (Probe(PROTOCOL.boot["kernel_window"] + (1 << 20)), "bad_address"),
        (Probe(PROTOCOL.area["stacks"] + 0x1000, "write"), "bad_address"),
    ],
    ids=str,
)
def test_what_is_not_done(image: Image, operation: Operation, reason: str) -> None:
    (rejected,) = events_of(ask(image, operation), "rejected")
    assert rejected.fields["reason"] == PROTOCOL.code("rejection", reason)


@pytest.mark.parametrize(("bit", "faults"), [(40, True), (51, True), (52, False), (62, False)])
def test_bits_from_52_up_are_ignored(image: Image, bit: int, faults: bool) -> None:
    operations = (
        Map(PROBE, rights=Rights.WRITABLE),
        WriteEntry(PROBE, "page_table", set=1 << bit),
        Probe(PROBE, "write"),
    )
    codes = [fault.fields["error_code"] for fault in events_of(ask(image, *operations), "fault")]
    assert codes == ([0xB] if faults else [])


def test_a_call_pushes_eight_bytes(image: Image) -> None:
    (fault,) = events_of(ask(image, Probe(PROBE, "execute", 1)), "fault")
    assert fault.fields["esp"] == image.symbols["probe_stack_end"] - 8


def test_frames_up_to_64_gib_are_there_and_the_rest_is_clipped(image: Image) -> None:
    memory_map = MemoryMap(
        (Region(0x400000, 0x3000), Region(63 * GIB + 0x800, 2 * GIB), Region(70 * GIB, 0x1000, 2))
    )
    found = ask(
        image,
        Dump(),
        *map(FreeAddress, (63 * GIB, 64 * GIB - 1, 64 * GIB, 70 * GIB)),
        memory_map=memory_map,
    )
    (clipped,) = events_of(found, "clipped")
    assert clipped.fields == {"index": 1, "first": 16 << 20, "end": (65 * GIB) >> 12}
    ranges = [(each.fields["first"], each.fields["end"]) for each in events_of(found, "free_range")]
    assert ranges[-1] == ((63 * GIB >> 12) + 1, 16 << 20)
    reasons = [
        PROTOCOL.enums["free_failure"][each.fields["reason"]]
        for each in events_of(found, "free_rejected")
    ]
    assert reasons == ["not_owned", "misaligned", "out_of_range", "out_of_range"]


@pytest.mark.parametrize(
    ("region", "extent"),
    [
        (Region(0, 0), 1),
        (Region(0x100000, 0x1000), 1),
        (Region(0, 4 * GIB), 1),
        (Region(0, 4 * GIB + 0x1000), 2),
        (Region(0, 4 * GIB + 0xFFF), 1),
        (Region(10 * GIB, 0x1000, 2), 1),
        (Region(64 * GIB - 0x1000, 0x1000), 16),
        (Region(64 * GIB, 0x1000), 1),
        (Region(0, (1 << 64) - 1), 16),
    ],
)
def test_the_bitmaps_are_as_long_as_the_map_needs(
    image: Image, region: Region, extent: int
) -> None:
    case = Case(image.id, MACHINE, MemoryMap((region,)))
    assert frame_extent(case) == extent * PROTOCOL.constants["frame_unit"]
