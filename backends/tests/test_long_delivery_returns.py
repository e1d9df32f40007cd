"""IRETQ in 64-bit mode (SDM vol. 2, IRET)."""

from __future__ import annotations

import pytest

from backends.tests.delivery_machine import CODE, DATA, descriptor
from backends.tests.long_delivery_machine import (
    AC,
    AM,
    CODE_32,
    CONFORMING_CODE,
    EXTERNAL,
    HIGH,
    IF,
    KERNEL_CODE,
    KERNEL_DATA,
    KERNEL_STACK,
    LOCAL_CODE,
    LOCAL_DATA,
    NOWHERE,
    NT,
    RF,
    RING_1_CODE,
    RING_1_DATA,
    SPARE,
    TF,
    USER_CODE,
    USER_DATA,
    USER_STACK,
    FakeMachine,
    delivered,
)
from backends.tests.long_machine import long_descriptor
from backends.unicorn_model.delivery.vectors import AC as ALIGNMENT
from backends.unicorn_model.delivery.vectors import GP, NP, SS, Fault
from backends.unicorn_model.faults import NotModelled, PageFault
from backends.unicorn_model.long_mode.delivery.machine import Segment, Table
from backends.unicorn_model.long_mode.delivery.returns import interrupt_return

TARGET = HIGH + 0x1234
IOPL, VM, VIF = 3 << 12, 1 << 17, 1 << 19


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine()


def refused(machine: FakeMachine) -> tuple[int, int]:
    before = machine.snapshot()
    with pytest.raises(Fault) as caught:
        interrupt_return(machine)
    assert machine.snapshot() == before
    return caught.value.vector, caught.value.error_code


def frame(
    machine: FakeMachine,
    rip: int = TARGET,
    cs: int = KERNEL_CODE,
    rflags: int = 2,
    rsp: int = 0x8888,
    ss: int = KERNEL_DATA,
) -> None:
    machine.push(rip, cs, rflags, rsp, ss)


def test_a_return_undoes_a_delivery(machine: FakeMachine) -> None:
    machine.enter_ring(3)
    before = machine.registers
    delivered(machine, EXTERNAL)
    interrupt_return(machine)
    after = machine.registers
    assert (after.rip, after.rflags, after.rsp) == (before.rip, before.rflags, before.rsp)
    assert (after.cs.selector, after.ss.selector) == (before.cs.selector, before.ss.selector)
    assert after.ds == before.ds


def test_within_a_level_the_stack_is_popped_too(machine: FakeMachine) -> None:
    before = machine.registers
    frame(machine)
    interrupt_return(machine)
    registers = machine.registers
    assert (registers.rip, registers.rsp) == (TARGET, 0x8888)
    assert registers.cs.selector == KERNEL_CODE
    assert registers.ss.selector == KERNEL_DATA
    assert registers.ds == before.ds


def test_selectors_are_16_bits_of_what_is_popped(machine: FakeMachine) -> None:
    frame(machine, cs=KERNEL_CODE | 0xABC0000, ss=KERNEL_DATA | 0xFFFF0000)
    interrupt_return(machine)
    assert machine.registers.cs.selector == KERNEL_CODE
    assert machine.registers.ss.selector == KERNEL_DATA


def test_the_stack_pointer_need_not_be_canonical(machine: FakeMachine) -> None:
    frame(machine, rsp=NOWHERE)
    interrupt_return(machine)
    assert machine.registers.rsp == NOWHERE


@pytest.mark.parametrize("rip", [NOWHERE, 0x8000_0000_0000_0000, 0xFFFF_7FFF_FFFF_FFFF])
@pytest.mark.parametrize(("cs", "ss"), [(KERNEL_CODE, KERNEL_DATA), (USER_CODE, USER_DATA)])
def test_an_address_that_is_nowhere(machine: FakeMachine, rip: int, cs: int, ss: int) -> None:
    frame(machine, rip=rip, cs=cs, ss=ss)
    assert refused(machine) == (GP, 0)


