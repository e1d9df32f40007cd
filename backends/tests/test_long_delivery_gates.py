"""Gates, handlers and stacks of 64-bit mode (SDM vol. 3, 6.14; vol. 2, INT n)."""

from __future__ import annotations

import struct

import pytest

from backends.tests.delivery_machine import CODE, DATA, descriptor
from backends.tests.long_delivery_machine import (
    CODE_32,
    CONFORMING_CODE,
    EXTERNAL,
    GDT,
    HANDLER,
    IDT,
    IF,
    INNER_STACK,
    INTERRUPT_STACKS,
    KERNEL_CODE,
    KERNEL_DATA,
    KERNEL_STACK,
    LOCAL_CODE,
    NEXT_RIP,
    NOWHERE,
    NT,
    RF,
    RING_1_CODE,
    RING_1_STACK,
    RIP,
    SOFTWARE,
    SPARE,
    TASK,
    TASK_SELECTOR,
    TF,
    USER_CODE,
    USER_DATA,
    USER_STACK,
    VECTOR,
    FakeMachine,
    delivered,
    ext,
    second,
)
from backends.tests.long_machine import long_descriptor, long_gate
from backends.unicorn_model.delivery.descriptors import Descriptor, decode_descriptor
from backends.unicorn_model.delivery.vectors import (
    DF,
    GP,
    NP,
    PF,
    SS,
    TS,
    Event,
    Instruction,
    ProcessorException,
    SoftwareInterrupt,
)
from backends.unicorn_model.faults import NotModelled
from backends.unicorn_model.long_mode.delivery.deliver import deliver
from backends.unicorn_model.long_mode.delivery.gates import decode_long_gate
from backends.unicorn_model.long_mode.delivery.machine import Mode, Segment, Table

EVENTS = [SOFTWARE, EXTERNAL]
GATE_ERROR = VECTOR << 3 | 2


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine()


def test_a_gate_has_64_bits_of_offset_and_an_interrupt_stack() -> None:
    raw = struct.pack("<HHBBHII", 0xCDEF, 0x1234, 0xFD, 0xEE, 0x89AB, 0x01234567, 0xFFFFFFFF)
    gate = decode_long_gate(raw)
    assert gate.offset == 0x0123_4567_89AB_CDEF
    assert (gate.selector, gate.kind, gate.dpl, gate.present) == (0x1234, 0xE, 3, True)
    assert gate.stack == 5


@pytest.mark.parametrize("event", EVENTS)
def test_within_a_level(machine: FakeMachine, event: Event) -> None:
    """6.14.2: SS and RSP are pushed even so, and the frame is aligned to 16 bytes."""
    machine.set(rflags=0x2 | IF | TF | NT)
    saved = machine.registers.rflags
    delivered(machine, event)
    registers = machine.registers
    assert KERNEL_STACK % 16 == 8
    assert registers.rsp == KERNEL_STACK - 8 - 40
    address = NEXT_RIP if event is SOFTWARE else RIP
    frame = (address, KERNEL_CODE, saved, KERNEL_STACK, KERNEL_DATA)
    assert machine.quads(registers.rsp, 5) == frame
    assert registers.rip == HANDLER + VECTOR
    assert registers.rflags == 2
    assert registers.cs.selector == KERNEL_CODE
    assert registers.ss == machine.segment(KERNEL_DATA)


def test_an_aligned_stack_is_left_as_it_is(machine: FakeMachine) -> None:
    machine.set(rsp=KERNEL_STACK - 8)
    delivered(machine, EXTERNAL)
    assert machine.registers.rsp == KERNEL_STACK - 8 - 40


def test_an_error_code_takes_8_bytes(machine: FakeMachine) -> None:
    delivered(machine, ProcessorException(GP, 0x1238))
    rsp = machine.registers.rsp
    assert rsp == KERNEL_STACK - 8 - 48
    frame = (0x1238, RIP, KERNEL_CODE, 2 | IF | RF, KERNEL_STACK, KERNEL_DATA)
    assert machine.quads(rsp, 6) == frame


def test_a_page_fault_sets_cr2_to_64_bits(machine: FakeMachine) -> None:
    delivered(machine, ProcessorException(PF, 2, linear=0xFFFF_FFFF_9000_0000))
    assert machine.registers.cr2 == 0xFFFF_FFFF_9000_0000


