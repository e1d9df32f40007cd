"""Interrupt and trap gates: each check of INT n's Operation section by itself."""

from __future__ import annotations

from typing import Any

import pytest

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
    ACCESSED,
    AVAILABLE,
    CF,
    CODE,
    CONFORMING_CODE,
    DATA,
    EIP,
    GDT,
    GDT_LIMIT,
    HANDLER,
    IDT,
    IF,
    INTERRUPT,
    KERNEL_CODE,
    KERNEL_DATA,
    KERNEL_STACK,
    LDT_KIND,
    LOCAL_CODE,
    LOCAL_SELECTOR,
    NEXT_EIP,
    NT,
    OTHER_TASK_SELECTOR,
    RF,
    RING_1_CODE,
    RING_1_DATA,
    RING_1_STACK,
    SPARE,
    TASK,
    TASK_GATE,
    TF,
    TRAP,
    TS,
    USER_CODE,
    USER_DATA,
    USER_STACK,
    VM,
    FakeMachine,
    descriptor,
    gate,
)
from backends.unicorn_model.delivery.deliver import deliver
from backends.unicorn_model.delivery.machine import Mode, NotModelled, Table
from backends.unicorn_model.delivery.vectors import (
    Event,
    ExternalInterrupt,
    Instruction,
    ProcessorException,
    SoftwareInterrupt,
)

DE, NP, SS, GP, PF = 0, 11, 12, 13, 14
TSS_FAULT = 10


# Success.


def test_interrupt_gate_at_the_same_level() -> None:
    machine = FakeMachine()
    machine.set(eflags=2 | IF | TF | NT | RF | CF)
    delivered(machine, EXTERNAL)
    registers = machine.registers
    assert registers.esp == KERNEL_STACK - 12
    assert machine.words(registers.esp, 3) == (EIP, KERNEL_CODE, 2 | IF | TF | NT | RF | CF)
    assert (registers.cs.selector, registers.eip) == (KERNEL_CODE, HANDLER + VECTOR)
    assert registers.eflags == 2 | CF
    assert registers.cs.descriptor == machine.descriptor(KERNEL_CODE)


def test_trap_gate_leaves_interrupts_on() -> None:
    machine = FakeMachine()
    machine.gate(VECTOR, gate(kind=TRAP))
    machine.set(eflags=2 | IF | TF)
    delivered(machine, EXTERNAL)
    assert machine.registers.eflags == 2 | IF


def test_gate_to_an_inner_level_switches_stacks() -> None:
    machine = FakeMachine()
    machine.enter_ring(3)
    machine.set(esp=USER_STACK - 8)
    delivered(machine, ProcessorException(GP, 0x18))
    registers = machine.registers
    assert registers.ss.selector == KERNEL_DATA
    assert registers.esp == KERNEL_STACK - 24
    assert machine.words(registers.esp, 6) == (
        0x18,
        EIP,
        USER_CODE,
        2 | IF | RF,
        USER_STACK - 8,
        USER_DATA,
    )
    assert registers.cpl == 0
    # 5.8.5: the data segment registers are left alone on the way in.
    assert registers.ds.selector == USER_DATA


def test_each_level_has_its_own_stack() -> None:
    machine = FakeMachine()
    machine.enter_ring(3)
    machine.gate(VECTOR, gate(RING_1_CODE & ~3))
    delivered(machine, EXTERNAL)
    registers = machine.registers
    assert (registers.cs.selector, registers.ss.selector) == (RING_1_CODE, RING_1_DATA)
    assert registers.esp == RING_1_STACK - 20


def test_conforming_handler_runs_at_the_level_that_was_interrupted() -> None:
    machine = FakeMachine()
    machine.enter_ring(3)
    machine.gate(VECTOR, gate(CONFORMING_CODE))
    delivered(machine, EXTERNAL)
    assert machine.registers.cs.selector == CONFORMING_CODE | 3
    assert machine.registers.ss.selector == USER_DATA
    assert machine.registers.esp == USER_STACK - 12
    assert machine.modes[USER_STACK - 12] is Mode.USER