def test_a_stack_that_is_nowhere(machine: FakeMachine) -> None:
    machine.set(rsp=NOWHERE - 24)
    with pytest.raises(PageFault):  # the first three could be popped, if anything were there
        interrupt_return(machine)
    machine.set(rsp=NOWHERE)
    assert refused(machine) == (SS, 0)
    machine.set(rsp=NOWHERE - 4)
    assert refused(machine) == (SS, 0)


def test_there_are_no_tasks(machine: FakeMachine) -> None:
    frame(machine)
    machine.set(rflags=2 | NT)
    assert refused(machine) == (GP, 0)


BAD_CODE = {
    "null": (0x1, b"", GP, 0),
    "beyond": (0x60, b"", GP, 0x60),
    "data": (SPARE, descriptor(DATA), GP, SPARE),
    "DPL is not RPL": (KERNEL_CODE | 3, b"", GP, KERNEL_CODE),
    "conforming": (SPARE | 1, long_descriptor(CODE | 4, dpl=2), GP, SPARE),
    "L and D": (SPARE, bytes([*long_descriptor()[:6], 0x60, 0]), GP, SPARE),
    "absent": (SPARE, long_descriptor(present=False), NP, SPARE),
    "beyond the local table": (0x14, b"", GP, 0x14),
}


@pytest.mark.parametrize("name", BAD_CODE)
def test_bad_code_segments(machine: FakeMachine, name: str) -> None:
    selector, raw, vector, code = BAD_CODE[name]
    if raw:
        machine.set_descriptor(selector & ~3, raw)
    frame(machine, cs=selector)
    assert refused(machine) == (vector, code)


def test_no_return_to_an_inner_level(machine: FakeMachine) -> None:
    machine.enter_ring(1)
    frame(machine)
    assert refused(machine) == (GP, KERNEL_CODE)


def test_to_a_conforming_segment(machine: FakeMachine) -> None:
    frame(machine, cs=CONFORMING_CODE | 3, ss=USER_DATA)
    interrupt_return(machine)
    assert machine.registers.cpl == 3


def test_to_segments_of_the_local_table(machine: FakeMachine) -> None:
    frame(machine, cs=LOCAL_CODE, ss=LOCAL_DATA)
    interrupt_return(machine)
    assert machine.registers.cs.selector == LOCAL_CODE
    assert machine.registers.ss == machine.segment(LOCAL_DATA)


def test_compatibility_mode_is_not_guessed_at(machine: FakeMachine) -> None:
    frame(machine, cs=CODE_32)
    with pytest.raises(NotModelled, match="compatibility"):
        interrupt_return(machine)


@pytest.mark.parametrize(
    ("cs", "ss", "ok"),
    [
        (KERNEL_CODE, 0, True),
        (KERNEL_CODE, 1, False),
        (RING_1_CODE, 1, True),
        (RING_1_CODE, 0, False),
        (USER_CODE, 3, False),
        (USER_CODE, 0, False),
        (CODE_32, 0, False),
    ],
)
def test_a_null_stack_segment(machine: FakeMachine, cs: int, ss: int, ok: bool) -> None:
    frame(machine, cs=cs, ss=ss)
    if not ok:
        assert refused(machine) == (GP, 0)
        return
    interrupt_return(machine)
    assert machine.registers.ss == Segment(ss, None)


BAD_STACKS = {
    "beyond": (KERNEL_CODE, 0x60, b"", GP, 0x60),
    "code": (KERNEL_CODE, KERNEL_CODE, b"", GP, KERNEL_CODE),
    "read-only": (KERNEL_CODE, SPARE, descriptor(DATA & ~2), GP, SPARE),
    "RPL": (KERNEL_CODE, KERNEL_DATA | 3, b"", GP, KERNEL_DATA),
    "DPL": (USER_CODE, KERNEL_DATA | 3, b"", GP, KERNEL_DATA),
    "absent": (KERNEL_CODE, SPARE, descriptor(DATA, present=False), SS, SPARE),
}


