"""Segment limits, null segments and alignment in the reference model: real runs of small code."""

from __future__ import annotations

import pytest

from backends.tests.delivery_machine import DATA, descriptor
from backends.tests.reference_machine import (
    BELL,
    IRET,
    RESULT,
    SPARE,
    TABLE,
    USER,
    USER_STACK,
    ReferenceMachine,
    count,
    enter_ring_3,
    load_eax,
    mov_eax,
    mov_ecx,
    mov_esp,
    pop_to,
    save_eax,
    save_stack,
    set_cr,
    skip,
    store,
    word,
)
from backends.unicorn_model.messages import End

PROBE = 0x38
EXPAND_DOWN = DATA | 4
LOAD_FS, LOAD_SS, LOAD_ES = b"\x8e\xe0", b"\x8e\xd0", b"\x8e\xc0"
AM = 1 << 18


@pytest.fixture
def machine() -> ReferenceMachine:
    machine = ReferenceMachine()
    for vector in (12, 13, 17):
        machine.handler(vector, pop_to(RESULT) + save_stack(RESULT + 4, 2) + BELL)
    return machine


def fs_read(offset: int) -> bytes:
    return b"\x64" + load_eax(offset)


@pytest.mark.parametrize(
    ("kind", "limit", "offset", "faults"),
    [
        (DATA, 0xFFF, 0xFFC, False),
        (DATA, 0xFFF, 0xFFD, True),
        (DATA, 0xFFF, 0x10000, True),
        (EXPAND_DOWN, 0xFFF, 0xFFF, True),
        (EXPAND_DOWN, 0xFFF, 0x1000, False),
    ],
)
def test_the_limit_of_a_data_segment(
    machine: ReferenceMachine, kind: int, limit: int, offset: int, faults: bool
) -> None:
    machine.descriptors.append(descriptor(kind, base=SPARE, limit=limit))
    machine.put(SPARE + offset, word(0x5555))
    stop = machine.run(mov_eax(PROBE) + LOAD_FS + fs_read(offset) + save_eax(RESULT + 16))
    assert (stop.end, stop.detail) == (End.BELL, "")
    assert stop.faults is not None
    assert [(fault.vector, fault.error_code) for fault in stop.faults] == [(13, 0)] * faults
    if not faults:
        assert machine.word(RESULT + 16) == 0x5555


def test_a_null_segment_cannot_be_used(machine: ReferenceMachine) -> None:
    stop = machine.run(mov_eax(0) + LOAD_FS + fs_read(SPARE))
    assert (stop.end, machine.word(RESULT)) == (End.BELL, 0)
    assert machine.ram[machine.word(RESULT + 4)] == 0x64


def test_the_limit_of_the_stack(machine: ReferenceMachine) -> None:
    machine.descriptors.append(descriptor(DATA, limit=0x2FFFF))
    code = mov_eax(PROBE) + LOAD_SS + mov_esp(0x2F000) + b"\xbd" + word(0x2FFFE)
    stop = machine.run(code + b"\x8b\x45\x00")  # mov (%ebp), %eax
    assert (stop.end, stop.detail) == (End.BELL, "")
    assert stop.faults is not None
    assert [(fault.vector, fault.error_code) for fault in stop.faults] == [(12, 0)]


def test_each_iteration_of_a_string_instruction_is_checked(machine: ReferenceMachine) -> None:
    machine.descriptors.append(descriptor(DATA, base=SPARE, limit=0xFFF))
    copy = b"\xbf" + word(0xFF8) + mov_ecx(4) + b"\xfc\xf3\xab"  # mov …, %edi; cld; rep stos
    see = pop_to(RESULT) + b"\x89\x0d" + word(RESULT + 4) + b"\x89\x3d" + word(RESULT + 8)
    machine.handler(13, see + BELL)
    stop = machine.run(mov_eax(PROBE) + LOAD_ES + copy)
    assert stop.end is End.BELL
    assert machine.words(RESULT, 3) == (0, 2, 0x1000)
    assert machine.words(SPARE + 0xFF8, 3) == (PROBE, PROBE, 0)


