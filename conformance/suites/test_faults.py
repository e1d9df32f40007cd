"""Page faults and all other exceptions: which accesses fault, how, and what the kernel is told.

Every test runs its cases on all backends and compares each event with the oracle's
(kernel/TRACE.md). Sections are those of the SDM's volume 3. Run it with
`conformance run --suite faults`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from conformance import (
    Control,
    Interrupt,
    Invalidate,
    Machine,
    Map,
    Operation,
    Probe,
    Protect,
    Raise,
    ReadEntry,
    Reload,
    Rights,
    TripleFault,
    Unmap,
    WriteEntry,
    fault_cases,
)
from conformance.case.image import ImageId
from conformance.case.machine import every_machine
from conformance.case.strategies_attempts import VECTORS
from conformance.judge.known import KnownDivergence
from conformance.protocol import PROTOCOL
from conformance.pytest_plugin import DifferentialTest
from conformance.suites.addresses import THROUGH, accesses_nowhere, accesses_through
from conformance.suites.directed import (
    I686_MACHINES,
    MACHINES,
    PAGE,
    accesses,
    all_rights,
    case_of,
    machine_name,
    mapped_pages,
    probe_of,
    slots_of,
    values_of,
)
from conformance.suites.entries import (
    ALL,
    HUGE,
    LARGE,
    PRESENT,
    mapping,
    reserved_bits,
    watched_flags,
)
from conformance.suites.levels import (
    LEVELS,
    huge_pages_over_tables,
    rights_taken_away,
    stale_upper_entries,
)
from conformance.suites.permissions import SETTINGS, Setting
from conformance.suites.rejections import REASONS, rejected_operations
from conformance.suites.segments import (
    accesses_around_a_limit,
    accesses_around_the_stack_limit,
    accesses_through_a_flat_stack_segment,
)

LONG_MACHINES = [machine for machine in MACHINES if machine.paging == "4-level"]
PAE_MACHINES = [machine for machine in I686_MACHINES if machine.paging == "pae"]

HANGS = "reserved_control_bit"
CAUSES = [cause for cause in PROTOCOL.enums["raise_cause"].values() if cause != HANGS]

on_every_machine = pytest.mark.parametrize("machine", MACHINES, ids=machine_name)
on_every_4_level_machine = pytest.mark.parametrize(
    "machine", every_machine("x86_64"), ids=machine_name
)
on_every_pae_machine = pytest.mark.parametrize("machine", PAE_MACHINES, ids=machine_name)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_permissions(
    differential_test: DifferentialTest, image_id: ImageId, setting: Setting
) -> None:
    """Every access, under all that decides about it (4.6)."""
    differential_test.check(setting.case(image_id))


@pytest.mark.parametrize("size", [LARGE, HUGE], ids=["large", "huge"])
@on_every_machine
def test_large_pages(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, size: Rights
) -> None:
    """Every access to a large or a huge page, with all rights that it can have."""
    probe = probe_of(machine)
    operations = [*mapping(machine, size)]
    for rights in all_rights(machine):
        operations += [Protect(probe, rights), *accesses(probe + 3 * PAGE)]
    differential_test.check(case_of(image_id, machine, operations))


@pytest.mark.parametrize("invalidate", [True, False], ids=["and-tell", "untold"])
@on_every_4_level_machine
def test_a_huge_page_over_tables(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, invalidate: bool
) -> None:
    """It comes and goes, over other pages and for another slot: the tables are as they were."""
    operations = huge_pages_over_tables(machine, invalidate=invalidate)
    differential_test.check(case_of(image_id, machine, operations))


@pytest.mark.parametrize("level", LEVELS)
@on_every_4_level_machine
def test_execute_disable_at_each_level(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, level: str
) -> None:
    """XD in one entry is enough (4.6.1)."""
    operations = rights_taken_away(machine, level, set_bits=1 << 63)
    differential_test.check(case_of(image_id, machine, operations))


@pytest.mark.parametrize("cleared", [1 << 0, 1 << 1, 1 << 2], ids=["present", "writable", "user"])
@pytest.mark.parametrize("level", LEVELS)
@on_every_4_level_machine
def test_stale_entry_at_each_level(
    differential_test: DifferentialTest,
    image_id: ImageId,
    machine: Machine,
    level: str,
    cleared: int,
) -> None:
    """What led to a translation may be used until it is invalidated, for its neighbours too."""
    operations = stale_upper_entries(machine, level, cleared)
    differential_test.check(case_of(image_id, machine, operations))


@pytest.mark.parametrize("bit", PROTOCOL.enums["control_bit"].values())
@on_every_machine
def test_control_bit(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, bit: str
) -> None:
    """A control bit set, cleared and set again, where the processor has it."""
    probe = probe_of(machine)
    rights = all_rights(machine)
    chosen = [Rights(0), Rights.USER, max(rights)]
    operations: list[Operation] = [*mapped_pages(probe, chosen)]
    for value in (True, False, True):
        operations.append(Control(bit, value))
        for page in range(len(chosen)):
            operations += accesses(probe + page * PAGE)
    differential_test.check(case_of(image_id, machine, operations))


@on_every_machine
def test_kernel_page(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine
) -> None:
    """Ring 3 cannot touch the kernel; ring 0 can read it."""
    kernel = values_of(machine).boot["kernel_window"] + (1 << 20)
    operations = [
        *(Probe(kernel, access, ring=3) for access in PROTOCOL.enums["access_kind"].values()),
        *(Probe(kernel + PAGE - size, "read", size) for size in (1, 2, 4)),
    ]
    differential_test.check(case_of(image_id, machine, operations))


@pytest.mark.parametrize("cause", CAUSES)
@on_every_machine
def test_exception(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, cause: str
) -> None:
    """Every exception that can be raised, twice: the second time nothing is left of the first."""
    differential_test.check(case_of(image_id, machine, [Raise(cause), Raise(cause)]))


def test_reserved_control_bit(differential_test: DifferentialTest, image_id: ImageId) -> None:
    """MOV CR4 with a reserved bit; on one machine only, since an engine may hang in it."""
    differential_test.check(case_of(image_id, I686_MACHINES[0], [Raise(HANGS)]))


@on_every_machine
def test_software_interrupts(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine
) -> None:
    """INT with every vector of an exception that has no error code (6.4.2)."""
    differential_test.check(case_of(image_id, machine, map(Interrupt, VECTORS)))


@on_every_machine
def test_triple_fault(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine
) -> None:
    """The processor shuts down; what happened before is still told."""
    probe = probe_of(machine)
    operations = [Probe(probe), Raise("double_fault"), TripleFault()]
    differential_test.check(case_of(image_id, machine, operations))


@pytest.mark.parametrize(
    ("machine", "level", "size", "bit"),
    [
        pytest.param(*each, id=f"{machine_name(each[0])}-{each[1]}-{each[2]:d}-{each[3]}")
        for each in reserved_bits()
    ],
)
def test_reserved_bit(
    differential_test: DifferentialTest,
    image_id: ImageId,
    machine: Machine,
    level: str,
    size: Rights,
    bit: int,
) -> None:
    """A reserved bit in an entry that was used before, and then is used again (4.3, 4.4)."""
    probe = probe_of(machine)
    operations = [
        *mapping(machine, ALL | size),
        Probe(probe),
        WriteEntry(probe, level, set=1 << bit),
        *accesses(probe),
        WriteEntry(probe, level, clear=1 << bit),
        Probe(probe),
        ReadEntry(probe, level),
    ]
    differential_test.check(case_of(image_id, machine, operations))


@on_every_pae_machine
def test_pointer_table_is_loaded_with_cr3(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine
) -> None:
    """A PDPTE that is cleared counts from the next MOV to CR3 on, not from INVLPG on (4.4.1)."""
    probe = probe_of(machine)
    operations = [
        Map(probe, rights=ALL),
        Probe(probe),
        WriteEntry(probe, "pointer_table", clear=PRESENT, invalidate=False),
        Probe(probe),
        Invalidate(probe),
        Probe(probe),
        Probe(probe + PAGE),
        Reload(),
        *accesses(probe),
        WriteEntry(probe, "pointer_table", set=PRESENT),
        Probe(probe),
        Reload(),
        *accesses(probe),
        ReadEntry(probe, "pointer_table"),
    ]
    differential_test.check(case_of(image_id, machine, operations))


@pytest.mark.parametrize("bit", [1, 2, 5, 6, 7, 8, 40, 51, 52, 62, 63])
@on_every_pae_machine
def test_reserved_bit_of_a_pointer_table_entry(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, bit: int
) -> None:
    """Loading a PDPTE with a reserved bit is a general protection fault, and loads none (4.4.1).

    Unless it is not present: then nothing of it is reserved.
    """
    probe = probe_of(machine)
    operations = [
        Map(probe, rights=ALL),
        WriteEntry(probe, "pointer_table", set=1 << bit),
        Probe(probe),
        Reload(),
        Probe(probe),
        Control("write_protect", value=False),
        Probe(probe),
        WriteEntry(probe, "pointer_table", clear=PRESENT),
        Reload(),
        WriteEntry(probe, "pointer_table", clear=1 << bit, set=PRESENT),
        Reload(),
        Probe(probe),
    ]
    differential_test.check(case_of(image_id, machine, operations))


@on_every_pae_machine
def test_a_pointer_table_entry_has_no_accessed_flag(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine
) -> None:
    """Using it changes nothing in it (4.8)."""
    probe = probe_of(machine)
    operations = [
        Map(probe, rights=ALL),
        Probe(probe, "write"),
        ReadEntry(probe, "pointer_table"),
        Reload(),
        Probe(probe),
        ReadEntry(probe, "pointer_table"),
    ]
    differential_test.check(case_of(image_id, machine, operations))


@pytest.mark.parametrize("size", [Rights(0), LARGE, HUGE], ids=["small", "large", "huge"])
@on_every_machine
def test_accessed_and_dirty_flags(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, size: Rights
) -> None:
    """What a read, a write, a fetch and a fault do to the entries (4.8)."""
    differential_test.check(case_of(image_id, machine, watched_flags(machine, size)))


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(ALL, ALL, id="both"),
        pytest.param(ALL, None, id="first"),
        pytest.param(None, ALL, id="second"),
        pytest.param(None, None, id="neither"),
        pytest.param(ALL, Rights.USER, id="second-read-only"),
        pytest.param(ALL, Rights.WRITABLE, id="second-supervisor"),
    ],
)
@on_every_machine
def test_access_across_pages(
    differential_test: DifferentialTest,
    image_id: ImageId,
    machine: Machine,
    first: Rights | None,
    second: Rights | None,
    size: int,
) -> None:
    """An access that straddles two pages, whose frames are not neighbours."""
    probe = probe_of(machine)
    operations: list[Operation] = []
    for page, rights in ((0, first), (1, second)):
        if rights is not None:
            operations.append(Map(probe + page * PAGE, 5 - 3 * page, rights))
    for below, ring, access in itertools.product(range(size + 1), (0, 3), ("write", "read")):
        operations.append(Probe(probe + PAGE - below, access, size, ring))
    # An access that faults has written nothing.
    operations += [Probe(probe + PAGE - 4), Probe(probe + PAGE)]
    differential_test.check(case_of(image_id, machine, operations))


@pytest.mark.parametrize("below", [0, 1, 2, 3])
@on_every_machine
def test_one_frame_at_two_addresses(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, below: int
) -> None:
    """What is written through one page is read and executed through another."""
    probe, second_slot = slots_of(machine)
    operations = [
        Map(probe, 2, ALL),
        Map(second_slot + PAGE, 2, Rights(0)),
        Probe(probe + 64 - below, "write"),
        *accesses(second_slot + PAGE + 64 - below),
    ]
    differential_test.check(case_of(image_id, machine, operations))


@pytest.mark.parametrize("through", THROUGH)
@on_every_machine
def test_base_register(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, through: str
) -> None:
    """Accesses through a plain register, the stack pointer and the frame pointer; 8 bytes, too."""
    operations = accesses_through(machine, through)
    differential_test.check(case_of(image_id, machine, operations))


@pytest.mark.parametrize("access", PROTOCOL.enums["access_kind"].values())
@pytest.mark.parametrize("machine", LONG_MACHINES, ids=machine_name)
def test_address_that_is_not_canonical(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, access: str
) -> None:
    """#GP at the instruction, also at a CALL; #SS through the stack and frame pointer (6.15)."""
    differential_test.check(case_of(image_id, machine, accesses_nowhere(access)))


