"""The oracle of x86_64: 4-level paging, interrupt stacks, and frames above 4 GiB."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from conformance.case.attempt_operations import Probe, Raise, Segment
from conformance.case.case import Case
from conformance.case.frame_operations import Dump, FreeAddress
from conformance.case.image import Image, default_image
from conformance.case.machine import Machine
from conformance.case.memory_map import PLAIN_MAP, MemoryMap, Region
from conformance.case.operation import Operation, Rights
from conformance.case.paging_operations import Control, Map, WriteEntry
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
    image: Image,
    *operations: Operation,
    memory_map: MemoryMap = PLAIN_MAP,
    stacks: int = 1,
    witness: Sequence[Event] = (),
) -> Expectation:
    return expect(Case(image.id, MACHINE, memory_map, Program(operations, stacks)), image, witness)


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


NOWHERE = PROTOCOL.images["x86_64"].constants["nowhere"]
EDGES = [1 << 47, NOWHERE, 1 << 63, (1 << 64) - (1 << 47) - 1]
CANONICAL = [(1 << 47) - 1, (1 << 64) - (1 << 47)]


@pytest.mark.parametrize("address", EDGES, ids=hex)
@pytest.mark.parametrize(
    ("through", "vector"),
    [("plain", "general_protection"), ("stack", "stack_segment"), ("frame", "stack_segment")],
)
@pytest.mark.parametrize("ring", [0, 3])
def test_accesses_nowhere(image: Image, ring: int, through: str, vector: str, address: int) -> None:
    for access, size in (("read", 1), ("write", 8)):
        probe = Probe(address, access, size, ring, through=through)
        (fault,) = events_of(ask(image, probe), "fault")
        ring_part = "user_" if ring else ""
        base = "" if through == "plain" else f"{through}_"
        at = image.symbols[f"fault_at_{ring_part}{base}{access}_{size}"]
        if ring:
            at += USER - image.symbols["user_code_start"]
        assert fault.fields["vector"] == PROTOCOL.code("exception", vector)
        assert (fault.fields["error_code"], fault.fields["cr2"]) == (0, 0x5A5A5A5A)
        assert (fault.fields["eip"], fault.fields["cpl"]) == (at, ring)


@pytest.mark.parametrize("address", EDGES, ids=hex)
def test_a_call_to_nowhere_pushes_nothing(image: Image, address: int) -> None:
    (fault,) = events_of(ask(image, Probe(address, "execute", 8)), "fault")
    assert fault.fields["vector"] == PROTOCOL.code("exception", "general_protection")
    assert fault.fields["eip"] == image.symbols["fault_at_call"]
    assert fault.fields["esp"] == image.symbols["probe_stack_end"]


def test_what_comes_first_of_a_call_to_nowhere_whose_push_faults_is_open(image: Image) -> None:
    # The stack of ring 3 has XD, which is a reserved bit now.
    operations = (Control("no_execute", value=False), Probe(NOWHERE, "execute", 1, 3))
    first = ask(image, *operations)
    (choice,) = first.choices
    assert (choice.rule.name, choice.permitted) == ("order of a near CALL's checks", 2)
    (fault,) = events_of(first, "fault")
    assert fault.fields["vector"] == PROTOCOL.code("exception", "general_protection")
    pushed = Event(
        "fault",
        fault.fields | {"vector": 14, "error_code": 15, "cr2": USER + 0x1FF8},
    )
    witness = [pushed if event == fault else event for event in first.events]
    assert pushed in ask(image, *operations, witness=witness).events


@pytest.mark.parametrize(
    ("cause", "symbol", "cpl", "esp", "vector"),
    [
        ("return_nowhere", "raise_return_nowhere", 0, None, 13),
        ("return_user_nowhere", "raise_return_user_nowhere", 0, None, 13),
        ("return_nested_task", "raise_return_nested_task", 0, None, 13),
        ("push_nowhere", "user_push", 3, NOWHERE, 12),
        ("return_inward", "user_return_inward", 3, USER + 8192 - 40, 13),
    ],
)
def test_returns_of_64_bit_mode(
    image: Image, cause: str, symbol: str, cpl: int, esp: int | None, vector: int
) -> None:
    (fault,) = events_of(ask(image, Raise(cause)), "fault")
    at = image.symbols[f"fault_at_{symbol}"]
    if cpl:
        at += USER - image.symbols["user_code_start"]
    assert (fault.fields["vector"], fault.fields["eip"], fault.fields["cpl"]) == (vector, at, cpl)
    assert fault.fields["esp"] == (image.symbols["probe_stack_end"] - 40 if esp is None else esp)
    assert fault.fields["error_code"] == (8 if cause == "return_inward" else 0)


def test_eight_bytes_are_written_and_read(image: Image) -> None:
    found = ask(
        image,
        Map(PROBE, 1, Rights.WRITABLE),
        Probe(PROBE, "read", 8),
        Probe(PROBE + 0x100, "write", 8, through="frame"),
        Probe(PROBE + 0x100, "read", 8, through="stack"),
        Probe(PROBE + 0x101, "execute", 1),
    )
    values = [event.fields["value"] for event in events_of(found, "attempted")]
    assert values == [0x2626262EC3C3C3C3, 0, 0xC32E2E2E2E2E2E2E, 0]


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        *((Probe(address, size=1), "bad_address") for address in CANONICAL),
        (Probe(CANONICAL[0], size=2), "bad_address"),
        (Probe(NOWHERE, "execute", 3), "bad_size"),
        (Probe(NOWHERE, "execute", 8, 3, through="frame"), "bad_value"),
        (Probe(NOWHERE, ring=1), "bad_ring"),
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