def test_a_trap_gate_leaves_interrupts_on(machine: FakeMachine) -> None:
    machine.gate(VECTOR, long_gate(HANDLER, kind=0xF))
    delivered(machine, EXTERNAL)
    assert machine.registers.rflags == 2 | IF


@pytest.mark.parametrize("ring", [1, 3])
def test_from_an_outer_level(machine: FakeMachine, ring: int) -> None:
    """6.14.4: SS is forced to NULL."""
    machine.enter_ring(ring)
    before = machine.registers
    delivered(machine, EXTERNAL)
    registers = machine.registers
    assert registers.rsp == INNER_STACK - 8 - 40
    frame = (RIP, before.cs.selector, before.rflags, before.rsp, before.ss.selector)
    assert machine.quads(registers.rsp, 5) == frame
    assert registers.ss == Segment(0, None)
    assert registers.cs.selector == KERNEL_CODE
    assert registers.ds == before.ds
    assert machine.modes[registers.rsp] is Mode.SUPERVISOR


def test_to_ring_1(machine: FakeMachine) -> None:
    machine.enter_ring(3)
    machine.gate(VECTOR, long_gate(HANDLER, RING_1_CODE))
    delivered(machine, EXTERNAL)
    registers = machine.registers
    assert registers.rsp == RING_1_STACK - 8 - 40
    assert registers.ss == Segment(1, None)
    assert registers.cs.selector == RING_1_CODE


def test_a_conforming_handler_keeps_the_level(machine: FakeMachine) -> None:
    machine.enter_ring(3)
    machine.gate(VECTOR, long_gate(HANDLER, CONFORMING_CODE))
    delivered(machine, EXTERNAL)
    registers = machine.registers
    assert registers.cs.selector == CONFORMING_CODE | 3
    assert registers.rsp == USER_STACK - 8 - 40
    assert registers.ss == machine.segment(USER_DATA)
    assert machine.modes[registers.rsp] is Mode.USER


@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize("index", range(1, 8))
def test_an_interrupt_stack_is_taken_at_any_level(
    machine: FakeMachine, index: int, ring: int
) -> None:
    if ring:
        machine.enter_ring(ring)
    before = machine.registers
    machine.gate(VECTOR, long_gate(HANDLER, stack=index))
    delivered(machine, EXTERNAL)
    registers = machine.registers
    assert registers.rsp == INTERRUPT_STACKS[index - 1] - 8 - 40
    assert registers.ss == Segment(0, None)
    frame = (before.rsp, before.ss.selector)
    assert machine.quads(registers.rsp + 24, 2) == frame


def test_the_rpl_of_the_gates_selector_does_not_matter(machine: FakeMachine) -> None:
    machine.gate(VECTOR, long_gate(HANDLER, KERNEL_CODE | 3))
    delivered(machine, EXTERNAL)
    assert machine.registers.cs.selector == KERNEL_CODE


def test_a_handler_in_the_local_table(machine: FakeMachine) -> None:
    machine.gate(VECTOR, long_gate(HANDLER, LOCAL_CODE))
    delivered(machine, EXTERNAL)
    assert machine.registers.cs.selector == LOCAL_CODE


def test_the_handlers_segment_is_marked_accessed(machine: FakeMachine) -> None:
    delivered(machine, EXTERNAL)
    assert machine.memory[GDT + KERNEL_CODE + 5] & 1
    held = machine.registers.cs.descriptor
    assert isinstance(held, Descriptor)
    assert held.kind & 1


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(
    ("limit", "fits"), [(VECTOR * 16 + 15, True), (VECTOR * 16 + 14, False), (0, False)]
)
def test_the_limit_of_the_idt(machine: FakeMachine, event: Event, limit: int, fits: bool) -> None:
    machine.set(idtr=Table(IDT, limit))
    if fits:
        delivered(machine, event)
        return
    machine.set(rsp=KERNEL_STACK)
    # #GP's own gate is within this limit, but for the last one.
    if limit:
        assert second(machine, event) == (GP, GATE_ERROR | ext(event))
    else:
        assert deliver(machine, event).shutdown


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("kind", sorted(set(range(32)) - {0xE, 0xF}))
def test_only_two_types_of_gates(machine: FakeMachine, event: Event, kind: int) -> None:
    """There are neither task gates nor 16-bit ones."""
    machine.gate(VECTOR, long_gate(HANDLER, kind=kind))
    assert second(machine, event) == (GP, GATE_ERROR | ext(event))


