"""The reference model in IA-32e mode, as a guest sees it: real runs."""

from __future__ import annotations

import struct

import pytest

from backends.tests.long_machine import (
    ABSENT_DATA,
    AM,
    BELL,
    CODE_32,
    EFER,
    HIGH,
    IDT,
    INNER_STACK,
    INTERRUPT_STACK,
    IRETQ,
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
    USER_CODE,
    USER_DATA,
    USER_STACK,
    LongMachine,
    drop_error_code,
    enter_ring_3,
    load_rax,
    long_cr,
    long_gate,
    mov_rax,
    mov_rcx,
    mov_rsp,
    push,
    quad,
    return_to,
    save_cr,
    save_rax,
    save_stack,
    skip,
)
from backends.tests.reference_machine import mov_eax, set_cr, word, wrmsr
from backends.unicorn_model.messages import End, Stop

LMA = 1 << 10
RF, TF, AC = 1 << 16, 1 << 8, 1 << 18
SMEP, SMAP, PG, WP = 1 << 20, 1 << 21, 1 << 31, 1 << 16
USER_PAGES = (USER, USER_STACK - 0x1000)


@pytest.fixture
def machine() -> LongMachine:
    machine = LongMachine()
    for page in USER_PAGES:
        machine.user_page(page)
    return machine


def tells(machine: LongMachine, *vectors: int) -> None:
    """Handlers with an error code that end the run, and tell the frame, CR2, SS and the vector."""
    for vector in vectors:
        code = save_stack(RESULT, 6) + save_cr(2, RESULT + 48)
        code += b"\x31\xc0\x8c\xd0" + save_rax(RESULT + 56)  # xor %eax, %eax; mov %ss, %eax
        machine.handler(vector, code + mov_rax(vector) + save_rax(RESULT + 64) + BELL, stack=0)


def rang(stop: Stop) -> Stop:
    assert (stop.end, stop.detail) == (End.BELL, "")
    return stop


def fault(machine: LongMachine, code: bytes) -> tuple[int, int, int]:
    """Vector, error code and CR2 of the fault that the code raises."""
    tells(machine, 12, 13, 14, 17)
    stop = rang(machine.run(code))
    assert stop.faults is not None
    (seen,) = stop.faults
    vector, code_pushed, cr2 = machine.quad(RESULT + 64), machine.quad(RESULT), 0
    if vector == 14:
        cr2 = machine.quad(RESULT + 48)
    assert (seen.vector, seen.error_code, seen.cr2 or 0) == (vector, code_pushed, cr2)
    assert seen.eip == machine.quad(RESULT + 8)
    return vector, code_pushed, cr2


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


def test_user_mode_and_back(machine: LongMachine) -> None:
    machine.put(USER, b"\xcd\x30")  # int $0x30
    told = save_stack(RESULT, 5) + b"\x48\x89\xe0" + save_rax(RESULT + 40)  # mov %rsp, %rax
    told += b"\x31\xc0\x8c\xd0" + save_rax(RESULT + 48)
    machine.handler(0x30, told + BELL, dpl=3)
    stop = rang(machine.run(enter_ring_3()))
    assert machine.quads(RESULT, 5) == (USER + 2, USER_CODE, 2, USER_STACK, USER_DATA)
    assert machine.quads(RESULT + 40, 2) == (INNER_STACK - 8 - 40, 0)
    assert stop.faults == ()


def test_handlers_return_to_user_mode(machine: LongMachine) -> None:
    count = b"\x48\xff\x04\x25" + word(RESULT)  # incq RESULT
    machine.handler(6, count + skip(2) + IRETQ)
    machine.handler(13, drop_error_code() + count + skip(1) + IRETQ)
    machine.handler(0x30, save_stack(RESULT + 8, 5) + BELL, dpl=3)
    machine.put(USER, b"\x49\xbf" + quad(1 << 63) + UD2 + b"\xf4\xfa" + UD2 + b"\xcd\x30")
    stop = rang(machine.run(enter_ring_3()))
    assert machine.quad(RESULT) == 4
    assert machine.quads(RESULT + 8, 5) == (USER + 18, USER_CODE, 2, USER_STACK, USER_DATA)
    assert stop.faults is not None
    assert [seen.vector for seen in stop.faults] == [6, 13, 13, 6]