@pytest.mark.parametrize(
    "flush",
    [lambda _: [], lambda probe: [Invalidate(probe)], lambda _: [Reload()]],
    ids=["no-flush", "invlpg", "cr3"],
)
@pytest.mark.parametrize(
    "change",
    [
        lambda probe: Protect(probe, Rights(0), invalidate=False),
        lambda probe: Unmap(probe, invalidate=False),
        lambda probe: WriteEntry(probe, "page_directory", clear=PRESENT, invalidate=False),
        lambda probe: Protect(probe, Rights(0)),
        Unmap,
    ],
    ids=["protect", "unmap", "directory", "protect-and-tell", "unmap-and-tell"],
)
@on_every_machine
def test_stale_translation(
    differential_test: DifferentialTest,
    image_id: ImageId,
    machine: Machine,
    change: Callable[[int], Operation],
    flush: Callable[[int], list[Operation]],
) -> None:
    """A change that the TLB is not told of until later, or at once (4.10.4)."""
    probe = probe_of(machine)
    operations = [Map(probe, rights=ALL), Probe(probe, "write"), change(probe), *flush(probe)]
    differential_test.check(case_of(image_id, machine, [*operations, *accesses(probe)]))


@on_every_machine
def test_more_rights_need_no_invalidation(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine
) -> None:
    """A stale translation may fault once; after that fault there is none left (4.10.4.3)."""
    probe = probe_of(machine)
    operations = [
        Probe(probe),
        Map(probe, rights=Rights(0), invalidate=False),
        Probe(probe),
        Protect(probe, ALL, invalidate=False),
        Probe(probe, ring=3),
        Probe(probe, "write", ring=3),
        Probe(probe, "write", ring=3),
    ]
    differential_test.check(case_of(image_id, machine, operations))