def test_a_gate_that_is_nowhere() -> None:
    """INT n: "if the vector points to a gate which is in non-canonical space"."""
    machine = FakeMachine()
    machine.set(idtr=Table(NOWHERE - VECTOR * 16, 0xFFF))
    outcome = deliver(machine, EXTERNAL)
    assert outcome.events[1] == ProcessorException(GP, GATE_ERROR | 1)


@pytest.mark.parametrize("instruction", Instruction)
def test_the_gates_privilege(machine: FakeMachine, instruction: Instruction) -> None:
    machine.enter_ring(3)
    event = SoftwareInterrupt(VECTOR, NEXT_RIP, instruction)
    if instruction is Instruction.INT1:
        delivered(machine, event)
        return
    assert second(machine, event) == (GP, GATE_ERROR)


@pytest.mark.parametrize("dpl", range(4))
def test_a_gate_with_the_callers_privilege(machine: FakeMachine, dpl: int) -> None:
    machine.enter_ring(1)
    machine.gate(VECTOR, long_gate(HANDLER, dpl=dpl))
    if dpl >= 1:
        delivered(machine, SOFTWARE)
    else:
        assert second(machine, SOFTWARE) == (GP, GATE_ERROR)


@pytest.mark.parametrize("event", EVENTS)
def test_an_absent_gate(machine: FakeMachine, event: Event) -> None:
    machine.gate(VECTOR, long_gate(HANDLER, present=False))
    assert second(machine, event) == (NP, GATE_ERROR | ext(event))


