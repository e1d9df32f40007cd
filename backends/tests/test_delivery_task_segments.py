"""A task switch after its commit point: table 7-1."""

from __future__ import annotations

import pytest

from backends.tests.delivery_events import EVENTS, EXTERNAL, SOFTWARE
from backends.tests.delivery_machine import (
    ACCESSED,
    AVAILABLE,
    CODE,
    CONFORMING_CODE,
    DATA,
    GDT,
    KERNEL_CODE,
    KERNEL_DATA,
    LDT_KIND,
    LOCAL,
    LOCAL_CODE,
    LOCAL_DATA,
    LOCAL_SELECTOR,
    NEXT_EIP,
    OTHER_CR3,
    OTHER_EIP,
    OTHER_STACK,
    OTHER_TASK,
    OTHER_TASK_SELECTOR,
    RING_1_CODE,
    RING_1_DATA,
    SPARE,
    TASK_GATE,
    TASK_SELECTOR,
    USER_CODE,
    USER_DATA,
    descriptor,
    gate,
)
from backends.tests.delivery_tasks import (
    DF,
    GP,
    NP,
    SS,
    TSS_FAULT,
    fault_of_return,
    in_new_task,
    nested,
    state,
    with_task_gate,
)
from backends.unicorn_model.delivery.deliver import Outcome, deliver
from backends.unicorn_model.delivery.machine import PageFault, Segment, Table
from backends.unicorn_model.delivery.returns import interrupt_return
from backends.unicorn_model.delivery.vectors import (
    Event,
    ProcessorException,
)

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