def test_checks_end_with_the_segment(machine: ReferenceMachine) -> None:
    """And a run that was checked goes on with its hooks: a segment load is noticed again."""
    machine.descriptors.append(descriptor(DATA, limit=0xFFFFF))
    restricted, flat = mov_eax(PROBE) + LOAD_ES, mov_eax(0x10) + LOAD_ES
    machine.handler(13, pop_to(RESULT) + count(RESULT + 4) + skip(6) + IRET)
    use = b"\x26" + load_eax(0x100000)
    stop = machine.run(use + restricted + use + flat + use + restricted + use)
    assert (stop.end, stop.detail) == (End.BELL, "")
    assert machine.words(RESULT, 2) == (0, 2)


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("flag", [False, True])
def test_alignment_is_checked_in_ring_3(machine: ReferenceMachine, mask: bool, flag: bool) -> None:
    code = machine.paging(user=(USER, USER_STACK - 0x1000), extra=AM if mask else 0)
    set_flag = b"\x9c\x81\x0c\x24" + word(AM) + b"\x9d"  # pushf; orl $AC, (%esp); popf
    read = load_eax(USER_STACK - 7)
    machine.put(USER, (set_flag if flag else b"") + read + b"\xcd\x30")
    machine.handler(0x30, store(RESULT, 0x30) + BELL, dpl=3)
    stop = machine.run(code + enter_ring_3())
    assert (stop.end, stop.detail) == (End.BELL, "")
    assert stop.faults is not None
    assert [(fault.vector, fault.error_code) for fault in stop.faults] == [(17, 0)] * (
        mask and flag
    )


def test_alignment_is_not_checked_in_ring_0(machine: ReferenceMachine) -> None:
    set_flag = b"\x9c\x81\x0c\x24" + word(AM) + b"\x9d"
    stop = machine.run(set_cr(0, 0x60000011 | AM) + set_flag + load_eax(SPARE + 1))
    assert (stop.end, stop.faults) == (End.BELL, ())


def test_code_that_ran_unchecked_is_checked_later(machine: ReferenceMachine) -> None:
    machine.descriptors.append(descriptor(DATA, limit=0xFFFFF))
    use = b"\x26\x8b\x1d" + word(0x100000)  # mov %es:0x100000, %ebx
    body = use + b"\x89\xc8" + LOAD_ES + b"\x4a"  # …; mov %ecx, %eax; …; dec %edx
    loop = body + b"\x75" + bytes([256 - len(body) - 2])
    again = mov_ecx(PROBE) + b"\xba" + word(3)  # …; mov $3, %edx
    back = 256 - len(loop) - 3 - 2 - len(again) - 2
    rest = b"\x83\xf9\x38\x74" + bytes([len(again) + 2]) + again + b"\xeb" + bytes([back])
    assert rest[2] == PROBE  # cmp $PROBE, %ecx; je behind it; …; jmp back
    stop = machine.run(mov_ecx(0x10) + b"\xba" + word(3) + loop + rest)
    assert (stop.end, stop.detail) == (End.BELL, "")
    assert stop.faults is not None
    assert [(fault.vector, fault.error_code) for fault in stop.faults] == [(13, 0)]


def test_an_access_is_checked_again_after_its_page_fault(machine: ReferenceMachine) -> None:
    code = machine.paging()
    machine.page(SPARE, 0)
    machine.descriptors.append(descriptor(DATA, limit=0xFFFFF))
    mend = store(TABLE + (SPARE >> 12) * 4, SPARE | 3)
    machine.handler(14, b"\x83\xc4\x04" + mend + mov_eax(0) + LOAD_FS + IRET)
    stop = machine.run(code + mov_eax(PROBE) + LOAD_FS + fs_read(SPARE))
    assert (stop.end, stop.detail) == (End.BELL, "")
    assert stop.faults is not None
    assert [fault.vector for fault in stop.faults] == [14, 13]


def test_a_local_table_stays_loaded(machine: ReferenceMachine) -> None:
    machine.descriptors.append(descriptor(0x2, base=SPARE, limit=15))
    machine.put(SPARE, bytes(8) + descriptor(DATA, base=0x1000))
    local = mov_eax(PROBE) + b"\x0f\x00\xd0"  # lldt
    twice = mov_eax(0) + LOAD_FS + mov_eax(0x0C) + LOAD_FS
    machine.put(RESULT + 0x1100, word(0x1234))
    stop = machine.run(local + twice + fs_read(RESULT + 0x100) + save_eax(RESULT + 16))
    assert (stop.end, stop.faults) == (End.BELL, ())
    assert machine.word(RESULT + 16) == 0x1234


def test_what_the_model_needs_for_itself_is_out_of_reach(machine: ReferenceMachine) -> None:
    twice = mov_eax(0) + LOAD_FS + mov_eax(0x10) + LOAD_FS
    stop = machine.run(twice + load_eax(0xFFFE0010))
    assert stop.end is End.NOT_MODELLED
    assert "no memory at physical 0xfffe0000" in stop.detail


def test_an_access_that_is_checked_for_two_reasons_is_made(machine: ReferenceMachine) -> None:
    machine.descriptors.append(descriptor(DATA, limit=0xFFFFF))
    restricted = mov_eax(PROBE) + LOAD_ES + LOAD_FS
    machine.put(SPARE, word(0x1234))
    stop = machine.run(restricted + fs_read(SPARE) + save_eax(RESULT + 16))
    assert (stop.end, stop.faults) == (End.BELL, ())
    assert machine.word(RESULT + 16) == 0x1234
