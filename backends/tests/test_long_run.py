"""The reference model in IA-32e mode, as a guest sees it: its mode, its paging, its addresses."""

from __future__ import annotations

import struct

import pytest

from backends.tests.long_machine import (
    BELL,
    CODE_32,
    EFER,
    HIGH,
    KERNEL_CODE,
    KERNEL_DATA,
    KERNEL_STACK,
    LME,
    NOP,
    NOWHERE,
    NXE,
    PAE,
    POINTERS,
    RESULT,
    SPARE,
    TOP,
    UD2,
    USER,
    LongMachine,
    fault,
    load_rax,
    long_cr,
    mov_rax,
    mov_rcx,
    mov_rsp,
    quad,
    rang,
    return_to,
    save_rax,
    save_stack,
)
from backends.tests.reference_machine import mov_eax, set_cr, word, wrmsr
from backends.unicorn_model.messages import End

LMA = 1 << 10
RF, AC = 1 << 16, 1 << 18
SMEP, SMAP = 1 << 20, 1 << 21


@pytest.fixture
def machine() -> LongMachine:
    return LongMachine()


def test_64_bit_code_runs(machine: LongMachine) -> None:
    code = mov_rax(0x0123_4567_89AB_CDEF) + b"\x49\x89\xc7\x4c\x89\xf8"  # to R15 and back
    stop = rang(machine.run(code + save_rax(HIGH + RESULT)))
    assert machine.quad(RESULT) == 0x0123_4567_89AB_CDEF
    assert stop.faults == ()
    assert stop.control.efer == LME | NXE | LMA
    assert (stop.control.cr3, stop.control.cr4) == (TOP, PAE)


def test_the_guest_reads_that_long_mode_is_active(machine: LongMachine) -> None:
    rang(machine.run(mov_rcx(EFER) + b"\x0f\x32" + save_rax(RESULT)))
    assert machine.quad(RESULT) == LME | NXE | LMA


def test_lma_is_read_only(machine: LongMachine) -> None:
    write = mov_rcx(EFER) + b"\x0f\x32\x25" + word(~LMA & 0xFFFFFFFF) + b"\x0f\x30"
    stop = rang(machine.run(write))
    assert stop.control.efer == LME | NXE | LMA


def test_code_in_the_upper_half(machine: LongMachine) -> None:
    machine.put(SPARE, b"\x48\x8d\x05\x00\x00\x00\x00" + save_rax(RESULT) + BELL)  # lea (%rip)
    rang(machine.run(mov_rax(HIGH + SPARE) + b"\xff\xe0"))
    assert machine.quad(RESULT) == HIGH + SPARE + 7


def test_cpuid_clears_the_upper_halves(machine: LongMachine) -> None:
    ones = b"".join(b"\x48\xc7" + bytes([0xC0 | n]) + b"\xff\xff\xff\xff" for n in (1, 2, 3))
    code = mov_eax(0x80000008) + ones + b"\x0f\xa2" + save_rax(RESULT)
    code += b"".join(move + save_rax(RESULT + 8) for move in (b"\x48\x09\xc8\x48\x09\xd8",))
    rang(machine.run(code))
    assert machine.quads(RESULT, 2) == (48 << 8 | 39, 48 << 8 | 39)


# What keeps a processor out of IA-32e mode (SDM vol. 3, 9.8.5): #GP has no gate, so it shuts down.
@pytest.mark.parametrize(
    ("efer", "before", "profile", "enters"),
    [
        (LME, b"", "broadwell", True),
        (LME | LMA, b"", "core2duo", True),
        (LME, set_cr(4, 0), "broadwell", False),
        (LME | 1 << 9, b"", "broadwell", False),
        (LME, b"", "pentium3", False),
    ],
    ids=["LME", "LMA is ignored", "no PAE", "reserved", "no EFER"],
)
def test_entering(efer: int, before: bytes, profile: str, enters: bool) -> None:
    machine = LongMachine(profile)
    code = machine.enter(efer=efer, before=before)
    machine.put(0x12000, BELL)
    stop = machine.run_32(code)
    assert stop.end is (End.BELL if enters else End.SHUTDOWN)
    if not enters:
        assert "vector 13 " in stop.detail


