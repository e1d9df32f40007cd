"""Task gates and returns to the previous task: sections 7.2 to 7.4, tables 7-1 and 7-2."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from backends.tests.delivery_events import EVENTS, EXTERNAL, SOFTWARE, VECTOR
from backends.tests.delivery_machine import (
    ACCESSED,
    AVAILABLE,
    BUSY,
    CF,
    CODE,
    CONFORMING_CODE,
    CR3,
    DATA,
    EIP,
    GDT,
    IF,
    KERNEL_CODE,
    KERNEL_DATA,
    KERNEL_STACK,
    LDT_KIND,
    LOCAL,
    LOCAL_CODE,
    LOCAL_DATA,
    LOCAL_SELECTOR,
    NEXT_EIP,
    NT,
    OTHER_CR3,
    OTHER_EIP,
    OTHER_STACK,
    OTHER_TASK,
    OTHER_TASK_SELECTOR,
    PE,
    PG,
    RF,
    RING_1_CODE,
    RING_1_DATA,
    SPARE,
    TASK,
    TASK_GATE,
    TASK_SELECTOR,
    TS,
    USER_CODE,
    USER_DATA,
    VM,
    FakeMachine,
    descriptor,
    gate,
)
from backends.unicorn_model.delivery.deliver import Outcome, deliver
from backends.unicorn_model.delivery.descriptors import decode_descriptor
from backends.unicorn_model.delivery.machine import NotModelled, PageFault, Segment, Table
from backends.unicorn_model.delivery.returns import interrupt_return
from backends.unicorn_model.delivery.vectors import (
    Event,
    Fault,
    ProcessorException,
)

DF, TSS_FAULT, NP, SS, GP, PF = 8, 10, 11, 12, 13, 14
TASK_STATE = "<10I7I"  # EIP, EFLAGS, general registers, segment registers, LDT


def with_task_gate(vector: int = VECTOR, **fields: int) -> FakeMachine:
    machine = FakeMachine()
    machine.build_task(**fields)
    machine.gate(vector, gate(OTHER_TASK_SELECTOR, 0, kind=TASK_GATE, dpl=3))
    return machine


def nested(**fields: int) -> FakeMachine:
    """A machine in a task that is nested in another, to which an IRET returns."""
    machine = FakeMachine()
    machine.build_task(**fields)
    machine.set_descriptor(OTHER_TASK_SELECTOR, descriptor(BUSY, base=OTHER_TASK, limit=0x67))
    machine.put(TASK, struct.pack("<H", OTHER_TASK_SELECTOR))
    machine.set(eflags=2 | NT)
    return machine


def second(machine: FakeMachine, event: Event = EXTERNAL) -> tuple[int, int | None]:
    outcome = deliver(machine, event)
    exception = outcome.events[1]
    assert isinstance(exception, ProcessorException)
    return exception.vector, exception.error_code


def fault_of_return(machine: FakeMachine) -> tuple[int, int]:
    with pytest.raises(Fault) as caught:
        interrupt_return(machine, NEXT_EIP)
    return caught.value.vector, caught.value.error_code


def in_new_task(machine: FakeMachine) -> bool:
    return machine.registers.tr.selector == OTHER_TASK_SELECTOR


def state(machine: FakeMachine, base: int) -> tuple[int, ...]:
    return struct.unpack_from(TASK_STATE, machine.memory, base + 32)


# Success.


@pytest.mark.parametrize(
    ("event", "eip", "resume"),
    [(SOFTWARE, NEXT_EIP, 0), (EXTERNAL, EIP, 0), (ProcessorException(6), EIP, RF)],
)
def test_the_old_state_is_saved(event: Event, eip: int, resume: int) -> None:
    machine = with_task_gate(event.vector)
    machine.set(eflags=2 | IF | NT | CF)
    machine.put(TASK, b"\xee" * 4)
    before = machine.registers
    esp = machine.words(TASK + 4, 6)
    assert deliver(machine, event) == Outcome((event,), shutdown=False)
    assert state(machine, TASK) == (
        eip,
        2 | IF | NT | CF | resume,
        *(0xA0, 0xA1, 0xA2, 0xA3, KERNEL_STACK, 0xA5, 0xA6, 0xA7),
        *(KERNEL_DATA, KERNEL_CODE, KERNEL_DATA, KERNEL_DATA, 0, 0),
        0,  # the LDT field is static (7.2.1)
    )
    # Neither are the link, the inner stacks and CR3 written.
    assert machine.words(TASK, 1) == (0xEEEEEEEE,)
    assert machine.words(TASK + 4, 6) == esp
    assert machine.words(TASK + 28, 1) == (0,)
    assert before.eflags & NT


def test_the_new_state_is_loaded() -> None:
    machine = with_task_gate(
        eflags=IF | CF | 1 << 15, ldt=LOCAL_SELECTOR, ds=LOCAL_DATA, fs=USER_DATA, gs=3
    )
    deliver(machine, EXTERNAL)
    registers = machine.registers
    general = (registers.eax, registers.ecx, registers.edx, registers.ebx)
    assert general == (0xB0, 0xB1, 0xB2, 0xB3)
    assert (registers.ebp, registers.esi, registers.edi) == (0xB5, 0xB6, 0xB7)
    assert (registers.esp, registers.eip) == (OTHER_STACK, OTHER_EIP)
    assert registers.eflags == 2 | IF | CF | NT
    assert registers.cs == machine.segment(KERNEL_CODE)
    assert registers.ss == machine.segment(KERNEL_DATA)
    assert registers.es == machine.segment(KERNEL_DATA)
    assert registers.ds == machine.segment(LOCAL_DATA)
    assert registers.fs == machine.segment(USER_DATA)
    assert registers.gs == Segment(3, None)
    assert registers.ldtr == machine.segment(LOCAL_SELECTOR)
    assert registers.tr == machine.segment(OTHER_TASK_SELECTOR)
    assert registers.cr3 == OTHER_CR3
    assert registers.cr0 == PE | PG | TS
    assert machine.loads == [OTHER_CR3]


def test_cr3_that_does_not_change_is_not_loaded() -> None:
    machine = with_task_gate(cr3=CR3)
    machine.bad_cr3 = {CR3}
    deliver(machine, EXTERNAL)
    assert in_new_task(machine)
    assert machine.loads == []


def test_the_new_task_is_nested() -> None:
    machine = with_task_gate()
    machine.put(OTHER_TASK, b"\xff\xff\xff\xff")
    deliver(machine, EXTERNAL)
    assert machine.words(OTHER_TASK, 1) == (0xFFFF0000 | TASK_SELECTOR,)
    assert machine.descriptor(OTHER_TASK_SELECTOR).kind == BUSY
    assert machine.descriptor(TASK_SELECTOR).kind == BUSY
    assert machine.registers.eflags & NT
    assert not machine.words(OTHER_TASK + 36, 1)[0] & NT


def test_the_error_code_is_pushed_on_the_new_stack() -> None:
    machine = with_task_gate(GP)
    deliver(machine, ProcessorException(GP, 0x18))
    assert machine.registers.esp == OTHER_STACK - 4
    assert machine.words(OTHER_STACK - 4, 1) == (0x18,)


@pytest.mark.parametrize("event", EVENTS)
def test_interrupts_push_nothing(event: Event) -> None:
    machine = with_task_gate()
    deliver(machine, event)
    assert machine.registers.esp == OTHER_STACK


def test_a_double_fault_task_survives_a_bad_stack() -> None:
    machine = with_task_gate(DF)
    machine.absent.add((KERNEL_STACK - 0x1000, None))
    outcome = deliver(machine, ProcessorException(PF, 2, KERNEL_STACK - 0x1000))
    assert outcome == Outcome(
        (
            ProcessorException(PF, 2, KERNEL_STACK - 0x1000),
            ProcessorException(PF, 2, KERNEL_STACK - 4),
            ProcessorException(DF, 0),
        ),
        shutdown=False,
    )
    assert machine.registers.cr2 == KERNEL_STACK - 4
    assert machine.words(machine.registers.esp, 1) == (0,)
    assert state(machine, TASK)[0] == EIP


def test_a_ring_3_task() -> None:
    machine = with_task_gate(cs=USER_CODE, ss=USER_DATA, ds=USER_DATA, es=0)
    deliver(machine, EXTERNAL)
    assert machine.registers.cpl == 3


def test_there_and_back() -> None:
    machine = with_task_gate()
    machine.enter_ring(3)
    machine.put(TASK + 28, struct.pack("<I", CR3))
    before = machine.registers
    deliver(machine, EXTERNAL)
    interrupt_return(machine, OTHER_EIP + 1)
    after = machine.registers
    assert after == replace(
        before,
        cr0=before.cr0 | TS,
        cs=machine.segment(USER_CODE),
        **{name: machine.segment(USER_DATA) for name in ("ss", "ds", "es")},
    )
    assert machine.descriptor(OTHER_TASK_SELECTOR).kind == AVAILABLE
    assert machine.descriptor(TASK_SELECTOR).kind == BUSY
    # The task goes on behind its IRET the next time, and NT is clear in its image.
    assert state(machine, OTHER_TASK)[:2] == (OTHER_EIP + 1, 2)
    assert machine.loads == [OTHER_CR3, CR3]


# The TSS selector and descriptor; all in the context of the old task.


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(
    ("selector", "error"),
    [(0, 0), (2, 0), (OTHER_TASK_SELECTOR | 4, OTHER_TASK_SELECTOR | 4), (0x60, 0x60)],
)
def test_selector_of_a_task_gate(event: Event, selector: int, error: int) -> None:
    machine = with_task_gate()
    machine.set(ldtr=Segment(8, replace(machine.descriptor(LOCAL_SELECTOR), base=GDT, limit=99)))
    machine.put(GDT, machine.memory[GDT + OTHER_TASK_SELECTOR :][:8])
    machine.gate(VECTOR, gate(selector, kind=TASK_GATE))
    assert second(machine, event) == (GP, error | (event is EXTERNAL))
    assert not in_new_task(machine)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("kind", [BUSY, 3, LDT_KIND, DATA, CODE, TASK_GATE, 0xC, 0])
def test_not_an_available_task(event: Event, kind: int) -> None:
    machine = with_task_gate()
    machine.set_descriptor(OTHER_TASK_SELECTOR, descriptor(kind, limit=0x67, present=False))
    assert second(machine, event) == (GP, OTHER_TASK_SELECTOR | (event is EXTERNAL))


@pytest.mark.parametrize("event", EVENTS)
def test_a_task_that_is_not_present(event: Event) -> None:
    machine = with_task_gate()
    machine.set_descriptor(OTHER_TASK_SELECTOR, descriptor(AVAILABLE, limit=1, present=False))
    assert second(machine, event) == (NP, OTHER_TASK_SELECTOR | (event is EXTERNAL))


@pytest.mark.parametrize("event", EVENTS)
def test_a_new_tss_that_is_too_short(event: Event) -> None:
    machine = with_task_gate()
    machine.set_descriptor(OTHER_TASK_SELECTOR, descriptor(AVAILABLE, base=OTHER_TASK, limit=0x66))
    assert second(machine, event) == (TSS_FAULT, OTHER_TASK_SELECTOR | (event is EXTERNAL))
    assert not in_new_task(machine)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(("limit", "enough"), [(0x5E, False), (0x5F, True)])
def test_an_old_tss_that_is_too_short(event: Event, limit: int, enough: bool) -> None:
    machine = with_task_gate()
    machine.set(tr=Segment(TASK_SELECTOR, replace(machine.descriptor(TASK_SELECTOR), limit=limit)))
    if enough:
        deliver(machine, event)
    else:
        assert second(machine, event) == (TSS_FAULT, TASK_SELECTOR | (event is EXTERNAL))
    assert in_new_task(machine) is enough


@pytest.mark.parametrize(
    ("page", "linear", "read_only", "bits"),
    [
        (TASK, TASK + 32, False, 2),
        (TASK, TASK + 32, True, 3),
        (OTHER_TASK, OTHER_TASK, False, 0),
        (OTHER_TASK, OTHER_TASK, True, 3),
        (GDT, GDT + OTHER_TASK_SELECTOR + 5, True, 3),
    ],
)
def test_page_faults_before_the_switch(page: int, linear: int, read_only: bool, bits: int) -> None:
    machine = with_task_gate()
    machine.set_descriptor(KERNEL_CODE, descriptor(CODE | ACCESSED))
    if read_only:
        machine.read_only.add(page)
    else:
        machine.absent.add((page, None))
    task_pages = bytes(machine.memory[TASK : OTHER_TASK + 0x1000])
    assert second(machine) == (PF, bits)
    assert machine.registers.cr2 == linear
    assert not in_new_task(machine)
    assert bytes(machine.memory[TASK : OTHER_TASK + 0x1000]) == task_pages
    assert machine.descriptor(OTHER_TASK_SELECTOR).kind == AVAILABLE


def test_cr3_that_cannot_be_loaded() -> None:
    machine = with_task_gate()
    machine.bad_cr3.add(OTHER_CR3)
    assert second(machine) == (GP, 0)
    assert machine.registers.cr3 == CR3
    assert machine.descriptor(OTHER_TASK_SELECTOR).kind == AVAILABLE


@pytest.mark.parametrize("fields", [{"trap": 1}, {"eflags": VM}])
def test_states_that_are_not_modelled(fields: dict[str, int]) -> None:
    machine = with_task_gate(**fields)
    before = machine.snapshot()
    with pytest.raises(NotModelled):
        deliver(machine, EXTERNAL)
    assert machine.snapshot() == before


def test_16_bit_tasks_are_not_modelled() -> None:
    machine = with_task_gate()
    machine.set_descriptor(OTHER_TASK_SELECTOR, descriptor(1, base=OTHER_TASK, limit=0x67))
    with pytest.raises(NotModelled, match="16-bit task"):
        deliver(machine, EXTERNAL)
    machine = with_task_gate()
    machine.set(tr=Segment(TASK_SELECTOR, decode_descriptor(descriptor(3))))
    with pytest.raises(NotModelled, match="no 32-bit TSS"):
        deliver(machine, EXTERNAL)


# Table 7-1: after the commit point.

BEYOND = 0x68  # of a GDT with one descriptor more than the machine has
TABLE_7_1: list[tuple[str, dict[str, int], dict[int, bytes], int, int]] = [
    # what, fields of the new TSS, descriptors, exception, selector in its error code
    ("LDT beyond the GDT", {"ldt": BEYOND}, {}, TSS_FAULT, BEYOND),
    ("LDT in the LDT", {"ldt": 0x0C}, {}, TSS_FAULT, 0x0C),
    ("LDT of another type", {"ldt": TASK_SELECTOR}, {}, TSS_FAULT, TASK_SELECTOR),
    (
        "LDT not present",
        {"ldt": SPARE},
        {SPARE: descriptor(LDT_KIND, present=False)},
        TSS_FAULT,
        SPARE,
    ),
    ("CS null", {"cs": 0}, {}, TSS_FAULT, 0),
    ("CS beyond the GDT", {"cs": BEYOND}, {}, TSS_FAULT, BEYOND),
    ("CS without an LDT", {"cs": LOCAL_CODE}, {}, TSS_FAULT, LOCAL_CODE),
    ("CS beyond the LDT", {"cs": 0x14, "ldt": LOCAL_SELECTOR}, {}, TSS_FAULT, 0x14),
    ("CS data", {"cs": KERNEL_DATA}, {}, TSS_FAULT, KERNEL_DATA),
    ("CS DPL below RPL", {"cs": KERNEL_CODE | 3, "ss": USER_DATA}, {}, TSS_FAULT, KERNEL_CODE),
    ("CS DPL above RPL", {"cs": USER_CODE & ~3}, {}, TSS_FAULT, USER_CODE & ~3),
    (
        "conforming CS, DPL above CPL",
        {"cs": SPARE},
        {SPARE: descriptor(CODE | 4, dpl=1)},
        TSS_FAULT,
        SPARE,
    ),
    ("CS not present", {"cs": SPARE}, {SPARE: descriptor(CODE, present=False)}, NP, SPARE),
    ("SS null", {"ss": 0}, {}, TSS_FAULT, 0),
    ("SS beyond the GDT", {"ss": BEYOND}, {}, TSS_FAULT, BEYOND),
    ("SS code", {"ss": KERNEL_CODE}, {}, TSS_FAULT, KERNEL_CODE),
    ("SS not writable", {"ss": SPARE}, {SPARE: descriptor(DATA & ~2)}, TSS_FAULT, SPARE),
    ("SS not present", {"ss": SPARE}, {SPARE: descriptor(DATA, present=False)}, SS, SPARE),
    ("SS DPL", {"ss": USER_DATA & ~3}, {}, TSS_FAULT, USER_DATA & ~3),
    ("SS DPL, though its RPL", {"ss": USER_DATA}, {}, TSS_FAULT, USER_DATA),
    ("SS RPL", {"ss": KERNEL_DATA | 1}, {}, TSS_FAULT, KERNEL_DATA),
    *(
        row
        for name in ("ds", "es", "fs", "gs")
        for row in (
            (f"{name} beyond the GDT", {name: BEYOND}, {}, TSS_FAULT, BEYOND),
            (f"{name} system segment", {name: TASK_SELECTOR}, {}, TSS_FAULT, TASK_SELECTOR),
            (
                f"{name} not readable",
                {name: SPARE},
                {SPARE: descriptor(CODE & ~2)},
                TSS_FAULT,
                SPARE,
            ),
            (
                f"{name} not present",
                {name: SPARE},
                {SPARE: descriptor(DATA, present=False)},
                NP,
                SPARE,
            ),
            (f"{name} RPL above DPL", {name: KERNEL_DATA | 3}, {}, TSS_FAULT, KERNEL_DATA),
            (
                f"{name} CPL above DPL",
                {"cs": RING_1_CODE, "ss": RING_1_DATA, "ds": 0, "es": 0, name: KERNEL_DATA},
                {},
                TSS_FAULT,
                KERNEL_DATA,
            ),
        )
    ),
    # The order of the table.
    ("LDT before CS DPL", {"ldt": BEYOND, "cs": USER_CODE & ~3}, {}, TSS_FAULT, BEYOND),
    ("CS DPL before SS", {"cs": USER_CODE & ~3, "ss": 0}, {}, TSS_FAULT, USER_CODE & ~3),
    (
        "SS presence before SS DPL",
        {"ss": SPARE},
        {SPARE: descriptor(DATA, dpl=1, present=False)},
        SS,
        SPARE,
    ),
    (
        "SS before LDT presence",
        {"ss": 0, "ldt": SPARE},
        {SPARE: descriptor(LDT_KIND, present=False)},
        TSS_FAULT,
        0,
    ),
    (
        "LDT presence before CS",
        {"cs": 0, "ldt": SPARE},
        {SPARE: descriptor(LDT_KIND, present=False)},
        TSS_FAULT,
        SPARE,
    ),
    (
        "SS in an LDT that is not present",
        {"ss": LOCAL_DATA, "ldt": SPARE},
        {SPARE: descriptor(LDT_KIND, base=LOCAL, limit=0xF, present=False)},
        TSS_FAULT,
        LOCAL_DATA,
    ),
    ("SS before CS", {"cs": BEYOND, "ss": 0}, {}, TSS_FAULT, 0),
    (
        "CS presence before SS RPL",
        {"cs": SPARE, "ss": KERNEL_DATA | 1},
        {SPARE: descriptor(CODE, present=False)},
        NP,
        SPARE,
    ),
    ("SS RPL before DS", {"ss": KERNEL_DATA | 1, "ds": BEYOND}, {}, TSS_FAULT, KERNEL_DATA),
]


@pytest.mark.parametrize("how", ["int", "interrupt", "iret"])
@pytest.mark.parametrize("row", TABLE_7_1, ids=[row[0] for row in TABLE_7_1])
def test_table_7_1(row: tuple[str, dict[str, int], dict[int, bytes], int, int], how: str) -> None:
    _, fields, descriptors, vector, selector = row
    machine = nested(**fields) if how == "iret" else with_task_gate(**fields)
    machine.put(GDT, descriptor(LDT_KIND))  # what a null selector must not find
    for where, raw in descriptors.items():
        machine.set_descriptor(where, raw)
    # The exception arises in the new task. A third one handles it, and so saves what it finds.
    third, third_selector = 0x6000, 0x60
    machine.build_task(third)
    machine.set_descriptor(third_selector, descriptor(AVAILABLE, base=third, limit=0x67))
    machine.set(gdtr=Table(GDT, BEYOND - 1))
    machine.gate(vector, gate(third_selector, kind=TASK_GATE))
    if how == "iret":
        error = selector & ~3
        assert fault_of_return(machine) == (vector, error)
        deliver(machine, ProcessorException(vector, error))
    else:
        error = selector & ~3 | (how == "interrupt")
        event = SOFTWARE if how == "int" else EXTERNAL
        outcome = deliver(machine, event)
        assert outcome == Outcome((event, ProcessorException(vector, error)), shutdown=False)
    assert machine.words(machine.registers.esp, 1) == (error,)
    assert machine.words(third, 1) == (OTHER_TASK_SELECTOR,)
    # The state of the new task was complete, but for the descriptors.
    saved = state(machine, OTHER_TASK)
    assert saved[0] == OTHER_EIP
    expected = {"es": KERNEL_DATA, "cs": KERNEL_CODE, "ss": KERNEL_DATA, "ds": KERNEL_DATA}
    expected |= {"fs": 0, "gs": 0, "ldt": 0} | fields
    assert saved[10:] == tuple(expected.values())


@pytest.mark.parametrize(
    ("fields", "descriptors"),
    [
        ({"cs": CONFORMING_CODE}, {}),
        ({"cs": CONFORMING_CODE | 3, "ss": USER_DATA, "ds": USER_DATA, "es": 0}, {}),
        ({"ds": CONFORMING_CODE | 3}, {}),
        ({"ds": KERNEL_CODE}, {}),
        ({"ds": 2}, {}),
        ({"ldt": 3}, {}),
        ({"ldt": LOCAL_SELECTOR, "cs": LOCAL_CODE, "ss": LOCAL_DATA}, {}),
        ({"ds": SPARE}, {SPARE: descriptor(DATA & ~2)}),
    ],
)
def test_segments_that_are_all_right(fields: dict[str, int], descriptors: dict[int, bytes]) -> None:
    machine = with_task_gate(**fields)
    for selector, raw in descriptors.items():
        machine.set_descriptor(selector, raw)
    assert deliver(machine, EXTERNAL) == Outcome((EXTERNAL,), shutdown=False)


def test_what_was_loaded_before_the_error_stays_loaded() -> None:
    machine = nested(ds=0x60)
    assert fault_of_return(machine) == (TSS_FAULT, 0x60)
    registers = machine.registers
    assert registers.cs == machine.segment(KERNEL_CODE)
    assert registers.ss == machine.segment(KERNEL_DATA)
    assert machine.descriptor(KERNEL_CODE).kind == CODE | ACCESSED
    assert registers.ds == Segment(0x60, None)
    assert registers.es == Segment(KERNEL_DATA, None)


def test_page_fault_in_the_new_address_space() -> None:
    machine = nested()
    machine.absent.add((GDT, OTHER_CR3))
    with pytest.raises(PageFault) as caught:
        interrupt_return(machine, NEXT_EIP)
    assert caught.value.linear == GDT + KERNEL_CODE
    assert in_new_task(machine)
    assert machine.registers.cs == Segment(KERNEL_CODE, None)


@pytest.mark.parametrize("event", EVENTS)
def test_instruction_pointer_of_the_new_task(event: Event) -> None:
    for limit, fits in ((0xFFF, False), (OTHER_EIP - 1, False), (OTHER_EIP, True)):
        machine = with_task_gate(cs=SPARE)
        machine.set_descriptor(SPARE, descriptor(CODE, limit=limit))
        outcome = deliver(machine, event)
        if fits:
            assert outcome.events == (event,)
        else:
            assert outcome.events[1] == ProcessorException(GP, int(event is EXTERNAL))
            assert machine.words(machine.registers.esp + 4, 1) == (OTHER_EIP,)


def test_no_room_for_the_error_code() -> None:
    machine = with_task_gate(GP, ss=SPARE)
    machine.set_descriptor(SPARE, descriptor(DATA, limit=OTHER_STACK - 2))
    outcome = deliver(machine, ProcessorException(GP, 0))
    assert outcome.events[1] == ProcessorException(SS, 1)
    assert outcome.events[2] == ProcessorException(DF, 0)
    assert in_new_task(machine)


def test_a_double_fault_task_that_is_broken_is_shutdown() -> None:
    machine = with_task_gate(DF, ss=0)
    outcome = deliver(machine, ProcessorException(DF, 0))
    assert outcome == Outcome(
        (ProcessorException(DF, 0), ProcessorException(TSS_FAULT, 1)), shutdown=True
    )


# IRET with NT.


@pytest.mark.parametrize("link", [0, 3, OTHER_TASK_SELECTOR | 4, 0x60])
def test_bad_back_link(link: int) -> None:
    machine = nested()
    busy = bytes(machine.memory[GDT + OTHER_TASK_SELECTOR :][:8])
    for address in (GDT, GDT + 0x60):
        machine.put(address, busy)
    machine.set(ldtr=Segment(8, replace(machine.descriptor(LOCAL_SELECTOR), base=GDT, limit=99)))
    machine.put(TASK, struct.pack("<H", link))
    before = machine.snapshot()
    assert fault_of_return(machine) == (TSS_FAULT, link & ~3)
    assert machine.snapshot() == before


@pytest.mark.parametrize("kind", [AVAILABLE, 1, LDT_KIND, DATA, CODE, TASK_GATE, 0xC, 0])
def test_back_link_to_no_busy_task(kind: int) -> None:
    machine = nested()
    machine.set_descriptor(OTHER_TASK_SELECTOR, descriptor(kind, limit=0x67, present=False))
    assert fault_of_return(machine) == (TSS_FAULT, OTHER_TASK_SELECTOR)


def test_back_link_to_a_task_that_is_not_present() -> None:
    machine = nested()
    machine.set_descriptor(OTHER_TASK_SELECTOR, descriptor(BUSY, limit=0x67, present=False))
    assert fault_of_return(machine) == (NP, OTHER_TASK_SELECTOR)


def test_back_link_to_a_short_task() -> None:
    machine = nested()
    machine.set_descriptor(OTHER_TASK_SELECTOR, descriptor(BUSY, base=OTHER_TASK, limit=0x66))
    assert fault_of_return(machine) == (TSS_FAULT, OTHER_TASK_SELECTOR)


def test_a_task_without_back_link() -> None:
    machine = nested()
    machine.set(tr=Segment(TASK_SELECTOR, replace(machine.descriptor(TASK_SELECTOR), limit=0)))
    machine.put(TASK, b"\0\0")
    assert fault_of_return(machine) == (TSS_FAULT, TASK_SELECTOR)


def test_the_old_task_has_to_be_in_the_table() -> None:
    machine = nested()
    machine.set(tr=Segment(0x60, machine.registers.tr.descriptor))
    before = machine.snapshot()
    assert fault_of_return(machine) == (TSS_FAULT, 0x60)
    assert machine.snapshot() == before


def test_return_to_itself() -> None:
    machine = nested()
    machine.put(TASK, struct.pack("<H", TASK_SELECTOR))
    machine.put(TASK + 28, struct.pack("<I", CR3))
    interrupt_return(machine, NEXT_EIP)
    assert machine.registers.eip == NEXT_EIP
    assert machine.registers.eflags == 2
    # Table 7-2: the flag of the old task is cleared; that it is the new one's too is its bad luck.
    assert machine.descriptor(TASK_SELECTOR).kind == AVAILABLE


def test_instruction_pointer_after_a_return() -> None:
    machine = nested(cs=SPARE)
    machine.set_descriptor(SPARE, descriptor(CODE, limit=OTHER_EIP - 1))
    assert fault_of_return(machine) == (GP, 0)
    assert in_new_task(machine)


def test_nt_of_a_task_returned_to_is_its_own() -> None:
    machine = nested(eflags=NT)
    interrupt_return(machine, NEXT_EIP)
    assert machine.registers.eflags == 2 | NT
    assert machine.words(OTHER_TASK, 1) == (0,)