@pytest.mark.parametrize("access", ["read", "write"])
@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("expand_down", [False, True], ids=["up", "down"])
def test_segment_limit(
    differential_test: DifferentialTest,
    image_id: ImageId,
    expand_down: bool,
    size: int,
    access: str,
) -> None:
    """Accesses around the limit of a segment that expands up or down (5.3)."""
    operations = accesses_around_a_limit(access, size, expand_down=expand_down)
    differential_test.check(case_of(image_id, Machine(), operations))


@on_every_machine
def test_stack_segment(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine
) -> None:
    """Accesses through SS."""
    operations = accesses_through_a_flat_stack_segment(machine)
    differential_test.check(case_of(image_id, machine, operations))


@pytest.mark.parametrize("access", ["read", "write"])
def test_stack_segment_limit(
    differential_test: DifferentialTest, image_id: ImageId, access: str
) -> None:
    """Accesses around the limit of SS: #SS, where another segment has #GP (6.15)."""
    operations = accesses_around_the_stack_limit(access)
    differential_test.check(case_of(image_id, Machine(), operations))


@pytest.mark.parametrize("reason", REASONS)
@on_every_machine
def test_rejected(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, reason: str
) -> None:
    """Operations that the kernel does not do, for each of its reasons."""
    differential_test.check(case_of(image_id, machine, rejected_operations(machine, reason)))


@pytest.mark.usefixtures("architecture")
def test_generated(differential_test: DifferentialTest, image_id: ImageId) -> None:
    """Generated programs, on all machines."""
    differential_test.explore(fault_cases(image=image_id))


def test_known_divergence(
    differential_test: DifferentialTest, image_id: ImageId, known_divergence: KnownDivergence
) -> None:
    """What is on the list of known divergences still shows up."""
    differential_test.check_known(known_divergence, image_id)