def test_pushes_to_an_inner_level_are_supervisor_accesses_and_tables_are_implicit() -> None:
    machine = FakeMachine()
    machine.enter_ring(3)
    machine.supervisor |= {GDT, IDT, TASK, KERNEL_STACK - 0x1000}
    delivered(machine, EXTERNAL)
    assert machine.modes[KERNEL_STACK - 5 * 4] is Mode.SUPERVISOR  # all that is pushed
    assert machine.modes[IDT + VECTOR * 8] is Mode.IMPLICIT
    assert machine.modes[GDT + KERNEL_CODE] is Mode.IMPLICIT
    assert machine.modes[TASK + 4] is Mode.IMPLICIT


@pytest.mark.parametrize(
    ("event", "eip"),
    [
        (SOFTWARE, NEXT_EIP),
        (SoftwareInterrupt(3, NEXT_EIP, Instruction.INT3), NEXT_EIP),
        (SoftwareInterrupt(4, NEXT_EIP, Instruction.INTO), NEXT_EIP),
        (SoftwareInterrupt(1, NEXT_EIP, Instruction.INT1), NEXT_EIP),
        (EXTERNAL, EIP),
        (ProcessorException(DE), EIP),
        (ProcessorException(1), EIP),
    ],
)
def test_saved_instruction_pointer(event: Event, eip: int) -> None:
    machine = FakeMachine()
    delivered(machine, event)
    assert machine.words(machine.registers.esp, 1) == (eip,)


@pytest.mark.parametrize(
    ("event", "before", "saved"),
    [
        (ProcessorException(6), 0, RF),
        (ProcessorException(1), 0, 0),
        (ProcessorException(1), RF, RF),
        (ProcessorException(8, 0), 0, 0),
        (EXTERNAL, 0, 0),
        (EXTERNAL, RF, RF),
        (ExternalInterrupt(VECTOR, mid_string=True), 0, RF),
        (SOFTWARE, RF, 0),
    ],
)
def test_saved_resume_flag(event: Event, before: int, saved: int) -> None:
    machine = FakeMachine()
    machine.set(eflags=2 | before)
    delivered(machine, event)
    esp = machine.registers.esp + (4 if event == ProcessorException(8, 0) else 0)
    assert machine.words(esp + 8, 1) == (2 | saved,)
    assert not machine.registers.eflags & RF


def test_a_page_fault_sets_cr2_and_nothing_else_does() -> None:
    machine = FakeMachine()
    delivered(machine, ProcessorException(PF, 6, 0xDEAD000))
    assert machine.registers.cr2 == 0xDEAD000
    assert machine.words(machine.registers.esp, 1) == (6,)
    delivered(machine, EXTERNAL)
    assert machine.registers.cr2 == 0xDEAD000


def test_the_descriptors_that_are_loaded_are_marked_accessed() -> None:
    machine = FakeMachine()
    machine.enter_ring(3)
    delivered(machine, EXTERNAL)
    assert machine.descriptor(KERNEL_CODE).kind == CODE | ACCESSED
    assert machine.descriptor(KERNEL_DATA).kind == DATA | ACCESSED
    assert machine.registers.ss.descriptor == machine.descriptor(KERNEL_DATA)
    assert machine.descriptor(RING_1_DATA).kind == DATA


def test_a_descriptor_that_is_marked_already_may_be_read_only() -> None:
    machine = FakeMachine()
    machine.set_descriptor(KERNEL_CODE, descriptor(CODE | ACCESSED))
    machine.read_only |= {GDT}
    delivered(machine, EXTERNAL)