@pytest.mark.parametrize("name", BAD_STACKS)
def test_bad_stack_segments(machine: FakeMachine, name: str) -> None:
    cs, selector, raw, vector, code = BAD_STACKS[name]
    if raw:
        machine.set_descriptor(selector & ~3, raw)
    frame(machine, cs=cs, ss=selector)
    assert refused(machine) == (vector, code)


def test_a_table_that_is_nowhere(machine: FakeMachine) -> None:
    frame(machine)
    machine.set(gdtr=Table(NOWHERE - KERNEL_CODE, 0xFFFF))
    assert refused(machine) == (GP, KERNEL_CODE)


@pytest.mark.parametrize(
    ("ring", "selectors"), [(3, (USER_CODE, USER_DATA)), (1, (RING_1_CODE, RING_1_DATA))]
)
def test_what_an_outer_level_may_not_use(
    machine: FakeMachine, ring: int, selectors: tuple[int, int]
) -> None:
    machine.set(
        ds=machine.segment(KERNEL_DATA),
        es=machine.segment(USER_DATA),
        fs=machine.segment(CONFORMING_CODE),
        gs=machine.segment(KERNEL_CODE),
    )
    frame(machine, cs=selectors[0], ss=selectors[1])
    interrupt_return(machine)
    registers = machine.registers
    assert registers.cpl == ring
    assert registers.ds == registers.gs == Segment(0, None)
    assert registers.es.selector == USER_DATA
    assert registers.fs.selector == CONFORMING_CODE


def test_within_a_level_segments_are_kept(machine: FakeMachine) -> None:
    machine.enter_ring(1)
    kernels = machine.segment(KERNEL_DATA)
    machine.set(es=kernels)
    frame(machine, cs=RING_1_CODE, ss=RING_1_DATA)
    interrupt_return(machine)
    assert machine.registers.es == kernels


ALL_FLAGS = 0xCD5 | TF | IF | IOPL | NT | RF | VM | AC | VIF | 1 << 20 | 1 << 21


@pytest.mark.parametrize(
    ("ring", "kept"), [(0, VM), (3, IF | IOPL | VM | VIF | 1 << 20)], ids=["ring 0", "ring 3"]
)
def test_which_flags_are_popped(machine: FakeMachine, ring: int, kept: int) -> None:
    """There is no return to virtual-8086 mode."""
    cs, ss = KERNEL_CODE, KERNEL_DATA
    machine.set(rflags=2)
    if ring:
        machine.enter_ring(3)
        cs, ss = USER_CODE, USER_DATA
    frame(machine, cs=cs, ss=ss, rflags=2 | ALL_FLAGS)
    interrupt_return(machine)
    assert machine.registers.rflags == 2 | ALL_FLAGS & ~kept


@pytest.mark.parametrize(
    ("flags", "cr0", "checked"), [(AC, AM, True), (0, AM, False), (AC, 0, False)]
)
def test_alignment_is_checked_in_user_mode(
    machine: FakeMachine, flags: int, cr0: int, checked: bool
) -> None:
    machine.enter_ring(3)
    machine.set(rsp=USER_STACK + 4, rflags=2 | flags, cr0=0x80000001 | cr0)
    frame(machine, cs=USER_CODE, ss=USER_DATA)
    if checked:
        assert refused(machine) == (ALIGNMENT, 0)
    else:
        interrupt_return(machine)
        assert machine.registers.rip == TARGET


def test_a_frame_behind_an_absent_page(machine: FakeMachine) -> None:
    machine.set(rsp=0x9FE8)
    machine.absent.add(0xA000)
    before = machine.snapshot()
    with pytest.raises(PageFault) as caught:
        interrupt_return(machine)
    assert (caught.value.linear, caught.value.error_code) == (0xA000, 0)
    assert machine.snapshot() == before
    assert KERNEL_STACK < 0xA000
