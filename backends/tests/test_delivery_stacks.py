"""The stack a handler gets: each check of INT n's Operation section by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends.tests.delivery_events import (
    EVENTS,
    EXTERNAL,
    SOFTWARE,
    VECTOR,
    delivered,
    ext,
    second,
)
from backends.tests.delivery_machine import (
    AC,
    ACCESSED,
    AM,
    BUSY,
    CODE,
    CONFORMING_CODE,
    DATA,
    EIP,
    GDT,
    GDT_LIMIT,
    HANDLER,
    IDT,
    IF,
    KERNEL_CODE,
    KERNEL_DATA,
    KERNEL_STACK,
    LDT_KIND,
    LOCAL_DATA,
    LOCAL_SELECTOR,
    PE,
    RF,
    RING_1_CODE,
    RING_1_DATA,
    RING_1_STACK,
    SPARE,
    TASK,
    TASK_SELECTOR,
    USER_CODE,
    USER_STACK,
    FakeMachine,
    descriptor,
    gate,
)
from backends.unicorn_model.delivery.deliver import deliver
from backends.unicorn_model.delivery.descriptors import within_limit
from backends.unicorn_model.delivery.machine import NotModelled, Segment, Table
from backends.unicorn_model.delivery.vectors import (
    Event,
    ProcessorException,
)

DE, NP, SS, GP, PF = 0, 11, 12, 13, 14
TSS_FAULT = 10


# The stack of an inner level.


def ring_3_to_1() -> FakeMachine:
    """A machine in ring 3 whose gate leads to ring 1; the faults' own way, to ring 0, is free."""
    machine = FakeMachine()
    machine.enter_ring(3)
    machine.gate(VECTOR, gate(RING_1_CODE, dpl=3))
    return machine


def set_ring_1_stack(machine: FakeMachine, selector: int, pointer: int = RING_1_STACK) -> None:
    machine.put(TASK + 12, pointer.to_bytes(4, "little") + selector.to_bytes(2, "little"))


@pytest.mark.parametrize("event", EVENTS)
def test_tss_too_short_for_the_stack(event: Event) -> None:
    machine = ring_3_to_1()
    task = machine.registers.tr
    assert task.descriptor is not None
    machine.set(tr=Segment(task.selector, replace(task.descriptor, limit=16)))
    assert second(machine, event) == (TSS_FAULT, TASK_SELECTOR | ext(event))
    machine = ring_3_to_1()
    machine.set(tr=Segment(task.selector, replace(task.descriptor, limit=17)))
    delivered(machine, event)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("selector", [0, 1])
def test_null_stack_segment(event: Event, selector: int) -> None:
    machine = ring_3_to_1()
    machine.put(GDT, descriptor(DATA, dpl=1))  # what a null selector must not find
    set_ring_1_stack(machine, selector)
    assert second(machine, event) == (TSS_FAULT, ext(event))


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(
    ("selector", "raw"),
    [
        (GDT_LIMIT + 1 | 1, None),
        (LOCAL_DATA | 1, None),
        (SPARE, descriptor(DATA, dpl=1)),
        (SPARE | 3, descriptor(DATA, dpl=1)),
        (SPARE | 1, descriptor(DATA, dpl=0)),
        (SPARE | 1, descriptor(DATA, dpl=3, present=False)),
        (SPARE | 1, descriptor(DATA & ~2, dpl=1)),
        (SPARE | 1, descriptor(CODE, dpl=1)),
        (SPARE | 1, descriptor(LDT_KIND, dpl=1)),
    ],
)
def test_bad_stack_segment(event: Event, selector: int, raw: bytes | None) -> None:
    machine = ring_3_to_1()
    if raw:
        machine.set_descriptor(selector, raw)
    set_ring_1_stack(machine, selector)
    assert second(machine, event) == (TSS_FAULT, selector & ~3 | ext(event))


@pytest.mark.parametrize("event", EVENTS)
def test_stack_segment_that_is_not_present(event: Event) -> None:
    machine = ring_3_to_1()
    machine.set_descriptor(RING_1_DATA, descriptor(DATA, dpl=1, present=False))
    assert second(machine, event) == (SS, RING_1_DATA & ~3 | ext(event))


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(("pointer", "room"), [(0x10013, False), (0x10014, True)])
def test_room_on_an_expand_down_stack(event: Event, pointer: int, room: bool) -> None:
    machine = ring_3_to_1()
    machine.set_descriptor(RING_1_DATA, descriptor(DATA | 4, limit=0xFFFF, dpl=1))
    set_ring_1_stack(machine, RING_1_DATA, pointer)
    if room:
        delivered(machine, event)
    else:
        assert second(machine, event) == (SS, RING_1_DATA & ~3 | ext(event))


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(("limit", "room"), [(RING_1_STACK - 2, False), (RING_1_STACK - 1, True)])
def test_room_on_an_expand_up_stack(event: Event, limit: int, room: bool) -> None:
    machine = ring_3_to_1()
    machine.set_descriptor(RING_1_DATA, descriptor(DATA, limit=limit, dpl=1))
    if room:
        delivered(machine, event)
    else:
        assert second(machine, event) == (SS, RING_1_DATA & ~3 | ext(event))