def test_stack_segments_have_a_base() -> None:
    machine = FakeMachine()
    machine.set_descriptor(SPARE, descriptor(DATA, base=0x8000))
    machine.set(ss=machine.segment(SPARE), esp=0x800)
    delivered(machine, EXTERNAL)
    assert machine.registers.esp == 0x800 - 12
    assert machine.words(0x8800 - 12, 1) == (EIP,)


def test_local_descriptors() -> None:
    machine = FakeMachine()
    machine.set(ldtr=machine.segment(LOCAL_SELECTOR))
    machine.gate(VECTOR, gate(LOCAL_CODE))
    delivered(machine, EXTERNAL)
    assert machine.registers.cs.selector == LOCAL_CODE


# The gate.


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("short", [1, 8])
def test_vector_beyond_the_idt(event: Event, short: int) -> None:
    machine = FakeMachine()
    machine.set(idtr=Table(IDT, VECTOR * 8 + 7 - short))
    assert second(machine, event) == (GP, VECTOR * 8 + 2 + ext(event))


def test_vector_that_just_fits() -> None:
    machine = FakeMachine()
    machine.set(idtr=Table(IDT, VECTOR * 8 + 7))
    delivered(machine, EXTERNAL)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("kind", sorted(set(range(32)) - {0x5, 0x6, 0x7, 0xE, 0xF}))
def test_not_a_gate(event: Event, kind: int) -> None:
    machine = FakeMachine()
    machine.gate(VECTOR, gate(kind=kind, present=False, dpl=3))
    assert second(machine, event) == (GP, VECTOR * 8 + 2 + ext(event))


@pytest.mark.parametrize("kind", [0x6, 0x7])
def test_16_bit_gates_are_not_modelled(kind: int) -> None:
    machine = FakeMachine()
    machine.gate(VECTOR, gate(kind=kind))
    before = machine.snapshot()
    with pytest.raises(NotModelled, match="16-bit gate"):
        deliver(machine, EXTERNAL)
    assert machine.snapshot() == before


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("kind", [INTERRUPT, TRAP, TASK_GATE])
def test_gate_that_is_not_present(event: Event, kind: int) -> None:
    machine = FakeMachine()
    machine.gate(VECTOR, gate(kind=kind, present=False))
    assert second(machine, event) == (NP, VECTOR * 8 + 2 + ext(event))


@pytest.mark.parametrize("kind", [INTERRUPT, TRAP, TASK_GATE])
@pytest.mark.parametrize("dpl", range(4))
@pytest.mark.parametrize("instruction", Instruction)
def test_gate_privilege_is_checked_for_software_interrupts(
    kind: int, dpl: int, instruction: Instruction
) -> None:
    machine = FakeMachine()
    machine.enter_ring(3)
    selector = OTHER_TASK_SELECTOR if kind == TASK_GATE else KERNEL_CODE
    machine.gate(VECTOR, gate(selector, kind=kind, dpl=dpl))
    event = SoftwareInterrupt(VECTOR, NEXT_EIP, instruction)
    if dpl < 3 and instruction is not Instruction.INT1:
        assert second(machine, event) == (GP, VECTOR * 8 + 2)
    else:
        delivered(machine, event)


def test_gate_privilege_goes_before_presence() -> None:
    machine = FakeMachine()
    machine.enter_ring(3)
    machine.gate(VECTOR, gate(present=False))
    assert second(machine, SOFTWARE) == (GP, VECTOR * 8 + 2)


@pytest.mark.parametrize("event", [EXTERNAL, ProcessorException(0)])
def test_gate_privilege_is_not_checked_for_others(event: Event) -> None:
    machine = FakeMachine()
    machine.enter_ring(3)
    delivered(machine, event)


