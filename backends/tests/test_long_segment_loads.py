"""What refuses a load of a segment register in 64-bit mode (SDM vol. 2, MOV)."""

from __future__ import annotations

import pytest

from backends.tests.delivery_machine import CODE, DATA, descriptor
from backends.tests.long_delivery_machine import (
    CONFORMING_CODE,
    GDT,
    KERNEL_CODE,
    KERNEL_DATA,
    LOCAL_DATA,
    NOWHERE,
    SPARE,
    USER_CODE,
    USER_DATA,
    FakeMachine,
)
from backends.unicorn_model.delivery.vectors import GP, NP, SS, Fault
from backends.unicorn_model.faults import PageFault
from backends.unicorn_model.long_mode.delivery.machine import Table
from backends.unicorn_model.long_mode.instructions import decode
from backends.unicorn_model.long_mode.segment_loads import check_load, is_segment_load

TO_DS, TO_SS, FROM_MEMORY, POP_FS = (
    bytes.fromhex(code) for code in ("8ed8", "8ed0", "8e1b", "0fa1")
)


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine()


def refused(machine: FakeMachine, selector: int, code: bytes = TO_DS) -> tuple[int, int] | None:
    machine.set(rax=0xFFFF0000 | selector)
    before = machine.snapshot()
    instruction = decode(code)
    assert instruction is not None
    found = None
    try:
        check_load(machine, instruction)
    except Fault as fault:
        found = fault.vector, fault.error_code
    assert machine.snapshot() == before
    return found


DATA_LOADS = {
    "data": (0, KERNEL_DATA, b"", None),
    "null": (0, 3, b"", None),
    "readable code": (0, KERNEL_CODE, b"", None),
    "local": (0, LOCAL_DATA, b"", None),
    "unreadable code": (0, SPARE, descriptor(CODE & ~2), (GP, SPARE)),
    "system": (0, SPARE, descriptor(0x2), (GP, SPARE)),
    "beyond": (0, 0x60, b"", (GP, 0x60)),
    "beyond the local table": (0, 0x14, b"", (GP, 0x14)),
    "absent": (0, SPARE, descriptor(DATA, present=False), (NP, SPARE)),
    "RPL over DPL": (0, KERNEL_DATA | 3, b"", (GP, KERNEL_DATA)),
    "CPL over DPL": (3, KERNEL_DATA, b"", (GP, KERNEL_DATA)),
    "for users": (3, USER_DATA, b"", None),
    "for users in the kernel": (0, USER_DATA, b"", None),
    "conforming": (3, CONFORMING_CODE | 3, b"", None),
}


@pytest.mark.parametrize("name", DATA_LOADS)
def test_data_segments(machine: FakeMachine, name: str) -> None:
    ring, selector, raw, expected = DATA_LOADS[name]
    if ring:
        machine.enter_ring(ring)
    if raw:
        machine.set_descriptor(selector, raw)
    assert refused(machine, selector) == expected


STACK_LOADS = {
    "data": (0, KERNEL_DATA, b"", None),
    "null": (0, 0, b"", None),
    "null, RPL": (0, 1, b"", (GP, 0)),
    "null in ring 1": (1, 1, b"", None),
    "null in ring 3": (3, 3, b"", (GP, 0)),
    "RPL": (0, KERNEL_DATA | 3, b"", (GP, KERNEL_DATA)),
    "DPL": (0, SPARE, descriptor(DATA, dpl=3), (GP, SPARE)),
    "read-only": (0, SPARE, descriptor(DATA & ~2), (GP, SPARE)),
    "code": (3, USER_CODE, b"", (GP, USER_CODE & ~3)),
    "for users": (3, USER_DATA, b"", None),
    "absent": (0, SPARE, descriptor(DATA, present=False), (SS, SPARE)),
}


@pytest.mark.parametrize("name", STACK_LOADS)
def test_stack_segments(machine: FakeMachine, name: str) -> None:
    ring, selector, raw, expected = STACK_LOADS[name]
    if ring:
        machine.enter_ring(ring)
    if raw:
        machine.set_descriptor(selector, raw)
    assert refused(machine, selector, TO_SS) == expected


def test_selectors_in_memory(machine: FakeMachine) -> None:
    machine.put(0x8000, b"\x60\x00\xff\xff")
    machine.set(rbx=0x8000)
    assert refused(machine, 0, FROM_MEMORY) == (GP, 0x60)
    machine.set(rbx=NOWHERE)
    assert refused(machine, 0, FROM_MEMORY) == (GP, 0)
    machine.push(0x1234_0061)
    assert refused(machine, 0, POP_FS) == (GP, 0x60)
    machine.set(rsp=NOWHERE)
    assert refused(machine, 0, POP_FS) == (SS, 0)


def test_a_table_that_is_not_there(machine: FakeMachine) -> None:
    machine.absent.add(GDT)
    with pytest.raises(PageFault) as caught:
        refused(machine, KERNEL_DATA)
    assert caught.value.linear == GDT + KERNEL_DATA
    machine.set(gdtr=Table(NOWHERE, 0xFFFF))
    assert refused(machine, KERNEL_DATA) == (GP, KERNEL_DATA)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("8ed8", True), ("8ec8", False), ("8cd8", False), ("0fa9", True), ("58", False)],
)
def test_which_instructions_load_segment_registers(code: str, expected: bool) -> None:
    instruction = decode(bytes.fromhex(code))
    assert (instruction is not None and is_segment_load(instruction)) == expected