HANDLERS = {
    "null": (0x3, b"", GP, 0),
    "beyond the table": (0x60, b"", GP, 0x60),
    "data": (SPARE, descriptor(DATA), GP, SPARE),
    "less privileged": (USER_CODE, b"", GP, USER_CODE & ~3),
    "32-bit code": (CODE_32, b"", GP, CODE_32),
    "16-bit code": (SPARE, descriptor(CODE, big=False), GP, SPARE),
    "L and D": (SPARE, bytes([*long_descriptor()[:6], 0x60, 0]), GP, SPARE),
    "absent": (SPARE, long_descriptor(present=False), NP, SPARE),
    "absent and 32-bit": (SPARE, descriptor(CODE, present=False), GP, SPARE),
    "beyond the local table": (0x14, b"", GP, 0x14),
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("name", HANDLERS)
def test_what_is_no_handler(machine: FakeMachine, event: Event, name: str) -> None:
    selector, raw, vector, code = HANDLERS[name]
    if raw:
        machine.set_descriptor(selector, raw)
    machine.gate(VECTOR, long_gate(HANDLER, selector))
    assert second(machine, event) == (vector, code | ext(event))


@pytest.mark.parametrize("event", EVENTS)
def test_a_handler_that_is_nowhere(machine: FakeMachine, event: Event) -> None:
    machine.gate(VECTOR, long_gate(NOWHERE))
    assert second(machine, event) == (GP, ext(event))


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("rsp", [NOWHERE + 16, NOWHERE + 40, 0xFFFF_8000_0000_0010])
def test_a_stack_that_is_nowhere(machine: FakeMachine, event: Event, rsp: int) -> None:
    """#SS(EXT), which needs a stack of its own to be delivered."""
    machine.gate(SS, long_gate(HANDLER + SS, stack=1))
    machine.set(rsp=rsp)
    outcome = deliver(machine, event)
    assert outcome.events[1:] == (ProcessorException(SS, ext(event)),)
    assert machine.registers.rsp == INTERRUPT_STACKS[0] - 8 - 48


def test_a_stack_that_is_nowhere_and_has_no_other(machine: FakeMachine) -> None:
    """A contributory exception while #SS is delivered, and again: shutdown."""
    machine.set(rsp=NOWHERE + 0x100)
    outcome = deliver(machine, EXTERNAL)
    assert outcome.shutdown
    vectors = [event.vector for event in outcome.events]
    assert vectors == [VECTOR, SS, SS, DF, SS]


@pytest.mark.parametrize("event", EVENTS)
def test_the_stack_is_checked_before_the_handlers_address(
    machine: FakeMachine, event: Event
) -> None:
    machine.gate(SS, long_gate(HANDLER + SS, stack=1))
    machine.gate(VECTOR, long_gate(NOWHERE))
    machine.set(rsp=NOWHERE + 16)
    assert deliver(machine, event).events[1] == ProcessorException(SS, ext(event))


@pytest.mark.parametrize(
    ("limit", "stack", "fits"),
    [(0x0B, 0, True), (0x0A, 0, False), (0x2B, 1, True), (0x2A, 1, False), (0x5A, 7, False)],
)
def test_the_limit_of_the_tss(machine: FakeMachine, limit: int, stack: int, fits: bool) -> None:
    machine.enter_ring(3)
    task = decode_descriptor(descriptor(0xB, base=TASK, limit=limit))
    machine.set(tr=Segment(TASK_SELECTOR, task))
    machine.gate(VECTOR, long_gate(HANDLER, stack=stack))
    if fits:
        delivered(machine, EXTERNAL)
        return
    machine.gate(TS, long_gate(HANDLER + TS, CONFORMING_CODE))
    assert second(machine, EXTERNAL) == (TS, TASK_SELECTOR | 1)


def test_without_a_tss(machine: FakeMachine) -> None:
    machine.enter_ring(3)
    machine.set(tr=Segment(0, None))
    with pytest.raises(NotModelled, match="no TSS"):
        deliver(machine, EXTERNAL)


def test_a_tss_that_is_nowhere(machine: FakeMachine) -> None:
    machine.enter_ring(3)
    held = machine.registers.tr.descriptor
    assert held is not None
    there = Descriptor(NOWHERE, held.limit, held.kind, 0, present=True, big=False)
    machine.set(tr=Segment(TASK_SELECTOR, there))
    machine.gate(TS, long_gate(HANDLER + TS, CONFORMING_CODE))
    assert second(machine, EXTERNAL) == (TS, TASK_SELECTOR | 1)


@pytest.mark.parametrize(
    ("page", "linear"),
    [(IDT, IDT + VECTOR * 16), (GDT, GDT + KERNEL_CODE), (TASK, TASK + 4)],
)
def test_tables_behind_an_absent_page(machine: FakeMachine, page: int, linear: int) -> None:
    machine.enter_ring(3)
    machine.absent.add(page)
    outcome = deliver(machine, EXTERNAL)
    assert outcome.events[1] == ProcessorException(PF, 0, linear)
    # The page fault's own delivery needs them, too.
    assert outcome.shutdown


def test_a_page_fault_in_pushing_is_delivered_on_an_interrupt_stack(machine: FakeMachine) -> None:
    machine.set(rsp=0x9010)
    machine.absent.add(0x8000)
    machine.gate(PF, long_gate(HANDLER + PF, stack=2))
    # The first pushes go to 0x9000 and up, the third does not.
    assert second(machine, EXTERNAL) == (PF, 2)
    assert machine.registers.cr2 == 0x8FF8


def test_a_page_fault_on_the_stack_of_a_page_fault_is_a_double_fault(
    machine: FakeMachine,
) -> None:
    machine.set(rsp=0x9000)
    machine.absent.add(0x8000)
    machine.gate(DF, long_gate(HANDLER + DF, stack=1))
    first = ProcessorException(PF, 2, linear=0x8FF8)
    outcome = deliver(machine, first)
    assert outcome.events == (first, first, ProcessorException(DF, 0))
    assert not outcome.shutdown
    assert machine.registers.rip == HANDLER + DF
    assert machine.registers.rsp == INTERRUPT_STACKS[0] - 8 - 48
    assert machine.quads(machine.registers.rsp, 2) == (0, RIP)


def test_a_failed_delivery_changes_nothing(machine: FakeMachine) -> None:
    machine.set(rsp=0x9010, idtr=Table(IDT, VECTOR * 16 + 15))
    machine.absent.add(0x8000)
    memory, before = machine.snapshot()
    outcome = deliver(machine, EXTERNAL)
    assert outcome.shutdown
    after = machine.registers
    assert machine.memory == memory
    assert (after.rsp, after.rip, after.rflags, after.cs) == (
        before.rsp,
        before.rip,
        before.rflags,
        before.cs,
    )
