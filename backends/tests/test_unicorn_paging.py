"""Paging and control registers of the reference model, as a guest sees them: real runs."""

from __future__ import annotations

import struct

import pytest

from backends.tests.reference_machine import (
    BELL,
    DIRECTORY,
    IRET,
    NOP,
    POINTERS,
    RESULT,
    SPARE,
    START,
    TABLE,
    USER,
    USER_STACK,
    ReferenceMachine,
    count,
    enter_ring_3,
    load_eax,
    mov_eax,
    mov_ecx,
    pop_to,
    save_cr,
    save_eax,
    save_stack,
    set_cr,
    skip,
    store,
    word,
    wrmsr,
)
from backends.unicorn_model.cpu_profile import PROFILES
from backends.unicorn_model.messages import End

EFER, NXE = 0xC0000080, 0x800
WP, PG = 0x00010000, 0x80000000
PAE, PSE, SMEP, SMAP = 0x20, 0x10, 0x100000, 0x200000
AC = 1 << 18
SET_AC = b"\x9c\x81\x0c\x24" + word(AC) + b"\x9d"  # pushf; orl $AC, (%esp); popf


def page_fault(machine: ReferenceMachine) -> None:
    """A handler that ends the run, and tells the error code and CR2."""
    machine.handler(14, save_cr(2, RESULT + 4) + pop_to(RESULT) + BELL)


def faulted(machine: ReferenceMachine, code: bytes) -> tuple[int, int] | None:
    """The error code and CR2 of the page fault that the code causes."""
    page_fault(machine)
    stop = machine.run(code)
    assert (stop.end, stop.detail) == (End.BELL, "")
    assert stop.faults is not None
    if not stop.faults:
        return None
    (fault,) = stop.faults
    assert (fault.vector, fault.error_code, fault.cr2) == (14, *machine.words(RESULT, 2))
    return machine.word(RESULT), machine.word(RESULT + 4)


def call(address: int) -> bytes:
    return mov_eax(address) + b"\xff\xd0"


def general_protection(machine: ReferenceMachine, length: int) -> None:
    """A handler that tells the error code and goes on behind the instruction."""
    machine.handler(13, pop_to(RESULT + 8) + store(RESULT + 12, 1) + skip(length) + IRET)


@pytest.mark.parametrize("write_protect", [False, True])
def test_write_protection_of_the_supervisor(write_protect: bool) -> None:
    machine = ReferenceMachine()
    code = machine.paging()
    if not write_protect:
        code += set_cr(0, 0xE0000011)
    machine.page(SPARE, SPARE | 1)
    expected = (3, SPARE + 8) if write_protect else None
    assert faulted(machine, code + store(SPARE + 8, 1)) == expected


def test_no_execute() -> None:
    machine = ReferenceMachine("core2duo")
    code = wrmsr(EFER, NXE) + machine.pae()
    machine.put(SPARE, b"\xc3\xc3")
    machine.pae_page(SPARE, SPARE | 3 | 1 << 63)
    assert faulted(machine, code + call(SPARE + 1)) == (0x11, SPARE + 1)
    machine.pae_page(SPARE, SPARE | 3)
    assert faulted(machine, code + call(SPARE + 1)) is None


def test_no_execute_is_reserved_while_it_is_off() -> None:
    machine = ReferenceMachine("core2duo")
    code = machine.pae()
    machine.pae_page(SPARE, SPARE | 3 | 1 << 63)
    assert faulted(machine, code + load_eax(SPARE)) == (9, SPARE)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("value", [0, NXE])
def test_efer_is_only_there_with_no_execute(profile: str, value: int) -> None:
    machine = ReferenceMachine(profile)
    machine.handler(13, pop_to(RESULT + 8) + count(RESULT + 12) + skip(2) + IRET)
    read = mov_ecx(EFER) + b"\x0f\x32" + save_eax(RESULT + 4)
    stop = machine.run(wrmsr(EFER, value) + store(RESULT, 0xAAAA) + read)
    assert stop.end is End.BELL
    has_nx = PROFILES[profile].has_nx
    assert machine.word(RESULT + 12) == (0 if has_nx else 2)
    assert machine.word(RESULT) == 0xAAAA
    assert stop.control.efer == (value if has_nx else 0)
    if has_nx:
        assert machine.word(RESULT + 4) == value


@pytest.mark.parametrize("prevents", [False, True])
def test_supervisor_execution_prevention(prevents: bool) -> None:
    machine = ReferenceMachine("broadwell")
    code = machine.paging(user=(SPARE,))
    machine.put(SPARE, b"\xc3")
    if prevents:
        code += set_cr(4, SMEP)
    assert faulted(machine, code + call(SPARE)) == ((0x11, SPARE) if prevents else None)


