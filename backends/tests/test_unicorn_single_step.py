"""The reference model single-steps as the manual says: real runs of small code."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.tests.reference_machine import (
    IRET,
    KERNEL_CODE,
    KERNEL_DATA,
    NOP,
    RESULT,
    SPARE,
    START,
    ReferenceMachine,
    count,
    mov_eax,
    mov_ecx,
    store,
    word,
)
from backends.unicorn_model import single_step
from backends.unicorn_model.instructions.decode import decode
from backends.unicorn_model.messages import End, Stop
from backends.unicorn_model.single_step import successors

LOG, NEXT = SPARE, SPARE - 4
TF, RF, BS = 0x100, 0x10000, 0x4000
# Log EIP, EFLAGS and DR6 of each trap.
LOG_TRAP = (
    b"\x60\xfc"  # pushal; cld
    + b"\x8b\x3d"
    + word(NEXT)  # mov NEXT, %edi
    + b"\x8b\x44\x24\x20\xab"  # mov 32(%esp), %eax; stosl
    + b"\x8b\x44\x24\x28\xab"  # mov 40(%esp), %eax; stosl
    + b"\x0f\x21\xf0\xab"  # mov %db6, %eax; stosl
    + b"\x89\x3d"
    + word(NEXT)
    + b"\x61"  # popal
    + IRET
)
PUSHF, POPF = b"\x9c", b"\x9d"
SET = b"\x81\x0c\x24" + word(TF)  # orl $TF, (%esp)
CLEAR = b"\x81\x24\x24" + word(0xFFFFFFFF ^ TF)  # andl $~TF, (%esp)
MOV_SS, MOV_FS = b"\x8e\xd2", b"\x8e\xe2"  # mov %edx, %ss; mov %edx, %fs
POP_SS = b"\x17"
REP_STOSD = b"\xf3\xab"


@dataclass
class Trap:
    eip: int
    eflags: int
    dr6: int


@pytest.fixture
def machine() -> ReferenceMachine:
    return new_machine()


def new_machine() -> ReferenceMachine:
    machine = ReferenceMachine()
    machine.handler(1, LOG_TRAP)
    machine.put(NEXT, word(LOG))
    return machine


def trace(machine: ReferenceMachine, traced: bytes, before: bytes = b"") -> tuple[int, list[Trap]]:
    """Trace code, and POPF that ends it; answers where it begins, and what was logged."""
    stop, start = run(machine, traced + PUSHF + CLEAR + POPF, before)
    assert (stop.end, stop.detail) == (End.BELL, "")
    traps = logged(machine)
    # PUSHF, AND and POPF; the last is trapped though it clears TF.
    end = start + len(traced)
    assert [trap.eip for trap in traps[-3:]] == [end + 1, end + 8, end + 9]
    assert [trap.eflags & TF for trap in traps[-3:]] == [TF, TF, 0]
    return start, traps[:-3]


def run(machine: ReferenceMachine, code: bytes, before: bytes = b"") -> tuple[Stop, int]:
    registers = b"\xba" + word(KERNEL_DATA) + b"\xbf" + word(RESULT + 0x100)  # EDX, EDI
    head = before + registers + PUSHF + SET + POPF
    stop = machine.run(head + code)
    start = machine.ram.find(head, START) + len(head)
    return stop, start


def logged(machine: ReferenceMachine) -> list[Trap]:
    number = (machine.word(NEXT) - LOG) // 12
    words = machine.words(LOG, number * 3)
    return [Trap(*words[3 * index : 3 * index + 3]) for index in range(number)]


def test_one_trap_after_each_instruction(machine: ReferenceMachine) -> None:
    start, traps = trace(machine, NOP + mov_eax(1) + NOP)
    assert [trap.eip - start for trap in traps] == [1, 6, 7]
    assert all(trap.eflags & (TF | RF) == TF for trap in traps)
    assert all(trap.dr6 & BS for trap in traps)


def test_the_handler_itself_is_not_traced_and_bs_is_not_cleared(machine: ReferenceMachine) -> None:
    _, traps = trace(machine, NOP * 2, before=b"\x31\xc0\x0f\x23\xf0")  # xor …; mov %eax, %db6
    assert len(traps) == 2
    assert {trap.dr6 for trap in traps} == {0xFFFF4FF0}


def test_bs_is_set_behind_what_unicorn_does_not_execute(machine: ReferenceMachine) -> None:
    _, traps = trace(machine, b"\x0f\x22\xd8", before=b"\x31\xc0\x0f\x23\xf0")  # mov %eax, %cr3
    assert [bool(trap.dr6 & BS) for trap in traps] == [True]


@pytest.mark.parametrize(
    ("code", "offsets"),
    [
        (b"\xeb\x01\xf4" + NOP, [3, 4]),  # jmp over HLT
        (b"\x31\xc0\x74\x01\xf4" + NOP, [2, 5, 6]),  # xor; jz over HLT
        (b"\x31\xc0\x75\x01" + NOP + NOP, [2, 4, 5, 6]),
        (b"\xe8\x02\x00\x00\x00\xeb\x01\xc3" + NOP, [7, 5, 8, 9]),  # call, ret, jmp
        (mov_ecx(2) + b"\xe2\xfe", [5, 5, 7]),  # loop to itself
        (b"\xf4" + NOP, [1, 2]),
        (b"\xfa\xfb\xfa", [1, 2, 3]),  # STI blocks interrupts, but no traps
        (b"\x0f\xa2", [2]),  # cpuid
        (b"\xe4\x60\xe6\x80", [2, 4]),  # in, out
        (b"\x0f\x20\xd8\x0f\x22\xd8", [3, 6]),  # mov %cr3, %eax, and back: the model's
    ],
    ids=["jmp", "taken", "not taken", "call", "loop", "hlt", "sti", "cpuid", "ports", "cr3"],
)
def test_where_the_traps_are(machine: ReferenceMachine, code: bytes, offsets: list[int]) -> None:
    start, traps = trace(machine, code)
    assert [trap.eip - start for trap in traps] == offsets


def test_each_iteration_of_a_repeated_instruction_traps(machine: ReferenceMachine) -> None:
    start, traps = trace(machine, mov_ecx(3) + REP_STOSD + NOP)
    assert [trap.eip - start for trap in traps] == [5, 5, 5, 7, 8]
    # 17.3.1.1: RF is set where the instruction goes on, and only there.
    assert [bool(trap.eflags & RF) for trap in traps] == [False, True, True, False, False]


def test_a_repeated_instruction_with_a_count_of_0_is_one_instruction(
    machine: ReferenceMachine,
) -> None:
    start, traps = trace(machine, mov_ecx(0) + REP_STOSD + NOP)
    assert [trap.eip - start for trap in traps] == [5, 7, 8]


def test_a_repetition_that_a_comparison_ends(machine: ReferenceMachine) -> None:
    scan = b"\x31\xc0" + mov_ecx(9) + b"\xf2\xaf"  # xor %eax, %eax; …; repne scasl
    machine.put(RESULT + 0x100, word(1) + word(0))
    start, traps = trace(machine, scan)
    assert [trap.eip - start for trap in traps] == [2, 7, 7, 9]


@pytest.mark.parametrize("load", [MOV_SS, b"\x52" + POP_SS], ids=["mov", "pop"])
def test_a_load_of_ss_holds_the_trap_back(machine: ReferenceMachine, load: bytes) -> None:
    start, traps = trace(machine, load + NOP + NOP)
    pushed = len(load) - 1 if load != MOV_SS else 0
    expected = [len(load) + 1, len(load) + 2]
    assert [trap.eip - start for trap in traps] == ([pushed] if pushed else []) + expected


def test_of_several_loads_of_ss_the_first_holds_it_back(machine: ReferenceMachine) -> None:
    start, traps = trace(machine, MOV_SS * 3 + NOP)
    assert [trap.eip - start for trap in traps] == [4, 7]


def test_a_load_of_another_segment_register_does_not(machine: ReferenceMachine) -> None:
    start, traps = trace(machine, MOV_FS + MOV_SS + MOV_FS)
    assert [trap.eip - start for trap in traps] == [2, 6]


def test_a_load_of_ss_before_an_interrupt_loses_the_trap(machine: ReferenceMachine) -> None:
    machine.handler(0x30, count(RESULT) + IRET)
    start, traps = trace(machine, MOV_SS + b"\xcd\x30" + NOP)
    assert [trap.eip - start for trap in traps] == [5]
    assert machine.word(RESULT) == 1


def test_a_software_interrupt_is_not_trapped_nor_is_its_handler(machine: ReferenceMachine) -> None:
    """IRET sets TF again: the next trap is behind the instruction that follows INT."""
    machine.handler(0x30, count(RESULT) + IRET)
    start, traps = trace(machine, NOP + b"\xcd\x30" + NOP + NOP)
    assert [trap.eip - start for trap in traps] == [1, 4, 5]


def test_a_fault_comes_instead_of_the_trap(machine: ReferenceMachine) -> None:
    """It saves TF; its handler skips the instruction, and returns with it."""
    skip = b"\x83\x04\x24\x02"  # addl $2, (%esp)
    save = b"\x50\x8b\x44\x24\x0c\xa3" + word(RESULT) + b"\x58"  # EFLAGS, with EAX kept
    machine.handler(6, save + skip + IRET)
    start, traps = trace(machine, NOP + b"\x0f\x0b" + NOP)
    assert [trap.eip - start for trap in traps] == [1, 4]
    assert machine.word(RESULT) & (TF | RF) == TF | RF


def test_pushf_saves_the_flag_and_popf_loads_it(machine: ReferenceMachine) -> None:
    keep = PUSHF + b"\x8f\x05" + word(RESULT)  # pop RESULT
    start, traps = trace(machine, PUSHF + POPF + keep + PUSHF + POPF)
    assert [trap.eip - start for trap in traps] == [1, 2, 3, 9, 10, 11]
    assert machine.word(RESULT) & TF


def test_a_popf_that_clears_and_one_that_sets_the_flag_again(machine: ReferenceMachine) -> None:
    off = PUSHF + CLEAR + POPF
    on = PUSHF + SET + POPF
    start, traps = trace(machine, off + NOP + on + NOP)
    behind = len(off + NOP + on)
    assert [trap.eip - start for trap in traps] == [1, 8, 9, behind + 1]
    assert not traps[2].eflags & TF


def test_an_iret_that_clears_the_flag_is_still_trapped(machine: ReferenceMachine) -> None:
    frame = PUSHF + CLEAR + b"\x6a" + bytes([KERNEL_CODE])  # …; push $KERNEL_CODE
    # call to the next instruction pushes its address; add lets that be the one behind IRET.
    here = b"\xe8\x00\x00\x00\x00\x83\x04\x24\x05" + IRET
    back_on = NOP + PUSHF + SET + POPF
    start, traps = trace(machine, frame + here + back_on)
    head = len(frame)
    offsets = [trap.eip - start for trap in traps]
    assert offsets == [1, 8, 10, head + 5, head + 9, head + 10]
    assert not traps[-1].eflags & TF


def test_a_trap_gate_clears_the_flag_too(machine: ReferenceMachine) -> None:
    handler = machine.handler(0x30, count(RESULT) + IRET)
    gate_type = 0x8F00  # a trap gate
    machine.put(0x8000 + 0x30 * 8, word(KERNEL_CODE << 16 | handler & 0xFFFF))
    machine.put(0x8000 + 0x30 * 8 + 4, word(handler & 0xFFFF0000 | gate_type))
    start, traps = trace(machine, b"\xcd\x30" + NOP)
    assert [trap.eip - start for trap in traps] == [3]
    assert machine.word(RESULT) == 1


def test_paging_and_tracing(machine: ReferenceMachine) -> None:
    start, traps = trace(machine, store(RESULT, 7) + NOP, before=machine.paging())
    assert [trap.eip - start for trap in traps] == [10, 11]


STEPS = {
    "nop": NOP,
    "add": b"\x01\xd8",
    "push and pop": b"\x53\x5b",
    "mov to ss": MOV_SS,
    "pop to ss": b"\x52" + POP_SS,
    "mov to fs": MOV_FS,
    "int": b"\xcd\x30",
    "rep 0": mov_ecx(0) + REP_STOSD,
    "rep 3": mov_ecx(3) + REP_STOSD,
    "pushf and popf": PUSHF + POPF,
    "jump": b"\xeb\x00",
}


def expected_traps(names: list[str]) -> list[int]:
    """Offsets, by the rules at the top of the page."""
    offset, traps, loaded = 0, [], False
    for name in names:
        offset += len(STEPS[name])
        match name:
            case "mov to ss":
                loaded = not loaded
                if not loaded:
                    traps.append(offset)
                continue
            case "pop to ss":
                traps.append(offset - 1)
                loaded = True
                continue
            case "int":
                pass
            case "push and pop" | "pushf and popf":
                traps += [offset - 1, offset]
            case "rep 0":
                traps += [offset - 2, offset]
            case "rep 3":
                traps += [offset - 2] * 3 + [offset]
            case _:
                traps.append(offset)
        loaded = False
    return traps


@settings(max_examples=40)
@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=14))
def test_any_sequence(names: list[str]) -> None:
    machine = new_machine()
    machine.handler(0x30, count(RESULT) + IRET)
    start, traps = trace(machine, b"".join(STEPS[name] for name in names) + NOP)
    end = sum(len(STEPS[name]) for name in names) + 1
    assert [trap.eip - start for trap in traps] == [*expected_traps(names), end]
    assert machine.word(RESULT) == names.count("int")


def test_a_step_of_two_instructions_is_noticed(
    machine: ReferenceMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unicorn is not taken at its word."""
    monkeypatch.setattr(single_step, "successors", lambda *_: frozenset({0x99}))
    stop, _ = run(machine, NOP * 3)
    assert stop.end is End.NOT_MODELLED
    assert "single-stepping from" in stop.detail


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (b"\x90", {0x1001}),
        (b"\xeb\xfe", {0x1000}),
        (b"\x74\x10", {0x1002, 0x1012}),
        (b"\x0f\x85\xfa\xff\xff\xff", {0x1006, 0x1000}),
        (b"\xe8\x00\x01\x00\x00", {0x1105}),
        (b"\xe2\xfe", {0x1002, 0x1000}),
        (b"\xf3\xab", {0x1000, 0x1002}),
        (b"\xab", {0x1001}),
        (b"\xff\x00", {0x1002}),
        (b"\x66\xeb\x00", {0x1003}),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else "",
)
def test_successors(code: bytes, expected: set[int]) -> None:
    instruction = decode(code)
    assert instruction is not None
    assert successors(instruction, 0x1000) == expected


@pytest.mark.parametrize("code", [b"\xff\xe0", b"\xff\x10", b"\xc3", b"\xcf"], ids=bytes.hex)
def test_where_only_the_processor_knows(code: bytes) -> None:
    instruction = decode(code)
    assert instruction is not None
    assert successors(instruction, 0x1000) is None