@pytest.mark.parametrize(
    "code",
    [
        long_cr(0, 0x11),
        long_cr(0, 1 << 32 | 0xE0010011),
        long_cr(4, 0),
        long_cr(4, 1 << 32 | PAE),
        long_cr(3, 1 << 39 | TOP),
        mov_rcx(EFER) + mov_rax(NXE) + b"\x31\xd2\x0f\x30",
        mov_rcx(EFER) + mov_rax(LME) + b"\x31\xd2\xff\xc2\x0f\x30",
    ],
    ids=["paging off", "CR0[32]", "PAE off", "CR4[32]", "CR3[39]", "LME off", "EFER[32]"],
)
def test_values_that_control_registers_refuse(machine: LongMachine, code: bytes) -> None:
    assert fault(machine, code) == (13, 0, 0)
    assert machine.quad(RESULT + 8) == machine.ram.find(code) + len(code) - (
        2 if code.endswith(b"\x30") else 3
    )


def test_a_control_register_takes_64_bits_from_any_register(machine: LongMachine) -> None:
    other = 0x50000
    machine.put(other, machine.ram[TOP : TOP + 0x1000])
    stop = rang(machine.run(b"\x49\xba" + quad(other) + b"\x41\x0f\x22\xda"))  # mov %r10, %cr3
    assert stop.control.cr3 == other


@pytest.mark.parametrize("linear", [HIGH - 0x1000 + 0x123, 0xFFFF_8000_0000_0123, 0x40000123])
def test_a_page_fault_has_its_address(machine: LongMachine, linear: int) -> None:
    read, write = b"\x48\x8b\x01", b"\x48\x89\x01"
    assert fault(machine, mov_rcx(linear) + read) == (14, 0, linear)
    assert fault(machine, mov_rcx(linear) + write) == (14, 2, linear)
    assert machine.quad(RESULT + 40) == KERNEL_DATA


def test_an_access_over_the_end_of_a_page(machine: LongMachine) -> None:
    machine.page(SPARE + 0x1000, 0)
    code = mov_rcx(SPARE + 0xFFC) + b"\x48\x8b\x01"
    assert fault(machine, code) == (14, 0, SPARE + 0x1000)


def test_execution(machine: LongMachine) -> None:
    machine.put(SPARE, b"\xc3\xc3")
    call = mov_rcx(SPARE + 1) + b"\xff\xd1"
    rang(machine.run(call))
    machine.page(SPARE, SPARE | 3 | 1 << 63)
    assert fault(machine, call) == (14, 0x11, SPARE + 1)
    assert machine.quad(RESULT + 32) == KERNEL_STACK - 8


def test_a_block_that_runs_into_a_page_that_is_not_there(machine: LongMachine) -> None:
    machine.put(SPARE + 0xFFE, NOP * 2)
    machine.page(SPARE + 0x1000, 0)
    code = mov_rcx(HIGH + SPARE + 0xFFE) + b"\xff\xe1"
    assert fault(machine, code) == (14, 0x10, HIGH + SPARE + 0x1000)
    assert machine.quad(RESULT + 8) == HIGH + SPARE + 0x1000


def test_accessed_and_dirty_flags_of_four_levels(machine: LongMachine) -> None:
    rang(machine.run(load_rax(HIGH + SPARE) + save_rax(HIGH + SPARE + 0x1000)))
    table = 0x33000 + (SPARE >> 12) * 8
    assert machine.quad(table) & 0x60 == 0x20
    assert machine.quad(table + 8) & 0x60 == 0x60
    for entry in (TOP + 511 * 8, POINTERS + 510 * 8):
        assert machine.quad(entry) & 0x60 == 0x20


@pytest.mark.parametrize(
    ("code", "vector"),
    [
        (mov_rcx(NOWHERE) + b"\x48\x8b\x01", 13),
        (mov_rcx(NOWHERE - 4) + b"\x48\x8b\x01", 13),
        (mov_rcx(0x8000_0000_0000_0000) + b"\x48\x89\x01", 13),
        (b"\x48\xbd" + quad(NOWHERE) + b"\x48\x8b\x45\x00", 12),  # mov (%rbp), %rax
        (b"\x49\xbd" + quad(NOWHERE) + b"\x49\x8b\x45\x00", 13),  # mov (%r13), %rax
        (mov_rcx(NOWHERE) + b"\xff\xd1", 13),  # call *%rcx
        (b"\x49\xba" + quad(NOWHERE) + b"\x41\xff\xe2", 13),  # jmp *%r10
        (b"\x48\xbf" + quad(NOWHERE) + b"\x48\xab", 13),  # stos
        (return_to(NOWHERE, KERNEL_CODE), 13),
        (return_to(SPARE, 0x60), 13),
    ],
)
def test_addresses_that_are_nowhere(machine: LongMachine, code: bytes, vector: int) -> None:
    found = fault(machine, code)
    assert found[:1] == (vector,)
    assert found[1] == (0x60 if code == return_to(SPARE, 0x60) else 0)
    assert machine.quad(RESULT + 24) & RF