@pytest.mark.parametrize("alignment_check", [False, True])
def test_supervisor_access_prevention(alignment_check: bool) -> None:
    machine = ReferenceMachine("broadwell")
    code = machine.paging(user=(SPARE,)) + set_cr(4, SMAP)
    if alignment_check:
        code += SET_AC
    expected = None if alignment_check else (1, SPARE + 4)
    assert faulted(machine, code + load_eax(SPARE + 4)) == expected


def test_what_the_alignment_flag_allowed_is_not_remembered() -> None:
    machine = ReferenceMachine("broadwell")
    code = machine.paging(user=(SPARE,)) + set_cr(4, SMAP)
    clear = b"\x9c\x81\x24\x24" + word(~AC & 0xFFFFFFFF) + b"\x9d"  # andl $~AC, (%esp)
    read = load_eax(SPARE)
    assert faulted(machine, code + SET_AC + read + clear + read) == (1, SPARE)


@pytest.mark.parametrize(
    ("profile", "value"),
    [
        ("pentium3", SMEP),
        ("core2duo", SMEP),
        ("core2duo", SMAP),
        ("broadwell", 1 << 31),
        ("pentium3", 1 << 31),
        ("broadwell", 1 << 11),
    ],
)
def test_reserved_bits_of_cr4(profile: str, value: int) -> None:
    machine = ReferenceMachine(profile)
    general_protection(machine, 3)
    code = store(RESULT + 12, 0) + set_cr(4, value) + save_cr(4, RESULT)
    stop = machine.run(code)
    assert stop.end is End.BELL
    assert (machine.word(RESULT + 12), machine.word(RESULT + 8)) == (1, 0)
    assert machine.word(RESULT) == stop.control.cr4 == 0


def test_a_guest_reads_back_the_control_registers_it_wrote() -> None:
    machine = ReferenceMachine("broadwell")
    code = machine.pae() + set_cr(4, PAE | PSE | SMEP | SMAP) + set_cr(0, 0xE0000011)
    code += b"".join(save_cr(number, RESULT + 4 * number) for number in (0, 3, 4))
    stop = machine.run(code)
    assert stop.end is End.BELL
    assert machine.word(RESULT) == stop.control.cr0 == 0xE0000011
    assert machine.word(RESULT + 12) == stop.control.cr3 == POINTERS
    assert machine.word(RESULT + 16) == stop.control.cr4 == PAE | PSE | SMEP | SMAP


@pytest.mark.parametrize(("value", "fails"), [(PG, True), (1 << 29 | 0x11, True), (0x11, False)])
def test_combinations_that_cr0_does_not_take(value: int, fails: bool) -> None:
    machine = ReferenceMachine()
    general_protection(machine, 3)
    stop = machine.run(store(RESULT + 12, 0) + set_cr(0, value))
    assert stop.end is End.BELL
    assert machine.word(RESULT + 12) == int(fails)


def test_pdptes_are_cached_until_cr3_is_loaded() -> None:
    machine = ReferenceMachine()
    clear = store(POINTERS, 0)
    reload = b"\x0f\x20\xd8\x0f\x22\xd8"  # mov %cr3, %eax; mov %eax, %cr3
    code = machine.pae() + clear + load_eax(SPARE) + save_eax(RESULT + 16)
    machine.put(SPARE, word(0x1234))
    assert faulted(machine, code) is None
    assert machine.word(RESULT + 16) == 0x1234
    machine.pae()
    machine.put(POINTERS, struct.pack("<Q", DIRECTORY | 1))
    # Nothing is mapped any more then: not even the handler.
    assert machine.run(code + reload).end is End.SHUTDOWN


def test_a_reserved_bit_of_a_pdpte() -> None:
    machine = ReferenceMachine()
    general_protection(machine, 3)
    code = store(RESULT + 12, 0) + machine.pae()
    spoil = store(POINTERS + 8, 0x21)  # present, and bit 5
    stop = machine.run(code + spoil + set_cr(3, POINTERS) + load_eax(SPARE))
    assert stop.end is End.BELL
    assert (machine.word(RESULT + 12), machine.word(RESULT + 8)) == (1, 0)
    assert stop.control.cr3 == POINTERS


def test_a_pdpte_keeps_its_accessed_bit() -> None:
    machine = ReferenceMachine()
    assert faulted(machine, machine.pae() + load_eax(SPARE)) is None
    assert machine.word(POINTERS) == DIRECTORY | 1
    assert machine.word(DIRECTORY) & 0x60 == 0x20


def test_accessed_and_dirty_bits() -> None:
    machine = ReferenceMachine()
    code = machine.pae()
    pages = (SPARE, SPARE + 0x1000, SPARE + 0x2000)
    assert faulted(machine, code + load_eax(pages[0]) + store(pages[1], 1)) is None
    flags = [machine.word(TABLE + (page >> 12) * 8) & 0x60 for page in pages]
    assert flags == [0x20, 0x60, 0]