def test_the_error_code_needs_room_too() -> None:
    machine = FakeMachine()
    machine.enter_ring(3)
    machine.gate(DE, gate(RING_1_CODE))
    machine.gate(17, gate(RING_1_CODE))
    machine.set_descriptor(RING_1_DATA, descriptor(DATA | 4, limit=0xFFFF, dpl=1))
    set_ring_1_stack(machine, RING_1_DATA, 0x10014)
    assert second(machine, ProcessorException(17, 0)) == (SS, RING_1_DATA & ~3 | 1)
    machine.enter_ring(3)
    delivered(machine, ProcessorException(DE))


@pytest.mark.parametrize("room", [False, True])
def test_room_is_looked_at_before_anything_is_pushed(room: bool) -> None:
    machine = ring_3_to_1()
    machine.set_descriptor(SPARE, descriptor(CODE, dpl=1, limit=HANDLER - 1))
    machine.gate(VECTOR, gate(SPARE))
    machine.set_descriptor(RING_1_DATA, descriptor(DATA | 4, limit=0xFFFF, dpl=1))
    set_ring_1_stack(machine, RING_1_DATA, 0x10014 if room else 0x10013)
    machine.absent.add((0x10000, None))
    # The order of INT n: room on the stack, the instruction pointer, and then the pushes.
    expected = (GP, 1) if room else (SS, RING_1_DATA & ~3 | 1)
    assert second(machine) == expected
    machine.gate(VECTOR, gate(RING_1_CODE))
    machine.enter_ring(3)
    machine.set(eip=EIP)
    assert second(machine) == ((PF, 2) if room else expected)


def test_a_change_of_level_needs_a_32_bit_tss() -> None:
    machine = FakeMachine()
    machine.enter_ring(3)
    for segment in (Segment(0, None), Segment(SPARE, machine.descriptor(LOCAL_SELECTOR))):
        machine.set(tr=segment)
        with pytest.raises(NotModelled, match="TSS"):
            deliver(machine, EXTERNAL)


# The stack of the same level: a fault's own pushes meet the same stack, so these go further.


def test_same_level_stack_without_room_is_a_double_fault_too_deep() -> None:
    machine = FakeMachine()
    machine.set_descriptor(SPARE, descriptor(DATA | 4, limit=KERNEL_STACK - 12))
    machine.set(ss=machine.segment(SPARE))
    before = machine.snapshot()
    outcome = deliver(machine, EXTERNAL)
    assert [(e.vector, getattr(e, "error_code", None)) for e in outcome.events] == [
        (VECTOR, None),
        (SS, 1),
        (SS, 1),
        (8, 0),
        (SS, 1),
    ]
    assert outcome.shutdown
    assert machine.snapshot() == before


def test_same_level_stack_fault_of_a_software_interrupt_is_not_external() -> None:
    machine = FakeMachine()
    machine.set_descriptor(SPARE, descriptor(DATA | 4, limit=KERNEL_STACK - 12))
    machine.set(ss=machine.segment(SPARE))
    assert deliver(machine, SOFTWARE).events[1] == ProcessorException(SS, 0)
    machine.set(ss=Segment(0, None))
    assert deliver(machine, SOFTWARE).events[1] == ProcessorException(SS, 0)


@pytest.mark.parametrize(("esp", "result"), [(0xA0008, 0xAFFFC), (0xA9000, 0xA8FF4)])
def test_a_16_bit_stack_goes_round_at_64_kib(esp: int, result: int) -> None:
    machine = FakeMachine()
    machine.set_descriptor(SPARE, descriptor(DATA, limit=0xFFFF, big=False))
    machine.set(ss=machine.segment(SPARE), esp=esp)
    delivered(machine, EXTERNAL)
    assert machine.registers.esp == result
    assert machine.words(result & 0xFFFF, 1) == (EIP,)


@example(limit=0x100, offset=0xFFFE, size=4, big=False, down=True)
@given(
    limit=st.integers(0, 0xFFFF),
    offset=st.integers(0, 0x10003),
    size=st.sampled_from([1, 4]),
    big=st.booleans(),
    down=st.booleans(),
)
def test_limits_are_those_of_each_byte(
    limit: int, offset: int, size: int, big: bool, down: bool
) -> None:
    machine = FakeMachine()
    machine.set_descriptor(SPARE, descriptor(DATA | down << 2, limit=limit, big=big))
    top = 0xFFFFFFFF if big else 0xFFFF
    byte_fits = [
        limit < byte <= top if down else byte <= limit for byte in range(offset, offset + size)
    ]
    assert within_limit(machine.descriptor(SPARE), offset, size) is all(byte_fits)