def test_user_mode_is_kept_out(machine: LongMachine) -> None:
    code = mov_rcx(SPARE + 8) + b"\x48\x8b\x01"
    machine.put(USER, code)
    assert fault(machine, enter_ring_3()) == (14, 5, SPARE + 8)
    assert machine.quad(RESULT + 56) == 0  # SS
    machine.put(USER, mov_rax(TOP) + b"\x0f\x22\xd8")  # mov %rax, %cr3
    assert fault(machine, enter_ring_3()) == (13, 0, 0)


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


@pytest.mark.parametrize(
    ("selector", "vector", "code"),
    [(ABSENT_DATA, 11, ABSENT_DATA), (0x60, 13, 0x60), (KERNEL_CODE | 4, 13, 0xC)],
)
def test_segment_registers_that_refuse(
    machine: LongMachine, selector: int, vector: int, code: int
) -> None:
    tells(machine, vector)
    rang(machine.run(mov_rax(selector) + b"\x8e\xd8"))  # mov %eax, %ds
    assert (machine.quad(RESULT + 64), machine.quad(RESULT)) == (vector, code)


@pytest.mark.parametrize(
    ("selector", "vector", "code"), [(ABSENT_DATA, 12, ABSENT_DATA), (3, 13, 0)]
)
def test_a_stack_segment_that_is_refused(
    machine: LongMachine, selector: int, vector: int, code: int
) -> None:
    tells(machine, vector)
    rang(machine.run(mov_rax(selector) + b"\x8e\xd0"))  # mov %eax, %ss
    assert (machine.quad(RESULT + 64), machine.quad(RESULT)) == (vector, code)


def test_a_null_stack_segment_is_taken(machine: LongMachine) -> None:
    rang(machine.run(b"\x31\xc0\x8e\xd0" + push(5) + b"\x58" + save_rax(RESULT)))
    assert machine.quad(RESULT) == 5


@pytest.mark.parametrize(("flags", "cr0", "faults"), [(AC, AM, 1), (0, AM, 0), (AC, 0, 0)])
def test_alignment_is_checked_in_user_mode(
    machine: LongMachine, flags: int, cr0: int, faults: int
) -> None:
    machine.put(USER, b"\x48\x8b\x04\x25" + word(USER_STACK - 15) + b"\xcd\x30")
    machine.handler(17, save_stack(RESULT, 6) + BELL)
    machine.handler(0x30, BELL, dpl=3)
    enable = long_cr(0, 0xE0010011 | cr0)
    stop = rang(machine.run(enable + enter_ring_3(2 | flags)))
    assert stop.faults is not None
    assert [(seen.vector, seen.error_code) for seen in stop.faults] == [(17, 0)] * faults
    # In ring 0 it is not.
    stop = rang(machine.run(enable + load_rax(USER_STACK - 15)))
    assert stop.faults == ()


def test_single_steps(machine: LongMachine) -> None:
    count = b"\x48\xff\x04\x25" + word(RESULT)
    machine.handler(
        1, b"\x50" + count + b"\x48\x8b\x44\x24\x08" + save_rax(RESULT + 8) + b"\x58" + IRETQ
    )
    reload = b"\x0f\x20\xda\x0f\x22\xda"  # mov %cr3, %rdx; mov %rdx, %cr3
    code = push(2 | TF) + b"\x9d" + NOP * 3 + reload + push(2) + b"\x9d"
    rang(machine.run(code))
    assert machine.quad(RESULT) == 3 + 2 + 2 + 1


