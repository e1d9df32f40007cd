"""The reference model enters handlers, and comes back from them: real runs of small code."""

from __future__ import annotations

import pytest

from backends.tests.delivery_machine import DATA, descriptor
from backends.tests.reference_machine import (
    BELL,
    GDT,
    INNER_STACK,
    IRET,
    KERNEL_CODE,
    KERNEL_STACK,
    RESULT,
    SPARE,
    UD2,
    USER,
    USER_CODE,
    USER_DATA,
    USER_STACK,
    ReferenceMachine,
    count,
    enter_ring_3,
    load_eax,
    mov_eax,
    mov_esp,
    pop_to,
    save_cr,
    save_eax,
    save_stack,
    skip,
    store,
    word,
)
from backends.unicorn_model.messages import End
from conformance.observe.observation import MachineFault


@pytest.fixture
def machine() -> ReferenceMachine:
    return ReferenceMachine()


def bytes_or_number(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def test_a_handler_is_entered_and_returns(machine: ReferenceMachine) -> None:
    machine.handler(6, save_stack(RESULT, 3) + skip(2) + IRET)
    stop = machine.run(b"\xbb" + word(0x1234) + UD2 + store(RESULT + 16, 0x77))
    assert (stop.end, stop.detail) == (End.BELL, "")
    eip, cs, eflags = machine.words(RESULT, 3)
    assert cs == KERNEL_CODE
    assert eflags & 0x10002 == 0x10002  # RF is set for a fault
    assert bytes(machine.ram[eip : eip + 2]) == UD2
    assert machine.word(RESULT + 16) == 0x77
    assert stop.faults == (MachineFault(6, None, None, eip),)


def test_the_error_code_of_a_segment_load(machine: ReferenceMachine) -> None:
    handler = pop_to(RESULT) + skip(2) + IRET
    machine.handler(13, handler)
    machine.handler(11, handler)
    stop = machine.run(mov_eax(0x58) + b"\x8e\xe0")  # mov %eax, %fs: beyond the table
    assert stop.end is End.BELL
    assert machine.word(RESULT) == 0x58
    machine.descriptors.append(bytes(5) + b"\x13" + bytes(2))  # a data segment, not present
    stop = machine.run(mov_eax(0x38) + b"\x8e\xe0")
    assert stop.faults is not None
    assert [(fault.vector, fault.error_code) for fault in stop.faults] == [(11, 0x38)]


def test_two_hundred_faults_in_a_row(machine: ReferenceMachine) -> None:
    machine.handler(6, count(RESULT) + skip(2) + IRET)
    machine.handler(13, count(RESULT + 4) + pop_to(RESULT + 8) + skip(2) + IRET)
    loop = UD2 + mov_eax(0x58) + b"\x8e\xe0" + b"\x49"  # …; dec %ecx
    body = b"\xb9" + word(100) + loop + b"\x75" + bytes([256 - len(loop) - 2])
    stop = machine.run(body)
    assert stop.end is End.BELL
    assert machine.words(RESULT, 3) == (100, 100, 0x58)
    assert stop.faults is not None
    assert [fault.vector for fault in stop.faults] == [6, 13] * 100


def test_exceptions_of_unicorn_itself_come_one_by_one(machine: ReferenceMachine) -> None:
    """Unicorn takes a contributory exception upon another for a double fault."""
    machine.handler(0, count(RESULT) + skip(2) + IRET)
    stop = machine.run(b"\x31\xc9" + b"\xf7\xf1" * 3)  # xor %ecx, %ecx; div %ecx, …
    assert (stop.end, machine.word(RESULT)) == (End.BELL, 3)
    assert stop.faults is not None
    assert [fault.vector for fault in stop.faults] == [0, 0, 0]


def test_more_faults_than_can_be_kept_are_no_record(machine: ReferenceMachine) -> None:
    machine.handler(6, skip(2) + IRET)
    loop = UD2 + b"\x49"
    stop = machine.run(b"\xb9" + word(4097) + loop + b"\x75\xfb")
    assert stop.end is End.BELL
    assert stop.faults is None


@pytest.mark.parametrize(
    ("code", "vector"),
    [(b"\xcd\x03", 3), (b"\xcc", 3), (b"\xcd\x06", 6), (b"\xcd\x0d", 13), (b"\xcd\x30", 48)],
    ids=["int 3", "int3", "int 6", "int 13", "int 48"],
)
def test_a_software_interrupt_pushes_no_error_code(
    machine: ReferenceMachine, code: bytes, vector: int
) -> None:
    machine.handler(vector, save_stack(RESULT, 3) + b"\x89\x25" + word(RESULT + 12) + IRET)
    stop = machine.run(code + b"\x90")
    assert stop.end is End.BELL
    eip, cs, eflags, esp = machine.words(RESULT, 4)
    assert bytes(machine.ram[eip - len(code) : eip]) == code
    assert (cs, eflags & 0x10000, esp) == (KERNEL_CODE, 0, KERNEL_STACK - 12)
    expected = (MachineFault(vector, None, None, eip),) if vector < 32 else ()
    assert stop.faults == expected


@pytest.mark.parametrize(
    ("code", "vector"), [(b"\xcd\xff", 0xFF), (b"\xcc", 3), (b"\xcd\x03", 3)], ids=bytes_or_number
)
def test_a_fault_in_the_delivery_of_a_software_interrupt_is_at_it(
    machine: ReferenceMachine, code: bytes, vector: int
) -> None:
    machine.handler(13, pop_to(RESULT) + pop_to(RESULT + 4) + BELL)
    machine.run(b"\x90" + code)  # its gate is not there
    assert machine.word(RESULT) == vector << 3 | 2
    assert bytes(machine.ram[machine.word(RESULT + 4) :][: len(code)]) == code


@pytest.mark.parametrize(
    "traced",
    [b"\x90", b"\x0f\x22\xd8", b"\x8e\xe0"],
    ids=["nop", "mov to cr3", "mov to fs"],
)
def test_the_trap_flag_traps_once_and_is_cleared(machine: ReferenceMachine, traced: bytes) -> None:
    """Also after an instruction that Unicorn does not execute."""
    clear = b"\x81\x64\x24\x08\xff\xfe\xff\xff"  # andl $~0x100, 8(%esp)
    flags = b"\x9c" + pop_to(RESULT + 16)  # pushf; …
    machine.handler(1, count(RESULT) + save_stack(RESULT + 4, 1) + flags + clear + IRET)
    set_flag = b"\x9c\x81\x0c\x24\x00\x01\x00\x00\x9d"  # pushf; orl $0x100, (%esp); popf
    stop = machine.run(mov_eax(0) + set_flag + traced + b"\x40")
    assert (stop.end, stop.detail) == (End.BELL, "")
    assert machine.word(RESULT) == 1
    eip = machine.word(RESULT + 4)
    assert bytes(machine.ram[eip - len(traced) : eip + 1]) == traced + b"\x40"
    assert machine.word(RESULT + 16) & 0x100 == 0


def test_ring_3_and_back(machine: ReferenceMachine) -> None:
    code = machine.paging(user=(USER, USER_STACK - 0x1000))
    machine.put(USER, load_eax(USER_STACK - 4) + b"\xcd\x30")
    back = save_stack(RESULT, 5) + b"\x89\x25" + word(RESULT + 20) + BELL
    machine.handler(0x30, back, dpl=3)
    stop = machine.run(code + enter_ring_3())
    assert (stop.end, stop.detail) == (End.BELL, "")
    eip, cs, _, esp, ss, inner = machine.words(RESULT, 6)
    assert (eip, cs, esp, ss) == (USER + 7, USER_CODE, USER_STACK, USER_DATA)
    assert inner == INNER_STACK - 20


def test_ring_3_is_left_and_entered_many_times(machine: ReferenceMachine) -> None:
    code = machine.paging(user=(USER, USER_STACK - 0x1000))
    loop = b"\xcd\x30\x41\x83\xf9\x14\x75\xf8"  # int $0x30; inc %ecx; cmp $20, %ecx; jne
    machine.put(USER, b"\x31\xc9" + loop + b"\xfa")  # …; cli
    machine.handler(0x30, count(RESULT) + IRET, dpl=3)
    machine.handler(13, save_stack(RESULT + 4, 3) + BELL)
    stop = machine.run(code + enter_ring_3())
    assert stop.end is End.BELL
    assert machine.words(RESULT, 4) == (20, 0, USER + 2 + len(loop), USER_CODE)


def test_user_mode_is_kept_from_supervisor_pages(machine: ReferenceMachine) -> None:
    code = machine.paging(user=(USER, USER_STACK - 0x1000))
    machine.put(USER, load_eax(SPARE))
    machine.handler(14, save_stack(RESULT, 3) + save_cr(2, RESULT + 12) + BELL)
    assert machine.run(code + enter_ring_3()).end is End.BELL
    assert machine.words(RESULT, 4) == (5, USER, USER_CODE, SPARE)


def test_ports_are_not_for_user_mode(machine: ReferenceMachine) -> None:
    code = machine.paging(user=(USER, USER_STACK - 0x1000))
    machine.put(USER, BELL)
    stop = machine.run(code + enter_ring_3())
    assert stop.end is End.NOT_MODELLED
    assert "permission bit map" in stop.detail


def test_a_gate_that_user_mode_may_not_use(machine: ReferenceMachine) -> None:
    code = machine.paging(user=(USER, USER_STACK - 0x1000))
    machine.put(USER, b"\xcd\x0d")
    machine.handler(13, save_stack(RESULT, 2) + BELL)
    assert machine.run(code + enter_ring_3()).end is End.BELL
    assert machine.words(RESULT, 2) == (13 << 3 | 2, USER)


def test_the_hidden_part_of_a_segment_register_counts(machine: ReferenceMachine) -> None:
    """SS goes on with the base it was loaded with, whatever the table says by now."""
    machine.descriptors.append(descriptor(DATA, base=0x1000))
    machine.handler(6, store(RESULT, 0x66) + b"\x8b\x04\x24" + save_eax(RESULT + 4) + BELL)
    change = store(GDT + 0x38, 0xFFFF)  # base 0
    stop = machine.run(mov_eax(0x38) + b"\x8e\xd0" + mov_esp(0x18000) + change + UD2)
    assert (stop.end, stop.detail) == (End.BELL, "")
    assert machine.word(RESULT) == 0x66
    eip = machine.word(RESULT + 4)
    assert eip == machine.word(0x19000 - 12)
    assert bytes(machine.ram[eip : eip + 2]) == UD2
