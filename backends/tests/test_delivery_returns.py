"""IRETD: each check of its Operation section by itself."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.tests.delivery_machine import (
    AC,
    AM,
    CF,
    CODE,
    CONFORMING_CODE,
    DATA,
    GDT,
    GDT_LIMIT,
    IF,
    KERNEL_CODE,
    KERNEL_STACK,
    LOCAL_CODE,
    LOCAL_DATA,
    NEXT_EIP,
    NT,
    PE,
    RF,
    RING_1_CODE,
    SPARE,
    TF,
    USER_CODE,
    USER_DATA,
    USER_STACK,
    VM,
    FakeMachine,
    descriptor,
)
from backends.unicorn_model.delivery.deliver import deliver, exception_of
from backends.unicorn_model.delivery.machine import Mode, NotModelled, PageFault, Segment
from backends.unicorn_model.delivery.returns import interrupt_return
from backends.unicorn_model.delivery.vectors import ExternalInterrupt, Fault, ProcessorException

NP, SS, GP, PF = 11, 12, 13, 14
TARGET = 0x12000
IOPL = 3 << 12
ID, VIF, VIP = 1 << 21, 1 << 19, 1 << 20
ALWAYS = 0xCD5 | NT | TF | RF | AC | ID


def returning(*frame: int, ring: int = 0, **registers: int) -> FakeMachine:
    machine = FakeMachine()
    if ring:
        machine.enter_ring(ring)
    esp = machine.registers.esp - 4 * len(frame)
    machine.put(esp, struct.pack(f"<{len(frame)}I", *frame))
    machine.set(**{"esp": esp, "eflags": 2, **registers})
    return machine


def to_user(*, selector: int = USER_CODE, stack: int = USER_DATA, eip: int = TARGET) -> FakeMachine:
    return returning(eip, selector, 2 | IF, USER_STACK - 4, stack)


def fault(machine: FakeMachine) -> tuple[int, int]:
    """The fault of the IRET, which leaves everything as it was."""
    before = machine.snapshot()
    with pytest.raises(Fault) as caught:
        interrupt_return(machine, NEXT_EIP)
    assert machine.snapshot() == before
    return caught.value.vector, caught.value.error_code


def test_return_to_the_same_level() -> None:
    machine = returning(TARGET, 0xFFFF0000 | KERNEL_CODE, 2 | CF)
    interrupt_return(machine, NEXT_EIP)
    registers = machine.registers
    assert (registers.eip, registers.cs.selector, registers.eflags) == (TARGET, KERNEL_CODE, 2 | CF)
    assert registers.cs.descriptor == machine.descriptor(KERNEL_CODE)
    assert registers.esp == KERNEL_STACK
    assert registers.ss == FakeMachine().registers.ss
    assert machine.modes[KERNEL_STACK - 4] is Mode.SUPERVISOR


def test_return_to_an_outer_level() -> None:
    machine = to_user()
    user_data = machine.segment(USER_DATA)
    conforming = machine.segment(CONFORMING_CODE)
    machine.set(fs=user_data, gs=conforming, es=machine.segment(KERNEL_CODE))
    interrupt_return(machine, NEXT_EIP)
    registers = machine.registers
    assert (registers.eip, registers.cs.selector, registers.cpl) == (TARGET, USER_CODE, 3)
    assert (registers.esp, registers.ss.selector) == (USER_STACK - 4, USER_DATA)
    assert registers.ss.descriptor == machine.descriptor(USER_DATA)
    assert registers.eflags == 2 | IF
    # What ring 3 may not use is gone; conforming code segments stay.
    assert registers.ds == registers.es == Segment(0, None)
    assert (registers.fs, registers.gs) == (user_data, conforming)


def test_there_and_back() -> None:
    machine = FakeMachine()
    machine.enter_ring(3)
    before = machine.registers
    deliver(machine, ExternalInterrupt(0x40))
    interrupt_return(machine, NEXT_EIP)
    after = machine.registers
    for name in ("esp", "eip", "eflags", "ds", "es", "cr3"):
        assert getattr(after, name) == getattr(before, name)
    assert (after.cs.selector, after.ss.selector) == (USER_CODE, USER_DATA)


def test_return_within_ring_3_reads_as_user() -> None:
    machine = returning(TARGET, USER_CODE, 2, ring=3)
    interrupt_return(machine, NEXT_EIP)
    assert machine.modes[USER_STACK - 12] is Mode.USER


@given(
    current=st.integers(0, 0x3FFFFF).map(lambda flags: flags & ~(NT | VM)),
    popped=st.integers(0, 2**32 - 1).map(lambda flags: flags & ~VM),
    ring=st.sampled_from([0, 1, 3]),
)
def test_which_flags_change(current: int, popped: int, ring: int) -> None:
    selector = {0: KERNEL_CODE, 1: RING_1_CODE, 3: USER_CODE}[ring]
    machine = returning(TARGET, selector, popped, ring=ring, eflags=current)
    interrupt_return(machine, NEXT_EIP)
    changes = ALWAYS
    if ring <= current >> 12 & 3:
        changes |= IF
    if ring == 0:
        changes |= IOPL | VIF | VIP
    for bit in range(32):
        source = popped if changes >> bit & 1 else current
        assert machine.registers.eflags >> bit & 1 == source >> bit & 1, bit


@pytest.mark.parametrize("selector", [0, 3])
def test_null_code_segment(selector: int) -> None:
    machine = to_user(selector=selector)
    machine.put(GDT, descriptor(CODE, dpl=3))  # what a null selector must not find
    assert fault(machine) == (GP, 0)


@pytest.mark.parametrize(
    ("selector", "raw"),
    [
        (GDT_LIMIT + 1, None),
        (LOCAL_CODE, None),
        (SPARE, descriptor(DATA, present=False)),
        (SPARE, descriptor(0xC, present=False)),
        (SPARE, descriptor(CODE, dpl=1, present=False)),
        (SPARE | 3, descriptor(CODE, dpl=1)),
        (SPARE | 1, descriptor(CODE | 4, dpl=3)),
    ],
)
def test_bad_code_segment(selector: int, raw: bytes | None) -> None:
    machine = to_user(selector=selector)
    if raw:
        machine.set_descriptor(selector, raw)
    assert fault(machine) == (GP, selector & ~3)


def test_return_to_an_inner_level() -> None:
    machine = returning(TARGET, KERNEL_CODE, 2, ring=3)
    assert fault(machine) == (GP, KERNEL_CODE)
    machine = returning(TARGET, CONFORMING_CODE, 2, ring=3)
    assert fault(machine) == (GP, CONFORMING_CODE)


@pytest.mark.parametrize("kind", [CODE, CODE | 4])
def test_code_segment_that_is_not_present(kind: int) -> None:
    machine = to_user(selector=SPARE | 3)
    machine.set_descriptor(SPARE, descriptor(kind, dpl=3, present=False))
    assert fault(machine) == (NP, SPARE)


def test_return_to_conforming_code() -> None:
    machine = to_user(selector=CONFORMING_CODE | 3)
    interrupt_return(machine, NEXT_EIP)
    assert machine.registers.cpl == 3


@pytest.mark.parametrize("ring", [0, 3])
def test_instruction_pointer_beyond_the_segment(ring: int) -> None:
    for eip, fits in ((TARGET, True), (TARGET + 1, False)):
        machine = to_user(selector=SPARE | ring, eip=eip)
        machine.set_descriptor(SPARE, descriptor(CODE, dpl=ring, limit=TARGET))
        if fits:
            interrupt_return(machine, NEXT_EIP)
        else:
            assert fault(machine) == (GP, 0)


@pytest.mark.parametrize("selector", [0, 3])
def test_null_stack_segment(selector: int) -> None:
    machine = to_user(stack=selector)
    machine.put(GDT, descriptor(DATA, dpl=3))  # what a null selector must not find
    assert fault(machine) == (GP, 0)


@pytest.mark.parametrize(
    ("selector", "raw"),
    [
        (GDT_LIMIT + 1 | 3, None),
        (LOCAL_DATA | 3, None),
        (SPARE | 2, descriptor(DATA, dpl=3, present=False)),
        (SPARE | 3, descriptor(DATA, dpl=2, present=False)),
        (SPARE | 3, descriptor(DATA & ~2, dpl=3, present=False)),
        (SPARE | 3, descriptor(CODE, dpl=3, present=False)),
    ],
)
def test_bad_stack_segment(selector: int, raw: bytes | None) -> None:
    machine = to_user(stack=selector)
    if raw:
        machine.set_descriptor(selector, raw)
    assert fault(machine) == (GP, selector & ~3)


def test_stack_segment_that_is_not_present() -> None:
    machine = to_user(stack=SPARE | 3)
    machine.set_descriptor(SPARE, descriptor(DATA, dpl=3, present=False))
    assert fault(machine) == (SS, SPARE)


@pytest.mark.parametrize(("words", "limit"), [(3, -2), (3, -9), (5, -2), (5, -9)])
def test_frame_beyond_the_stacks_limit(words: int, limit: int) -> None:
    frame = (
        [TARGET, USER_CODE, 2, USER_STACK, USER_DATA] if words == 5 else [TARGET, KERNEL_CODE, 2]
    )
    machine = returning(*frame)
    machine.set_descriptor(SPARE, descriptor(DATA, limit=KERNEL_STACK + limit))
    machine.set(ss=machine.segment(SPARE))
    assert fault(machine) == (SS, 0)
    machine.set_descriptor(SPARE, descriptor(DATA, limit=KERNEL_STACK - 1))
    machine.set(ss=machine.segment(SPARE))
    interrupt_return(machine, NEXT_EIP)


@pytest.mark.parametrize(("words", "esp"), [(3, 0x8FFC), (5, 0x8FF4)])
def test_the_limit_is_looked_at_before_the_frame_is_read(words: int, esp: int) -> None:
    frame = (TARGET, USER_CODE, 2, USER_STACK, USER_DATA)[:words]
    machine = FakeMachine()
    machine.put(esp, struct.pack(f"<{words}I", *frame))
    machine.set_descriptor(SPARE, descriptor(DATA, limit=esp + 4 * words - 2))
    machine.set(ss=machine.segment(SPARE), esp=esp)
    machine.absent.add((0x9000, None))
    assert fault(machine) == (SS, 0)


def test_the_outer_stack_is_looked_at_after_the_code_segment() -> None:
    machine = to_user(selector=USER_CODE & ~3 | 1)
    machine.set_descriptor(SPARE, descriptor(DATA, limit=KERNEL_STACK - 9))
    machine.set(ss=machine.segment(SPARE))
    assert fault(machine) == (GP, USER_CODE & ~3)


def test_page_fault_on_the_frame() -> None:
    machine = to_user()
    machine.absent.add((KERNEL_STACK - 0x1000, None))
    before = machine.snapshot()
    with pytest.raises(PageFault) as caught:
        interrupt_return(machine, NEXT_EIP)
    assert machine.snapshot() == before
    assert exception_of(caught.value) == ProcessorException(PF, 0, KERNEL_STACK - 20)


def test_alignment_of_ring_3s_frame() -> None:
    machine = returning(TARGET, USER_CODE, 2, ring=3, cr0=PE | AM, eflags=2 | AC)
    machine.set(esp=machine.registers.esp - 2)
    assert fault(machine) == (17, 0)


def test_16_bit_stacks() -> None:
    machine = returning(TARGET, USER_CODE, 2, 0xAAAA1234, SPARE | 3, esp=0x50000)
    machine.set_descriptor(SPARE, descriptor(DATA, dpl=3, big=False))
    machine.set_descriptor(CONFORMING_CODE, descriptor(DATA, base=0x8000, limit=0xFFFF, big=False))
    machine.set(ss=machine.segment(CONFORMING_CODE), esp=0x50000 | 0x1000 - 20)
    interrupt_return(machine, NEXT_EIP)
    assert machine.registers.esp == 0x51234


def test_virtual_8086_mode_is_not_modelled() -> None:
    with pytest.raises(NotModelled):
        interrupt_return(returning(TARGET, KERNEL_CODE, 2 | VM), NEXT_EIP)
    with pytest.raises(NotModelled):
        interrupt_return(returning(TARGET, KERNEL_CODE, 2, eflags=2 | VM), NEXT_EIP)


def test_outside_ring_0_the_vm_flag_is_not_loaded() -> None:
    machine = returning(TARGET, USER_CODE, 2 | VM, ring=3)
    interrupt_return(machine, NEXT_EIP)
    assert not machine.registers.eflags & VM