@pytest.mark.parametrize("code", [b"\x48\x8b\x04\x24", b"\x58", b"\xc3"])
def test_a_stack_that_is_nowhere(machine: LongMachine, code: bytes) -> None:
    """mov (%rsp), %rax; pop %rax; ret: #SS(0), which comes on an interrupt stack."""
    machine.handler(12, save_stack(RESULT, 6) + BELL, stack=1)
    stop = rang(machine.run(mov_rsp(NOWHERE) + code))
    assert stop.faults is not None
    assert [(seen.vector, seen.error_code) for seen in stop.faults] == [(12, 0)]
    assert machine.quads(RESULT + 32, 2) == (NOWHERE, KERNEL_DATA)
    assert machine.quad(RESULT) == 0


@pytest.mark.parametrize("prevents", [False, True])
def test_smap_and_smep(machine: LongMachine, prevents: bool) -> None:
    machine.put(USER, b"\xc3")
    enable = long_cr(4, PAE | SMEP | SMAP if prevents else PAE)
    cases = {load_rax(USER + 8): 1, mov_rcx(USER) + b"\xff\xd1": 0x11}
    for code, error in cases.items():
        if prevents:
            address = USER + 8 if error == 1 else USER
            assert fault(machine, enable + code) == (14, error, address)
        else:
            rang(machine.run(enable + code))
    set_ac = b"\x9c\x81\x0c\x24" + word(AC) + b"\x9d"  # pushf; orl $AC, (%rsp); popf
    rang(machine.run(enable + set_ac + load_rax(USER + 8)))


def test_compatibility_mode_has_no_exceptions(machine: LongMachine) -> None:
    """Between turning paging on and the far jump there are a few instructions and no IDT."""
    machine.put(0x12000, BELL)
    code = machine.enter()
    stop = machine.run_32(code[:-7] + UD2)
    assert stop.end is End.NOT_MODELLED
    assert "compatibility" in stop.detail


def test_compatibility_mode_is_not_taken_for_64_bit_code(machine: LongMachine) -> None:
    """What would be IRETQ is DEC and IRET there."""
    machine.put(SPARE, b"\x48\xcf")
    machine.put(RESULT, struct.pack("<IH", SPARE, CODE_32))
    stop = machine.run(b"\xff\x2c\x25" + word(RESULT))  # ljmp *RESULT
    assert stop.end is End.NOT_MODELLED
    assert "compatibility mode" in stop.detail


def test_turning_a_page_over(machine: LongMachine) -> None:
    """INVLPG makes a changed entry count."""
    machine.put(SPARE, quad(0x1111))
    machine.put(SPARE + 0x1000, quad(0x2222))
    entry = 0x33000 + (SPARE >> 12) * 8
    change = mov_rax(SPARE + 0x1000 | 3) + save_rax(entry)
    invalidate = b"\x0f\x01\x3c\x25" + word(SPARE)
    read = load_rax(SPARE)
    code = read + change + invalidate + read + save_rax(RESULT)
    rang(machine.run(code))
    assert machine.quad(RESULT) == 0x2222


def test_invlpg_drops_all_of_a_large_page(machine: LongMachine) -> None:
    large, entry = 0x200000, 0x32000 + 8
    machine.put(entry, quad(0x83))  # 2 MiB from physical 0
    clear = b"\x31\xc0" + save_rax(entry)
    invalidate = b"\x0f\x01\x3c\x25" + word(large)  # of another part of it
    code = load_rax(large + SPARE) + clear + invalidate + load_rax(large + SPARE)
    assert fault(machine, code) == (14, 0, large + SPARE)


def test_efer_can_be_written_in_64_bit_mode(machine: LongMachine) -> None:
    machine.page(SPARE, SPARE | 3 | 1 << 63)
    off = wrmsr(EFER, LME)
    assert fault(machine, off + load_rax(SPARE)) == (14, 9, SPARE)
