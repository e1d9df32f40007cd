"""Events that arise while another is delivered, end to end (table 6-5), and what always holds."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.tests.delivery_machine import (
    AC,
    ACCESSED,
    AM,
    BUSY,
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
    MEMORY,
    NEXT_EIP,
    NT,
    OTHER_CR3,
    OTHER_STACK,
    OTHER_TASK,
    OTHER_TASK_SELECTOR,
    PE,
    PG,
    RF,
    RING_1_CODE,
    RING_1_DATA,
    RING_1_STACK,
    SPARE,
    TASK,
    TASK_GATE,
    TASK_SELECTOR,
    TF,
    TRAP,
    USER_CODE,
    USER_DATA,
    USER_STACK,
    FakeMachine,
    descriptor,
    gate,
)
from backends.unicorn_model.delivery.deliver import Outcome, deliver
from backends.unicorn_model.delivery.machine import NotModelled, Table
from backends.unicorn_model.delivery.vectors import (
    EXCEPTIONS,
    Event,
    ExternalInterrupt,
    Kind,
    ProcessorException,
    SoftwareInterrupt,
    error_code_of,
)

DF, NP, GP, PF, AC_VECTOR = 8, 11, 13, 14, 17


def exception(vector: int) -> ProcessorException:
    return ProcessorException(
        vector,
        0 if EXCEPTIONS[vector].error_code else None,
        0x5000 if vector == PF else None,
    )


FIRSTS: dict[str, list[Event]] = {
    "benign": [
        ExternalInterrupt(0x40),
        ExternalInterrupt(GP),
        SoftwareInterrupt(0x40, NEXT_EIP),
        SoftwareInterrupt(GP, NEXT_EIP),
        *(exception(vector) for vector in (1, 3, 4, 5, 6, 7, 9, 16, 17, 18, 19)),
    ],
    "contributory": [exception(vector) for vector in (0, 10, 11, 12, 13, 21)],
    "page fault": [exception(PF), exception(20)],
    "double fault": [exception(DF)],
}
TABLE_6_5 = {
    ("benign", "benign"): "serial",
    ("benign", "contributory"): "serial",
    ("benign", "page fault"): "serial",
    ("contributory", "benign"): "serial",
    ("contributory", "contributory"): "double",
    ("contributory", "page fault"): "serial",
    ("page fault", "benign"): "serial",
    ("page fault", "contributory"): "double",
    ("page fault", "page fault"): "double",
    ("double fault", "benign"): "serial",
    ("double fault", "contributory"): "shutdown",
    ("double fault", "page fault"): "shutdown",
}


def prepare(first: Event, second: str) -> tuple[FakeMachine, ProcessorException]:
    """A machine in ring 3 where the delivery of one event raises another, and no more."""
    machine = FakeMachine()
    machine.enter_ring(3)
    machine.set(cr0=PE | AM, eflags=2 | AC)
    software = isinstance(first, SoftwareInterrupt)
    if second == "contributory":
        machine.gate(first.vector, gate(SPARE, dpl=3))
        machine.set_descriptor(SPARE, descriptor(CODE, present=False))
        return machine, ProcessorException(NP, SPARE | (not software))
    if second == "page fault":
        machine.gate(first.vector, gate(RING_1_CODE, dpl=3))
        machine.absent.add((RING_1_STACK - 0x1000, None))
        return machine, ProcessorException(PF, 2, RING_1_STACK - 4)
    machine.gate(first.vector, gate(CONFORMING_CODE, dpl=3))
    machine.set(esp=USER_STACK - 1)
    return machine, ProcessorException(AC_VECTOR, int(not software))


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        (event, second, what)
        for (first, second), what in TABLE_6_5.items()
        for event in FIRSTS[first]
        # #AC upon #AC has no end, and a test of its own.
        if (event.vector, second) != (AC_VECTOR, "benign")
    ],
)
def test_table_6_5(first: Event, second: str, what: str) -> None:
    machine, raised = prepare(first, second)
    outcome = deliver(machine, first)
    if what == "serial":
        assert outcome == Outcome((first, raised), shutdown=False)
    elif what == "double":
        assert outcome == Outcome((first, raised, ProcessorException(DF, 0)), shutdown=False)
    else:
        assert outcome == Outcome((first, raised), shutdown=True)
        return  # and test_shutdown_leaves_the_state
    last = outcome.events[-1]
    registers = machine.registers
    assert registers.eip == HANDLER + last.vector
    assert machine.words(registers.esp, 3) == (error_code_of(last), EIP, USER_CODE)
    is_fault = EXCEPTIONS[last.vector].kind is Kind.FAULT
    assert machine.words(registers.esp + 12, 1) == (2 | AC | (RF if is_fault else 0),)
    page_faults = [e.linear for e in outcome.events if getattr(e, "linear", None) is not None]
    assert registers.cr2 == [0x1234, *page_faults][-1]


def test_the_longest_chain() -> None:
    machine = FakeMachine()
    machine.set(idtr=Table(IDT, PF * 8 + 7))
    machine.gate(GP, gate(kind=TASK_GATE, selector=OTHER_TASK_SELECTOR))
    machine.absent.add((OTHER_TASK, None))
    machine.gate(PF, gate(present=False))
    machine.gate(DF, gate(selector=0))
    outcome = deliver(machine, ExternalInterrupt(0x40))
    assert outcome == Outcome(
        (
            ExternalInterrupt(0x40),
            ProcessorException(GP, 0x40 * 8 + 3),
            ProcessorException(PF, 0, OTHER_TASK),
            ProcessorException(NP, PF * 8 + 3),
            ProcessorException(DF, 0),
            ProcessorException(GP, 1),
        ),
        shutdown=True,
    )


def test_no_idt_is_shutdown() -> None:
    machine = FakeMachine()
    machine.set(idtr=Table(0, 0))
    outcome = deliver(machine, ProcessorException(6))
    assert [event.vector for event in outcome.events] == [6, GP, GP, DF, GP]
    assert outcome.shutdown


@pytest.mark.parametrize("second", ["contributory", "page fault"])
def test_shutdown_leaves_the_state(second: str) -> None:
    machine, raised = prepare(exception(DF), second)
    memory, before = machine.snapshot()
    assert deliver(machine, exception(DF)).shutdown
    cr2 = before.cr2 if raised.linear is None else raised.linear
    assert machine.snapshot() == (memory, replace(before, cr2=cr2))


EXCEPTION_VECTORS = [
    vector
    for vector, row in enumerate(EXCEPTIONS)
    if row.kind not in (Kind.RESERVED, Kind.INTERRUPT)
]
SELECTORS = st.sampled_from(
    [
        0,
        KERNEL_CODE,
        KERNEL_DATA,
        USER_CODE,
        USER_DATA,
        OTHER_TASK_SELECTOR,
        TASK_SELECTOR,
        RING_1_CODE,
        RING_1_DATA,
        CONFORMING_CODE,
        LOCAL_CODE,
        SPARE,
        0x60,
    ]
)
EXCEPTION_EVENTS = st.builds(
    lambda vector, error_code, linear: ProcessorException(
        vector,
        error_code if EXCEPTIONS[vector].error_code else None,
        linear if vector == PF else None,
    ),
    st.sampled_from(EXCEPTION_VECTORS),
    st.integers(0, 0xFFFF),
    st.integers(0, 2**32 - 1),
)
ANY_EVENT = st.one_of(
    EXCEPTION_EVENTS,
    st.builds(SoftwareInterrupt, st.integers(0, 255), st.just(NEXT_EIP)),
    st.builds(ExternalInterrupt, st.integers(0, 255), st.booleans()),
)
ANY_GATE = st.builds(
    lambda selector, kind, dpl, present, offset: gate(
        selector, offset, kind=kind, dpl=dpl, present=present
    ),
    SELECTORS,
    st.sampled_from([INTERRUPT, TRAP, TASK_GATE, INTERRUPT, TRAP, 0xC]),
    st.integers(0, 3),
    st.sampled_from([True, True, True, False]),
    st.just(HANDLER),
)
ANY_SEGMENT = st.builds(
    lambda kind, dpl, present, limit, big: descriptor(
        kind, dpl=dpl, present=present, limit=limit, big=big
    ),
    st.sampled_from([CODE, CODE | 4, DATA, DATA | 4, DATA & ~2, LDT_KIND]),
    st.integers(0, 3),
    st.sampled_from([True, True, False]),
    st.sampled_from([0xFFFFFFFF, 0xFFFF, 0x8FFF, 0x100]),
    st.booleans(),
)


@st.composite
def machines(draw: st.DrawFn) -> FakeMachine:
    machine = FakeMachine()
    ring = draw(st.sampled_from([0, 1, 3]))
    if ring:
        machine.enter_ring(ring)
    machine.set(
        eflags=2 | draw(st.integers(0, 0x3FFFFF)) & (CF | TF | IF | NT | RF | AC),
        cr0=PE | PG | draw(st.sampled_from([0, AM])),
        esp=machine.registers.esp - draw(st.integers(0, 40)),
    )
    machine.set_descriptor(SPARE, draw(ANY_SEGMENT))
    for raw in draw(st.lists(ANY_GATE, min_size=1, max_size=4)):
        for vector in draw(st.lists(st.integers(0, 40), max_size=6)):
            machine.gate(vector, raw)
    machine.put(TASK + 8, struct.pack("<H", draw(st.sampled_from([KERNEL_DATA] * 3 + [SPARE, 0]))))
    if draw(st.booleans()):
        pages = st.sampled_from(
            [KERNEL_STACK - 0x1000, RING_1_STACK - 0x1000, USER_STACK - 0x1000, OTHER_TASK, TASK]
        )
        machine.absent |= {(page, None) for page in draw(st.lists(pages, max_size=2))}
    return machine


@given(machine=machines(), event=ANY_EVENT)
def test_what_always_holds(machine: FakeMachine, event: Event) -> None:
    memory, before = machine.snapshot()
    try:
        outcome = deliver(machine, event)
    except NotModelled:
        return  # an endless chain of alignment checks
    after = machine.registers
    assert outcome.events[0] == event
    exceptions = outcome.events[1:]
    assert all(isinstance(later, ProcessorException) for later in exceptions)
    assert len(outcome.events) <= 7
    last = outcome.events[-1]
    page_faults = [e.linear for e in outcome.events if getattr(e, "linear", None) is not None]
    assert after.cr2 == [before.cr2, *page_faults][-1]
    switched = after.tr != before.tr
    if switched:
        return
    assert (after.cr3, after.gdtr, after.idtr, after.cr0) == (
        before.cr3,
        before.gdtr,
        before.idtr,
        before.cr0,
    )
    for name in ("ds", "es", "fs", "gs", "ldtr", "eax", "ecx", "edx", "ebx", "ebp", "esi", "edi"):
        assert getattr(after, name) == getattr(before, name)
    if outcome.shutdown:
        machine.set(cr2=before.cr2)
        assert machine.snapshot() == (memory, before)
        return
    code = after.cs.descriptor
    assert code is not None and code.is_code and code.present
    assert after.eip <= code.limit or code.limit == 0xFFFFFFFF
    # The handler runs at the DPL of its segment, or, where that is conforming, as before.
    assert after.cpl == (before.cpl if code.is_conforming else code.dpl)
    assert after.cpl <= before.cpl
    assert after.cs.selector & 3 == after.ss.selector & 3 == after.cpl
    count = 3 + (error_code_of(last) is not None) + 2 * (after.cpl != before.cpl)
    start = before.esp if after.cpl == before.cpl else machine.words(TASK + 4 + after.cpl * 8, 1)[0]
    stack = after.ss.descriptor
    assert stack is not None
    mask = 0xFFFFFFFF if stack.big else 0xFFFF
    assert (start - after.esp) & mask == 4 * count
    assert after.esp & ~mask == start & ~mask
    frame = list(machine.words(after.esp & mask, count))
    if error_code_of(last) is not None:
        assert frame.pop(0) == error_code_of(last)
    eip = NEXT_EIP if isinstance(last, SoftwareInterrupt) else EIP
    assert frame[:2] == [eip, before.cs.selector]
    assert frame[2] & ~RF == before.eflags & ~RF
    if len(frame) > 3:
        assert frame[3:] == [before.esp, before.ss.selector]
    assert after.eflags & (TF | NT | RF) == 0
    interrupt = machine.memory[IDT + last.vector * 8 + 5] & 0x1F == INTERRUPT
    assert bool(after.eflags & IF) == (bool(before.eflags & IF) and not interrupt)
    # Nothing else in memory changed, but accessed flags.
    bottom = after.esp & mask
    changed = [
        address
        for page in range(0, MEMORY, 0x100)
        if memory[page : page + 0x100] != machine.memory[page : page + 0x100]
        for address in range(page, page + 0x100)
        if memory[address] != machine.memory[address] and not bottom <= address < bottom + 4 * count
    ]
    assert all(GDT <= a <= GDT + GDT_LIMIT and a % 8 == 5 for a in changed)
    assert all(memory[a] | ACCESSED == machine.memory[a] for a in changed)


@given(event=EXCEPTION_EVENTS, field=st.sampled_from(["cs", "ss", "ds"]), selector=SELECTORS)
def test_task_switches_are_all_or_complete(event: Any, field: str, selector: int) -> None:
    machine = FakeMachine()
    machine.build_task(**{field: selector})
    machine.gate(event.vector, gate(OTHER_TASK_SELECTOR, kind=TASK_GATE))
    before = machine.registers
    outcome = deliver(machine, event)
    after = machine.registers
    assert after.tr.selector == OTHER_TASK_SELECTOR
    assert machine.descriptor(OTHER_TASK_SELECTOR).kind == BUSY
    assert machine.words(TASK + 32, 1) == (before.eip,)
    assert machine.words(OTHER_TASK, 1) == (TASK_SELECTOR,)
    assert after.cr3 == OTHER_CR3
    if len(outcome.events) == 1:
        assert getattr(after, field) == machine.segment(selector) or selector == 0
        pushed = 0 if error_code_of(event) is None else 4
        assert after.esp == OTHER_STACK - pushed
    else:
        assert outcome.events[1].vector in (10, 11, 12)