def test_an_instruction_that_completes_clears_the_resume_flag(machine: LongMachine) -> None:
    machine.handler(1, save_stack(RESULT, 3) + BELL)
    machine.put(SPARE, b"\x0f\x20\xda\x0f\x22\xda")  # mov %cr3, %rdx; mov %rdx, %cr3
    to_write = mov_rax(TOP) + b"\x48\x89\xc2" + return_to(SPARE + 3, KERNEL_CODE, 2 | TF | RF)
    rang(machine.run(to_write))
    assert machine.quads(RESULT, 3) == (SPARE + 6, KERNEL_CODE, 2 | TF)


def test_a_double_fault_on_its_own_stack(machine: LongMachine) -> None:
    """A page fault whose handler's stack is not there."""
    machine.page(SPARE, 0)
    machine.handler(14, BELL)
    told = save_stack(RESULT, 6) + b"\x48\x89\xe0" + save_rax(RESULT + 48)
    machine.handler(8, told + save_cr(2, RESULT + 56) + BELL, stack=1)
    stop = rang(machine.run(mov_rsp(SPARE + 0x800) + b"\x50"))
    assert stop.faults is not None
    assert [(seen.vector, seen.error_code) for seen in stop.faults] == [(8, 0)]
    assert machine.quad(RESULT) == 0
    assert machine.quads(RESULT + 32, 3) == (
        SPARE + 0x800,
        KERNEL_DATA,
        INTERRUPT_STACK - 8 - 48,
    )
    assert SPARE <= machine.quad(RESULT + 56) < SPARE + 0x800


def test_no_gate_is_a_shutdown(machine: LongMachine) -> None:
    stop = machine.run(UD2)
    assert stop.end is End.SHUTDOWN
    assert "vector 6 " in stop.detail
    assert stop.faults == ()


def test_an_empty_table_is_a_shutdown(machine: LongMachine) -> None:
    machine.handler(6, BELL)
    machine.put(SPARE, struct.pack("<HQ", 0, IDT))
    assert machine.run(b"\x0f\x01\x1c\x25" + word(SPARE) + UD2).end is End.SHUTDOWN


def test_int3_and_a_divide_error(machine: LongMachine) -> None:
    machine.handler(3, save_stack(RESULT, 1) + IRETQ)
    machine.handler(0, save_stack(RESULT + 8, 1) + BELL)
    code = b"\xcc\x31\xc9\xf7\xf1"  # int3; xor %ecx, %ecx; div %ecx
    rang(machine.run(code))
    at = machine.ram.find(code)
    assert machine.quads(RESULT, 2) == (at + 1, at + 3)


@pytest.mark.parametrize("code", [b"\xcc", b"\xcd\x03"])
def test_an_interrupt_that_has_no_gate(machine: LongMachine, code: bytes) -> None:
    """The fault is at the instruction, however long that is."""
    assert fault(machine, code) == (13, 3 << 3 | 2, 0)
    assert machine.quad(RESULT + 8) == machine.ram.find(code + BELL)


@pytest.mark.parametrize(("code", "vector"), [(b"\xcd\x06", 6), (b"\xf1", 1), (b"\xcd\x0e", 14)])
def test_interrupts_that_look_like_exceptions(
    machine: LongMachine, code: bytes, vector: int
) -> None:
    machine.handler(vector, save_stack(RESULT, 3) + BELL)
    stop = rang(machine.run(code))
    at = machine.ram.find(code + BELL)
    assert machine.quads(RESULT, 2) == (at + len(code), KERNEL_CODE)
    assert not machine.quad(RESULT + 16) & RF
    assert stop.faults is not None
    assert [(seen.vector, seen.error_code) for seen in stop.faults] == [(vector, None)]


def test_a_gate_to_32_bit_code(machine: LongMachine) -> None:
    machine.put(IDT + 6 * 16, long_gate(SPARE, 0x40))
    assert fault(machine, UD2) == (13, 0x40 | 1, 0)


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


def test_what_is_above_4_gib_is_not_cut_off(machine: LongMachine) -> None:
    """Control bits that 64-bit mode has in common."""
    stop = rang(machine.run(long_cr(0, PG | WP | 0x60000011)))
    assert stop.control.cr0 == PG | WP | 0x60000011