def test_limit_of_4_gib_goes_round() -> None:
    machine = FakeMachine()
    assert within_limit(machine.descriptor(KERNEL_DATA), 0xFFFFFFFE, 4)


# Page faults on the way.


@pytest.mark.parametrize(
    ("page", "linear", "bits"),
    [
        (IDT, IDT + VECTOR * 8, 0),
        (TASK, TASK + 16, 0),
        (RING_1_STACK - 0x1000, RING_1_STACK - 4, 2),
    ],
)
def test_a_page_that_is_absent(page: int, linear: int, bits: int) -> None:
    machine = ring_3_to_1()
    machine.gate(PF, gate(offset=HANDLER + PF))
    if page == IDT:  # the page fault's own gate is elsewhere: the table straddles two pages
        table = bytes(machine.memory[IDT : IDT + 0x800])
        machine.put(0x7000 - 0x100, table)
        machine.set(idtr=Table(0x7000 - 0x100, 0x7FF))
        page, linear = 0x7000, 0x7000 - 0x100 + VECTOR * 8
    if page == TASK:  # and ESP0 is on another page than ESP1
        machine.set_descriptor(TASK_SELECTOR, descriptor(BUSY, base=0x6000 - 12, limit=0x67))
        machine.put(0x6000 - 12, bytes(machine.memory[TASK : TASK + 0x68]))
        machine.set(tr=machine.segment(TASK_SELECTOR))
        page, linear = 0x6000, 0x6000 + 4
    machine.absent.add((page, None))
    assert second(machine, EXTERNAL) == (PF, bits)
    assert machine.registers.cr2 == linear


def test_a_page_fault_halfway_down_the_pushes_leaves_nothing_behind() -> None:
    machine = ring_3_to_1()
    set_ring_1_stack(machine, RING_1_DATA, 0xD008)
    machine.absent.add((0xC000, None))
    assert second(machine, SOFTWARE) == (PF, 2)
    assert machine.registers.cr2 == 0xD000 - 4
    assert machine.words(0xD000, 2) == (0, 0)
    assert machine.descriptor(RING_1_CODE).kind == CODE
    # Faults save their own instruction, with RF.
    assert machine.words(machine.registers.esp + 4, 3) == (EIP, USER_CODE, 2 | IF | RF)


def test_a_read_only_descriptor_table_cannot_be_marked() -> None:
    machine = FakeMachine()
    machine.set_descriptor(KERNEL_CODE, descriptor(CODE | ACCESSED))
    machine.set_descriptor(SPARE, descriptor(CODE))
    machine.gate(VECTOR, gate(SPARE))
    machine.read_only |= {GDT}
    assert second(machine) == (PF, 3)
    assert machine.registers.cr2 == GDT + SPARE + 5


def test_user_pages_are_checked_as_the_handler_pushes() -> None:
    machine = FakeMachine()
    machine.enter_ring(3)
    machine.gate(VECTOR, gate(CONFORMING_CODE))
    machine.supervisor |= {USER_STACK - 0x1000}
    assert second(machine) == (PF, 7)


# Alignment.


def unaligned_ring_3(cr0: int = PE | AM, eflags: int = 2 | AC) -> FakeMachine:
    machine = FakeMachine()
    machine.enter_ring(3)
    machine.set(esp=USER_STACK - 2, cr0=cr0, eflags=eflags)
    machine.gate(VECTOR, gate(CONFORMING_CODE, dpl=3))
    return machine


@pytest.mark.parametrize("event", EVENTS)
def test_unaligned_pushes_of_ring_3(event: Event) -> None:
    machine = unaligned_ring_3()
    assert second(machine, event) == (17, ext(event))


@pytest.mark.parametrize(("cr0", "eflags"), [(PE, 2 | AC), (PE | AM, 2)])
def test_alignment_is_not_checked_without(cr0: int, eflags: int) -> None:
    delivered(unaligned_ring_3(cr0, eflags), EXTERNAL)


def test_alignment_is_not_checked_in_inner_rings() -> None:
    machine = FakeMachine()
    machine.set(esp=KERNEL_STACK - 2, cr0=PE | AM, eflags=2 | AC)
    delivered(machine, EXTERNAL)


def test_aligned_pushes_of_ring_3() -> None:
    machine = unaligned_ring_3()
    machine.set(esp=USER_STACK - 4)
    delivered(machine, EXTERNAL)


def test_alignment_checks_without_end() -> None:
    machine = unaligned_ring_3()
    machine.gate(17, gate(CONFORMING_CODE))
    with pytest.raises(NotModelled, match="without end"):
        deliver(machine, EXTERNAL)