def test_a_write_after_a_read_sets_the_dirty_bit() -> None:
    machine = ReferenceMachine()
    code = machine.paging()
    assert faulted(machine, code + load_eax(SPARE) + store(SPARE, 1)) is None
    assert machine.word(TABLE + (SPARE >> 12) * 4) & 0x60 == 0x60


def test_invlpg_drops_all_of_a_large_page() -> None:
    machine = ReferenceMachine()
    large = 0x400000
    code = machine.paging()
    machine.put(DIRECTORY + 4, word(0x83))  # 4 MiB from physical 0
    code += set_cr(4, PSE) + load_eax(large + SPARE) + store(DIRECTORY + 4, 0)
    invalidate = b"\x0f\x01\x3d" + word(large)  # invlpg of another part of it
    end = large + SPARE
    assert faulted(machine, code + invalidate + load_eax(end)) == (0, end)


@pytest.mark.parametrize("profile", PROFILES)
def test_cpuid_says_what_the_profile_says(profile: str) -> None:
    """SDM vol. 2, CPUID: leaves 1, 7 and 80000001H, each if there is one."""
    machine = ReferenceMachine(profile)
    leaves = (0, 1, 7, 0x80000000, 0x80000001, 0x80000008)
    code = b""
    for index, leaf in enumerate(leaves):
        at = RESULT + 16 * index
        code += mov_eax(leaf) + b"\x31\xc9\x0f\xa2" + save_eax(at)
        code += b"\x89\x1d" + word(at + 4) + b"\x89\x15" + word(at + 8)
    assert machine.run(code).end is End.BELL
    values = {leaf: machine.words(RESULT + 16 * i, 3) for i, leaf in enumerate(leaves)}
    basic, extended = values[0][0], values[0x80000000][0]
    features = values[1][2]
    structured = values[7][1] if basic >= 7 else 0
    more = values[0x80000001][2] if extended >= 0x80000001 else 0
    expected = PROFILES[profile]
    assert bool(features >> 3 & 1) == expected.has_pse
    assert bool(features >> 6 & 1) == expected.has_pae
    assert bool(features >> 16 & 1) == expected.has_pat
    assert bool(features >> 17 & 1) == expected.has_pse36
    assert bool(structured >> 7 & 1) == expected.has_smep
    assert bool(structured >> 20 & 1) == expected.has_smap
    assert bool(more >> 20 & 1) == expected.has_nx
    assert bool(more >> 26 & 1) == expected.has_1gib_pages
    # Vol. 2: 36 where the leaf is missing and PAE is there.
    width = values[0x80000008][0] & 0xFF if extended >= 0x80000008 else 36
    assert width == expected.maxphyaddr


def test_a_task_switch_loads_cr3() -> None:
    machine = ReferenceMachine()
    code = machine.paging()
    other = 0x50000
    machine.put(other, word(TABLE | 7))
    machine.task_gate(3, save_cr(3, RESULT) + NOP + IRET, cr3=other)
    machine.put(0x9000 + 28, word(DIRECTORY))
    stop = machine.run(code + b"\xcc" + save_cr(3, RESULT + 4))
    assert (stop.end, stop.detail) == (End.BELL, "")
    assert machine.words(RESULT, 2) == (other, DIRECTORY)


def test_a_control_register_is_not_for_user_mode() -> None:
    machine = ReferenceMachine()
    machine.handler(13, save_stack(RESULT, 2) + BELL)
    code = machine.paging(user=(USER, USER_STACK - 0x1000))
    machine.put(USER, b"\x90\x0f\x22\xd8")
    assert machine.run(code + enter_ring_3()).end is End.BELL
    assert machine.words(RESULT, 2) == (0, USER + 1)


def test_code_that_changed_is_looked_at_when_its_page_is_asked_for() -> None:
    machine = ReferenceMachine()
    other = 0x50000
    machine.put(other, word(TABLE | 7))
    machine.put(SPARE, b"\xc3")
    code = machine.paging() + call(SPARE) + store(SPARE, 0xC3D8220F)  # mov %eax, %cr3; ret
    reload = b"\x0f\x20\xd8\x0f\x22\xd8"  # mov %cr3, %eax; mov %eax, %cr3
    stop = machine.run(code + reload + mov_ecx(SPARE) + mov_eax(other) + b"\xff\xd1")
    assert (stop.end, stop.detail, stop.control.cr3) == (End.BELL, "", other)


def test_a_control_register_that_is_written_unseen_is_not_passed_over() -> None:
    """Unicorn does not tell of code that is written over code that it has looked at."""
    machine = ReferenceMachine()
    machine.handler(6, BELL)
    patched = START + 0x800
    write = store(patched, 0x0FD8220F) + store(patched + 4, 0x0B)  # mov %eax, %cr3; ud2
    stop = machine.run(mov_eax(SPARE) + write + mov_ecx(patched) + b"\xff\xe1")
    assert stop.end is End.NOT_MODELLED
    assert f"CR3={SPARE:#x}" in stop.detail