# The code segment.


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("selector", [0, 3])
def test_null_code_segment(event: Event, selector: int) -> None:
    machine = FakeMachine()
    machine.put(GDT, descriptor(CODE))  # what a null selector must not find
    machine.gate(VECTOR, gate(selector))
    assert second(machine, event) == (GP, ext(event))


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("selector", [GDT_LIMIT + 1, LOCAL_CODE, LOCAL_SELECTOR + 4 | 3])
def test_code_segment_beyond_its_table(event: Event, selector: int) -> None:
    machine = FakeMachine()
    machine.gate(VECTOR, gate(selector))
    assert second(machine, event) == (GP, selector & ~3 | ext(event))


@pytest.mark.parametrize(("limit", "fits"), [(SPARE, False), (SPARE + 6, False), (SPARE + 7, True)])
def test_code_segment_half_beyond_its_table(limit: int, fits: bool) -> None:
    machine = FakeMachine()
    machine.set_descriptor(SPARE, descriptor(CODE))
    machine.set(gdtr=Table(GDT, limit))
    machine.gate(VECTOR, gate(SPARE))
    if fits:
        delivered(machine, EXTERNAL)
    else:
        assert second(machine) == (GP, SPARE | 1)


def test_code_segment_beyond_the_local_table() -> None:
    machine = FakeMachine()
    machine.set(ldtr=machine.segment(LOCAL_SELECTOR))
    machine.gate(VECTOR, gate(0x14))
    assert second(machine) == (GP, 0x14 | 1)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("kind", [DATA, AVAILABLE, LDT_KIND, 0xC])
@pytest.mark.parametrize("present", [False, True])
def test_not_a_code_segment(event: Event, kind: int, present: bool) -> None:
    machine = FakeMachine()
    machine.set_descriptor(SPARE, descriptor(kind, present=present))
    machine.gate(VECTOR, gate(SPARE | 1))
    assert second(machine, event) == (GP, SPARE | ext(event))


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("kind", [CODE, CODE | 4])
@pytest.mark.parametrize("present", [False, True])
def test_less_privileged_code_segment(event: Event, kind: int, present: bool) -> None:
    machine = FakeMachine()
    machine.set_descriptor(SPARE, descriptor(kind, dpl=1, present=present))
    machine.gate(VECTOR, gate(SPARE))
    assert second(machine, event) == (GP, SPARE | ext(event))


@pytest.mark.parametrize("event", EVENTS)
def test_code_segment_that_is_not_present(event: Event) -> None:
    machine = FakeMachine()
    machine.set_descriptor(SPARE, descriptor(CODE, present=False))
    machine.gate(VECTOR, gate(SPARE))
    assert second(machine, event) == (NP, SPARE | ext(event))


def test_the_gates_selector_may_have_any_rpl() -> None:
    machine = FakeMachine()
    machine.gate(VECTOR, gate(KERNEL_CODE | 3))
    delivered(machine, EXTERNAL)
    assert machine.registers.cs.selector == KERNEL_CODE


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("ring", [0, 3])
def test_handler_beyond_its_segment(event: Event, ring: int) -> None:
    machine = FakeMachine()
    if ring:
        machine.enter_ring(ring)
    machine.set_descriptor(SPARE, descriptor(CODE, limit=HANDLER))
    machine.gate(VECTOR, gate(SPARE, HANDLER + 1, dpl=3))
    assert second(machine, event) == (GP, ext(event))
    machine = FakeMachine()
    machine.set_descriptor(SPARE, descriptor(CODE, limit=HANDLER))
    machine.gate(VECTOR, gate(SPARE, HANDLER, dpl=3))
    delivered(machine, event)


@pytest.mark.parametrize("registers", [{"cr0": 0}, {"eflags": 2 | VM}])
def test_other_modes_are_not_modelled(registers: dict[str, Any]) -> None:
    machine = FakeMachine()
    machine.set(**registers)
    with pytest.raises(NotModelled, match="protected mode"):
        deliver(machine, EXTERNAL)


def test_interrupts_through_gates_do_not_switch_tasks() -> None:
    machine = FakeMachine()
    delivered(machine, EXTERNAL)
    assert not machine.registers.cr0 & TS
    assert machine.loads == []
