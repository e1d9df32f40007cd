"""Strategies of paging and stack programs: sound, with every odd corner in reach, and shrinking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategy_values import drawn, reach, reached

from conformance.case.case import Case
from conformance.case.image import ImageId
from conformance.case.machine import Machine, every_machine
from conformance.case.memory_map import PLAIN_MAP
from conformance.case.operation import operand_type
from conformance.case.payload import encode_payload
from conformance.case.probe_space import PAGE, ProbeSpace
from conformance.case.program import (
    OPERATIONS,
    Control,
    Interrupt,
    Map,
    Operation,
    Overflow,
    Probe,
    Program,
    Protect,
    ReadEntry,
    Reload,
    Rights,
    Segment,
    StackAllocate,
    StackFree,
    StackFreeAddress,
    TripleFault,
    Unmap,
    WriteEntry,
)
from conformance.case.strategies import (
    PROBED_REGIONS,
    fault_cases,
    guard_page_cases,
    machines,
    paging_programs,
    stack_programs,
)
from conformance.case.strategies_attempts import VECTORS
from conformance.engine.reduce import reduce_case
from conformance.errors import InvalidArgument
from conformance.protocol import PROTOCOL

IMAGE = ImageId("i686", "0" * 64)
LONG_IMAGE = ImageId("x86_64", "0" * 64, "x86_64")
BROADWELL = Machine(cpu_profile="broadwell", paging="pae")
FOUR_LEVEL = Machine(cpu_profile="broadwell", paging="4-level")
PROBE = PROTOCOL.area["probe"]
SLOT = PROTOCOL.constants["probe_slot_size"]
WIDE_PROBE = PROTOCOL.images["x86_64"].area["probe"]
WIDE_SLOT = PROTOCOL.images["x86_64"].constants["probe_slot_size"]
AREA = PROTOCOL.area["stacks"]
OBJECT = PROTOCOL.constants["task_stack_size"]
MOST = PROTOCOL.constants["maximum_stacks"]
FRAME_OPERATIONS = {
    *("allocate", "allocate_run", "free", "free_address", "count", "exhaust", "dump")
}
STACK_OPERATIONS = {"stack_allocate", "stack_free", "stack_free_address", "overflow"}
TASK_OPERATIONS = {
    name
    for name, kind in OPERATIONS.items()
    if kind.__module__ == "conformance.case.task_operations"
}

_all_machines = every_machine()


# Without any health check left out, so that slow or wasteful strategies fail here.
@settings(max_examples=200, suppress_health_check=[])
@given(st.one_of(fault_cases(image=IMAGE), guard_page_cases(image=IMAGE)))
def test_every_case_is_valid_and_fits_into_the_loaders_memory(case: Case) -> None:
    assert case.machine.ram_mib == 16
    assert case.memory_map == PLAIN_MAP
    assert case.state_regions == PROBED_REGIONS
    assert len(case.program.operations) <= 12
    assert len(encode_payload(case)) <= PROTOCOL.boot["payload_limit"]
    kinds = [type(operation) for operation in case.program.operations]
    assert TripleFault not in kinds[:-1]


@given(
    st.integers(0, 12).flatmap(
        lambda most: st.tuples(
            st.just(most),
            st.one_of(paging_programs(max_operations=most), stack_programs(max_operations=most)),
        )
    )
)
def test_a_program_is_no_longer_than_asked(drawn_with_limit: tuple[int, Program]) -> None:
    most, program = drawn_with_limit
    assert len(program.operations) <= most


def test_all_machines_are_drawn() -> None:
    assert set(drawn(machines(), 100)) == set(_all_machines)


def _mapped_first(program: Program) -> bool:
    """A probe of a page that is mapped when the probe comes."""
    pages: set[int] = set()
    for operation in program.operations:
        if isinstance(operation, Map):
            pages.add(operation.address)
        elif isinstance(operation, Probe) and operation.address // PAGE * PAGE in pages:
            return True
    return False


def test_most_programs_make_sense() -> None:
    faults = drawn(fault_cases(image=IMAGE), 400)
    guard_pages = drawn(guard_page_cases(image=IMAGE), 200)
    probing = [
        case.program
        for case in faults
        if any(isinstance(one, Probe) for one in case.program.operations)
    ]
    assert len(probing) > len(faults) / 2
    assert sum(map(_mapped_first, probing)) > len(probing) / 2
    overflowing = [
        (case.program, one)
        for case in guard_pages
        for one in case.program.operations
        if isinstance(one, Overflow)
    ]
    given_one = [
        program.operations[one.operation : one.operation + 1] == (StackAllocate(),)
        for program, one in overflowing
    ]
    assert sum(given_one) > len(overflowing) / 2


def _follows(*kinds: type[Operation]) -> Callable[[Case], bool]:
    """Operations of these kinds come in this order, with others between them."""

    def condition(case: Case) -> bool:
        operations = iter(case.program.operations)
        return all(any(isinstance(one, kind) for one in operations) for kind in kinds)

    return condition


def _has(kind: type[Operation], test: Callable[[Any], Any]) -> Callable[[Case], bool]:
    return lambda case: any(isinstance(one, kind) and test(one) for one in case.program.operations)


FAULT_FEATURES: dict[str, Callable[[Case], Any]] = {
    "stale after unmap": lambda case: any(
        isinstance(one, Unmap)
        and not one.invalidate
        and any(
            isinstance(later, Probe) and later.address // PAGE == one.address // PAGE
            for later in case.program.operations[number + 1 :]
        )
        and Map in map(type, case.program.operations[:number])
        for number, one in enumerate(case.program.operations)
    ),
    "accessed and dirty cleared, used, read back": _follows(Map, WriteEntry, Probe, ReadEntry),
    "both flags cleared": _has(WriteEntry, lambda one: one.clear == 0x60),
    "present cleared in a PDPTE": _has(
        WriteEntry, lambda one: one.level == "pointer_table" and one.clear & 1
    ),
    "reserved bit of a PDPTE, then MOV CR3": lambda case: (
        _has(WriteEntry, lambda one: one.level == "pointer_table" and one.set & 0x1E6)(case)
        and _follows(WriteEntry, Reload)(case)
    ),
    "high bit of a PTE": _has(WriteEntry, lambda one: one.level == "page_table" and one.set >> 51),
    "bit 21 of a 4 MiB page": _has(WriteEntry, lambda one: one.set & 1 << 21),
    "bit 13 to 20 of a 2 MiB page": _has(WriteEntry, lambda one: one.set & 0x1FE000),
    "large page with 32-bit paging": lambda case: (
        case.machine.paging == "legacy"
        and _follows(Control, Map)(case)
        and _has(Map, lambda one: Rights.LARGE_PAGE in one.rights)(case)
    ),
    "deep in a large page": lambda case: (
        _has(Map, lambda one: one.rights & Rights.LARGE_PAGE and one.address == PROBE)(case)
        and _has(Probe, lambda one: PROBE + PAGE * 2 <= one.address < PROBE + PAGE * 8)(case)
    ),
    **{
        f"straddles a page by {below}": _has(
            Probe, lambda one, below=below: one.size == 4 and (one.address + below) % PAGE == 0
        )
        for below in (1, 2, 3)
    },
    "second slot": _has(Map, lambda one: one.address >= PROBE + SLOT),
    "execution in ring 3": _has(Probe, lambda one: one.access == "execute" and one.ring == 3),
    "the kernel from ring 3": _has(
        Probe, lambda one: one.address >= 0xC0000000 and one.ring == 3 and one.access == "write"
    ),
    "a limit just too short": _has(
        Segment,
        lambda one: not one.expand_down and one.limit < one.offset + one.size - 1 <= one.limit + 4,
    ),
    "a limit that just fits": _has(
        Segment, lambda one: not one.expand_down and one.offset + one.size - 1 == one.limit
    ),
    "expand-down, on both sides": _has(
        Segment, lambda one: one.expand_down and one.offset - 2 <= one.limit <= one.offset
    ),
    "counting in pages": _has(
        Segment, lambda one: 1 << 20 < one.limit < 0xFFFFFFFF and one.target == "fs"
    ),
    "an interrupt of a low vector": _has(Interrupt, lambda one: one.vector in VECTORS[1:8]),
    "an interrupt of a high vector": _has(Interrupt, lambda one: one.vector in VECTORS[16:]),
    "an interrupt that is rejected": _has(Interrupt, lambda one: one.vector not in VECTORS),
    "triple fault": _has(TripleFault, lambda one: True),
    "no sense at all": _has(Probe, lambda one: one.size not in (1, 2, 4) or one.ring not in (0, 3)),
    "rights that the machine lacks": lambda case: (
        case.machine.paging == "legacy"
        and any(
            Rights.NO_EXECUTE in getattr(one, "rights", Rights(0))
            for one in case.program.operations
        )
    ),
}

STACK_FEATURES: dict[str, Callable[[Case], Any]] = {
    "no stack at all": lambda case: case.program.stacks == 0,
    "one stack": lambda case: case.program.stacks == 1,
    "hundreds of stacks": lambda case: 100 < case.program.stacks < MOST,
    "the largest pool": lambda case: case.program.stacks == MOST,
    "more allocations than stacks": lambda case: (
        0 < case.program.stacks < case.program.operations.count(StackAllocate())
    ),
    "frees twice": lambda case: any(
        isinstance(one, StackFree)
        and case.program.operations.count(one) > 1
        and case.program.operations[one.operation : one.operation + 1] == (StackAllocate(),)
        for one in case.program.operations
    ),
    "overflows what was freed": lambda case: any(
        isinstance(one, Overflow) and StackFree(one.operation) in case.program.operations[:number]
        for number, one in enumerate(case.program.operations)
    ),
    "frees by address": lambda case: (
        StackFreeAddress(AREA) in case.program.operations
        and StackAllocate() in case.program.operations
    ),
    "misaligned": _has(StackFreeAddress, lambda one: one.address == AREA + PAGE),
    "foreign": _has(StackFreeAddress, lambda one: one.address < AREA),
    "behind the pool": lambda case: (
        StackFreeAddress(AREA + case.program.stacks * OBJECT) in case.program.operations
    ),
    "array up to the guard page": _has(Overflow, lambda one: one.size == PAGE),
    "array into the guard page": _has(Overflow, lambda one: one.size == PAGE + 4),
    "array past the guard page": _has(Overflow, lambda one: 2 * PAGE < one.size <= 3 * PAGE),
    "impossible array": _has(Overflow, lambda one: one.how == "array" and one.size % 4),
    "impossible recursion": _has(Overflow, lambda one: one.how == "recursion" and one.size == 4),
    "guard page": _has(Probe, lambda one: one.address >= AREA and one.address % OBJECT < PAGE - 4),
    "across the guard page's end": _has(
        Probe, lambda one: one.address % OBJECT == PAGE - 2 and one.size == 4
    ),
    "across a stack's end": _has(
        Probe, lambda one: one.address % OBJECT == OBJECT - 2 and one.size == 4
    ),
    "the last stack": lambda case: (
        case.program.stacks > 4
        and _has(
            Probe,
            lambda one: (one.address - AREA) // OBJECT == case.program.stacks - 1,
        )(case)
    ),
    "a stack from ring 3": _has(Probe, lambda one: one.ring == 3 and one.address % OBJECT >= PAGE),
}


def _is_nowhere(address: int) -> bool:
    """Not canonical: bits 63 to 47 differ."""
    return (address >> 47) % (1 << 17) not in (0, (1 << 17) - 1)


def _values_of(names: set[str]) -> dict[str, Callable[[Case], bool]]:
    """Each operation, with each value that an enumeration or a switch has."""
    features: dict[str, Callable[[Case], bool]] = {}
    for name in sorted(names):
        features[name] = _has(OPERATIONS[name], lambda one: True)
        for field in PROTOCOL.operations[name].operands.fields:
            values: list[Any] = [] if field.enum is None else [*field.enum.values()]
            if operand_type(OPERATIONS[name], field.name) is bool:
                values = [True, False]
            for value in values:
                features[f"{name}.{field.name}={value}"] = _has(
                    OPERATIONS[name],
                    lambda one, field=field.name, value=value: getattr(one, field) == value,
                )
    return features


FAULT_FEATURES |= _values_of(
    set(OPERATIONS) - STACK_OPERATIONS - FRAME_OPERATIONS - TASK_OPERATIONS
)
# The values that only 4-level paging has; they are drawn at random elsewhere, and rejected.
FOUR_LEVEL_FEATURES: dict[str, Callable[[Case], Any]] = {
    **{
        f"{kind.name}.{level}": _has(kind, lambda one, level=level: one.level == level)
        for kind in (WriteEntry, ReadEntry)
        for level in PROTOCOL.enums["paging_level"].values()
    },
    **{
        f"reserved bit of the {level}": _has(
            WriteEntry, lambda one, level=level: one.level == level and one.set & 3 << 50
        )
        for level in PROTOCOL.enums["paging_level"].values()
    },
    "PS of the root table": _has(
        WriteEntry, lambda one: one.level == "root_table" and one.set & 1 << 7
    ),
    "bit 13 to 29 of a huge page": _has(
        WriteEntry, lambda one: one.level == "pointer_table" and one.set & 0x3FFFE000
    ),
    "an upper entry changes unseen, and is used": lambda case: (
        _has(
            WriteEntry,
            lambda one: not one.invalidate and one.level in ("pointer_table", "root_table"),
        )(case)
        and _follows(Map, Probe, WriteEntry, Probe)(case)
    ),
    "a huge page over a page": lambda case: (
        _has(Map, lambda one: one.rights < Rights.LARGE_PAGE)(case)
        and _has(Map, lambda one: Rights.HUGE_PAGE in one.rights)(case)
    ),
    "deep in a huge page": lambda case: (
        _has(Map, lambda one: one.rights & Rights.HUGE_PAGE and one.address == WIDE_PROBE)(case)
        and _has(Probe, lambda one: PAGE * 2 <= one.address - WIDE_PROBE < PAGE * 8)(case)
    ),
    "a huge page is protected": lambda case: (
        _has(Map, lambda one: Rights.HUGE_PAGE in one.rights)(case) and _follows(Map, Protect)(case)
    ),
    "a huge page goes": lambda case: (
        _has(Map, lambda one: Rights.HUGE_PAGE in one.rights)(case) and _follows(Map, Unmap)(case)
    ),
    "second slot": _has(Map, lambda one: one.address >= WIDE_PROBE + WIDE_SLOT),
}
# Left to a directed case: it hangs an engine.
del FAULT_FEATURES["raise.cause=reserved_control_bit"]
FAULT_FEATURES |= {
    f"map.rights={number}": _has(Map, lambda one, number=number: one.rights == number)
    for number in range(8)
}
FAULT_FEATURES |= {
    f"probe.size={size} ring={ring}": _has(
        Probe, lambda one, size=size, ring=ring: (one.size, one.ring) == (size, ring)
    )
    for size in (1, 2, 4)
    for ring in (0, 3)
}
LONG_FEATURES: dict[str, Callable[[Case], Any]] = {
    f"{access} through {through} where no address is": _has(
        Probe,
        lambda one, access=access, through=through: (
            (one.access, one.through) == (access, through) and _is_nowhere(one.address)
        ),
    )
    for access in ("read", "write", "execute")
    for through in ("plain", "stack", "frame")
    if access != "execute" or through == "plain"
}
LONG_FEATURES |= {
    "a canonical address behind one that is not": _has(
        Probe, lambda one: _is_nowhere(one.address) and not _is_nowhere(one.address + one.size - 1)
    ),
    "a write of 8 bytes in ring 3": _has(
        Probe, lambda one: (one.access, one.size, one.ring) == ("write", 8, 3)
    ),
    "8 bytes across two pages": _has(
        Probe, lambda one: one.size == 8 and one.address % PAGE > PAGE - 8
    ),
}
"""What only 64-bit mode has."""

STACK_FEATURES |= _values_of(STACK_OPERATIONS)


@pytest.fixture(scope="module")
def fault_features() -> set[str]:
    return reached(fault_cases(image=IMAGE), FAULT_FEATURES, most=8000)


@pytest.fixture(scope="module")
def four_level_features() -> set[str]:
    cases = fault_cases(image=LONG_IMAGE, machine=FOUR_LEVEL)
    return reached(cases, FOUR_LEVEL_FEATURES, most=8000)


@pytest.fixture(scope="module")
def stack_features() -> set[str]:
    return reached(guard_page_cases(image=IMAGE), STACK_FEATURES, most=8000)


@pytest.mark.parametrize("feature", FAULT_FEATURES)
def test_fault_cases_reach(feature: str, fault_features: set[str]) -> None:
    assert feature in fault_features


@pytest.fixture(scope="module")
def long_features() -> set[str]:
    return reached(fault_cases(image=LONG_IMAGE), LONG_FEATURES, most=8000)


@pytest.mark.parametrize("feature", LONG_FEATURES)
def test_fault_cases_of_64_bit_mode_reach(feature: str, long_features: set[str]) -> None:
    assert feature in long_features


@pytest.mark.parametrize("feature", FOUR_LEVEL_FEATURES)
def test_fault_cases_with_4_level_paging_reach(feature: str, four_level_features: set[str]) -> None:
    assert feature in four_level_features


@pytest.mark.parametrize("feature", STACK_FEATURES)
def test_guard_page_cases_reach(feature: str, stack_features: set[str]) -> None:
    assert feature in stack_features


def test_a_stack_is_written_before_it_is_read() -> None:
    read = 0
    for case in drawn(guard_page_cases(image=IMAGE), 200):
        for number, one in enumerate(case.program.operations):
            inside = isinstance(one, Probe) and PAGE <= one.address % OBJECT <= OBJECT - one.size
            if isinstance(one, Probe) and inside and one.access == "read" and one.ring == 0:
                read += 1
                before = case.program.operations[:number]
                assert replace(one, access="write") in before
    assert read


SHRUNK: list[tuple[Callable[[Case], bool], tuple[Operation, ...]]] = [
    (_has(Reload, lambda one: True), (Reload(),)),
    (_follows(Map, Probe), (Map(PROBE), Probe(PROBE))),
    (
        lambda case: _follows(Map, Probe)(case) and _has(Probe, lambda one: one.ring == 3)(case),
        (Map(PROBE), Probe(PROBE, ring=3)),
    ),
    (
        lambda case: (
            _follows(Map, Protect, Probe)(case)
            and _has(Protect, lambda one: not one.invalidate)(case)
        ),
        (Map(PROBE), Protect(PROBE, Rights(0), invalidate=False), Probe(PROBE)),
    ),
    (
        _has(WriteEntry, lambda one: one.set >> 63),
        (WriteEntry(PROBE, "page_table", set=1 << 63),),
    ),
    (_has(TripleFault, lambda one: True), (TripleFault(),)),
    (_has(Probe, lambda one: one.through == "frame"), (Probe(PROBE, through="frame"),)),
]


@pytest.mark.parametrize(("condition", "operations"), SHRUNK)
def test_a_fault_case_shrinks_to_the_operations_that_matter(
    condition: Callable[[Case], bool], operations: tuple[Operation, ...]
) -> None:
    found: Case = reach(fault_cases(image=IMAGE), condition, shrink=True)
    assert len(found.program.operations) <= 4
    # As the harness does it: Hypothesis cannot take apart what was drawn as one.
    found = reduce_case(found, condition)
    assert found.program.operations == operations
    assert found.machine.cpu_profile == "pentium3"


def test_an_access_nowhere_shrinks_to_a_simple_one() -> None:
    condition = _has(Probe, lambda one: _is_nowhere(one.address) and one.through == "stack")
    found: Case = reach(fault_cases(image=LONG_IMAGE), condition, shrink=True)
    found = reduce_case(found, condition)
    (probe,) = found.program.operations
    nowhere = PROTOCOL.images["x86_64"].constants["nowhere"]
    assert probe == Probe(nowhere, through="stack")


def test_a_huge_page_shrinks_to_one() -> None:
    condition = _has(Map, lambda one: Rights.HUGE_PAGE in one.rights and one.address == WIDE_PROBE)
    found: Case = reach(fault_cases(image=LONG_IMAGE), condition, shrink=True)
    found = reduce_case(found, condition)
    assert found.program.operations == (Map(WIDE_PROBE, rights=Rights.HUGE_PAGE),)


def test_a_guard_page_case_shrinks_to_one_stack() -> None:
    found: Case = reach(
        guard_page_cases(image=IMAGE), _follows(StackAllocate, Overflow), shrink=True
    )
    assert found.program == Program((StackAllocate(), Overflow(0, "push")), 1)
    assert found.machine == Machine()
    array: Case = reach(
        guard_page_cases(image=IMAGE),
        lambda case: (
            case.machine.paging == "pae" and _has(Overflow, lambda one: one.size > 2 * PAGE)(case)
        ),
        shrink=True,
    )
    assert len(array.program.operations) == 1
    assert array.machine == Machine(paging="pae")


def test_a_program_for_a_machine_uses_what_the_machine_has() -> None:
    def uses_everything(program: Program) -> bool:
        bits = {one.bit for one in program.operations if isinstance(one, Control)}
        return {"supervisor_execution", "no_execute"} <= bits

    assert reach(paging_programs(machine=BROADWELL), uses_everything, shrink=False)


@pytest.mark.parametrize("machine", _all_machines)
def test_what_a_program_draws_exists_on_the_machine(machine: Machine) -> None:
    space = ProbeSpace(machine)
    bits = [space.control_bit(number) for number in range(10)]
    assert ("supervisor_access" in bits) == (machine.cpu_profile == "broadwell")
    assert ("no_execute" in bits) == (
        machine.paging != "legacy" and machine.cpu_profile != "pentium3"
    )
    start = space.start
    levels = {space.level(number, start) for number in range(6)}
    assert ("pointer_table" in levels) == (machine.paging != "legacy")
    assert ("root_table" in levels) == (machine.paging == "4-level")
    space.large.append(start)
    assert "page_table" not in {space.level(number, start + 5 * PAGE) for number in range(6)}
    assert all(space.entry_bit(number, "page_table", start) != 1 << 7 for number in range(40))
    pointer_bits = {space.entry_bit(number, "pointer_table", start) for number in range(40)}
    assert (1 << 7 in pointer_bits) == (not space.has_huge_pages)
    assert 1 << 29 not in pointer_bits
    if space.has_huge_pages:
        space.huge.append(start)
        levels = {space.level(number, start + 5 * PAGE) for number in range(6)}
        assert levels == {"pointer_table", "root_table"}
        assert 1 << 29 in {space.entry_bit(n, "pointer_table", start) for n in range(40)}


def test_mappings_do_not_collide() -> None:
    space = ProbeSpace(Machine())
    assert space.mapped(3) == PROBE
    for _ in range(16):
        address = space.unmapped(15)
        assert address not in space.pages
        space.pages.append(address)
    assert len(set(space.pages)) == 16
    assert {space.mapped(number) for number in range(16)} == set(space.pages)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paging_programs(max_operations=-1), "max_operations=-1 is outside"),
        (lambda: paging_programs(machine="pae"), "machine must be a Machine or None, got 'pae'"),
        (lambda: stack_programs(max_operations=1.0), "max_operations must be an integer, got 1.0"),
        (lambda: fault_cases(machine=16), r"machine must be a Machine or None, got 16 \(int\)"),
        (lambda: fault_cases(image="i686"), r"image must be a ImageId or None, got 'i686' \(str\)"),
        (lambda: guard_page_cases(machine=16), "machine must be a Machine or None"),
        (lambda: guard_page_cases(image="i686"), "image must be a ImageId or None"),
    ],
)
def test_an_impossible_argument_is_refused_at_once(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        call()
