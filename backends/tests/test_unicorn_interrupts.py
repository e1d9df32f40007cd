"""The reference model is interrupted from outside: real runs of small code."""

from __future__ import annotations

import pytest

from backends.tests.delivery_machine import DATA, descriptor
from backends.tests.interrupting_devices import (
    CLI,
    END,
    HOLDING,
    LOOP,
    MOV_SS,
    PENDING,
    POPF,
    PUSHF,
    RF,
    SELF,
    START,
    STI,
    TIMER,
    controllers,
    halting,
    in_both_modes,
    out,
    silent,
    timer,
    unparted,
)
from backends.tests.reference_machine import (
    BELL,
    HLT,
    IRET,
    KERNEL_CODE,
    KERNEL_DATA,
    NOP,
    RESULT,
    SPARE,
    ReferenceMachine,
    count,
    mov_eax,
    mov_ecx,
    save_stack,
    skip,
    word,
)
from backends.unicorn_model.messages import End, Stop

# Loops until the first word at RESULT is as large as ECX.
UNTIL = b"\x39\x0d" + word(RESULT) + b"\x72\xf8"  # cmp %ecx, RESULT; jb


TICK = count(RESULT) + END + IRET


@pytest.fixture
def machine() -> ReferenceMachine:
    return new_machine()


def new_machine(handler: bytes = TICK) -> ReferenceMachine:
    machine = ReferenceMachine()
    machine.handler(TIMER, handler)
    return machine


def end_of(stop: Stop) -> tuple[End, str]:
    return stop.end, stop.detail


@in_both_modes
def test_the_timer_interrupts_again_and_again(machine: ReferenceMachine, control: int) -> None:
    start = controllers() + timer(control=control)
    assert end_of(machine.run(start + mov_ecx(20) + STI + UNTIL)) == (End.BELL, "")
    assert machine.word(RESULT) == 20


def test_with_paging(machine: ReferenceMachine) -> None:
    code = machine.paging() + START + mov_ecx(5) + STI + UNTIL
    assert end_of(machine.run(code)) == (End.BELL, "")


def test_an_interrupt_saves_what_an_interrupt_does(machine: ReferenceMachine) -> None:
    """The address of the next instruction, no error code, IF set in the image and clear after."""
    flags = PUSHF + b"\x8f\x05" + word(RESULT + 16)
    machine = new_machine(save_stack(RESULT, 3) + flags + BELL)
    stop = machine.run(START + STI + SELF)
    assert end_of(stop) == (End.BELL, "")
    eip, cs, eflags = machine.words(RESULT, 3)
    assert bytes(machine.ram[eip : eip + 2]) == SELF
    assert (cs, eflags & (0x200 | RF)) == (KERNEL_CODE, 0x200)
    assert not machine.word(RESULT + 16) & 0x200
    assert stop.faults == ()


@silent
def test_nothing_comes(machine: ReferenceMachine, code: bytes) -> None:
    assert end_of(machine.run(code)) == (End.BELL, "")
    assert machine.word(RESULT) == 0


def test_an_interrupt_that_was_not_ended_is_the_last(machine: ReferenceMachine) -> None:
    machine = new_machine(count(RESULT) + IRET)
    code = START + mov_ecx(20_000) + STI + LOOP
    assert end_of(machine.run(code)) == (End.BELL, "")
    assert machine.word(RESULT) == 1


def test_hlt_waits_for_the_next_tick(machine: ReferenceMachine) -> None:
    """However far away it is; and the handler returns behind it."""
    machine = new_machine(count(RESULT) + END + save_stack(RESULT + 4, 1) + IRET)
    stop = machine.run(controllers() + timer(0) + (STI + HLT + CLI) * 3)
    assert end_of(stop) == (End.BELL, "")
    assert machine.word(RESULT) == 3
    eip = machine.word(RESULT + 4)
    assert bytes(machine.ram[eip - 2 : eip + 1]) == STI + HLT + CLI


@halting
def test_hlt_for_ever(machine: ReferenceMachine, code: bytes) -> None:
    stop = machine.run(code)
    assert stop.end is End.HALTED
    assert "halted at" in stop.detail


def test_a_pending_interrupt_is_taken_behind_popf(machine: ReferenceMachine) -> None:
    on = b"\x68" + word(0x202) + POPF  # push $0x202
    machine = new_machine(save_stack(RESULT, 1) + BELL)
    assert end_of(machine.run(START + PENDING + on + NOP * 2 + HLT)) == (End.BELL, "")
    eip = machine.word(RESULT)
    assert bytes(machine.ram[eip - 1 : eip + 3]) == POPF + NOP * 2 + HLT


def test_a_pending_interrupt_is_taken_behind_iret(machine: ReferenceMachine) -> None:
    """Before the first instruction that it returns to."""
    frame = b"\x68" + word(0x202) + b"\x6a" + bytes([KERNEL_CODE])
    target = 0x18000
    machine = new_machine(save_stack(RESULT, 1) + BELL)
    machine.put(target, NOP + HLT)
    code = START + PENDING + frame + b"\x68" + word(target) + IRET
    assert end_of(machine.run(code)) == (End.BELL, "")
    assert machine.word(RESULT) == target


@pytest.mark.parametrize(
    ("code", "behind"),
    [*HOLDING.values(), (STI + b"\x52\x17" + NOP + NOP, STI + b"\x52")],  # push %edx; pop %ss
    ids=[*HOLDING, "pop ss"],
)
def test_sti_and_loads_of_ss_hold_an_interrupt_back(
    machine: ReferenceMachine, code: bytes, behind: bytes
) -> None:
    machine = new_machine(save_stack(RESULT, 1) + BELL)
    assert end_of(machine.run(START + PENDING + code + HLT)) == (End.BELL, "")
    eip = machine.word(RESULT)
    assert bytes(machine.ram[eip - len(behind) : eip]) == behind
    assert bytes(machine.ram[eip : eip + 1]) in (NOP, b"\x17")


def test_cli_behind_sti_keeps_it_out(machine: ReferenceMachine) -> None:
    code = START + PENDING + (STI + CLI + NOP) * 5 + STI + NOP
    machine = new_machine(count(RESULT) + save_stack(RESULT + 4, 1) + END + IRET)
    assert end_of(machine.run(code)) == (End.BELL, "")
    assert machine.word(RESULT) == 1
    eip = machine.word(RESULT + 4)
    assert bytes(machine.ram[eip - 5 : eip]) == STI + CLI + NOP + STI + NOP


@unparted
def test_a_load_of_ss_and_what_follows_are_not_parted(divisor: int, selector: bytes) -> None:
    """Wherever ticks come, whether the load changes something or not."""
    behind = b"\x8b\x44\x24\x04\x66\x81\x78\xfe" + selector  # is it in front of the saved EIP?
    behind += b"\x75\x06" + count(RESULT + 4)
    machine = new_machine(b"\x50" + behind + count(RESULT) + END + b"\x58" + IRET)
    machine.descriptors.append(descriptor(DATA))  # 0x38
    loop = selector + NOP + MOV_SS + NOP + b"\x49"  # …; dec %ecx
    back = b"\x75" + bytes([256 - len(loop) - 2])
    registers = b"\xba" + word(KERNEL_DATA) + b"\xbb" + word(0x38) + mov_ecx(150)
    code = controllers() + timer(divisor) + registers + STI + loop + back
    assert end_of(machine.run(code)) == (End.BELL, "")
    assert machine.word(RESULT) > 10
    assert machine.word(RESULT + 4) == 0


def test_an_interrupt_between_iterations_sets_the_resume_flag(machine: ReferenceMachine) -> None:
    """17.3.1.1; and the instruction goes on where it was."""
    save = b"\x50" + b"\x8b\x44\x24\x04\xa3" + word(RESULT + 4)
    save += b"\x8b\x44\x24\x0c\xa3" + word(RESULT + 8) + b"\x58"
    machine = new_machine(save + b"\x89\x0d" + word(RESULT + 12) + TICK)
    fill = b"\xbf" + word(SPARE) + mov_ecx(0x8000) + mov_eax(7) + STI + b"\xf3\xab" + CLI
    assert end_of(machine.run(START + fill)) == (End.BELL, "")
    assert machine.word(RESULT) > 5
    eip, eflags, ecx = machine.words(RESULT + 4, 3)
    assert bytes(machine.ram[eip : eip + 2]) == b"\xf3\xab"
    assert eflags & RF
    assert 0 < ecx < 0x8000
    assert machine.words(SPARE, 0x8000) == (7,) * 0x8000


def test_where_a_repeated_instruction_is_interrupted() -> None:
    """Before it, RF is clear; between iterations it is set; when it is over, so is the address."""
    log, following = SPARE, SPARE - 4
    entry = b"\x60\xfc\x89\xcb\x8b\x3d" + word(following)  # pushal; cld; mov %ecx, %ebx; …, %edi
    entry += b"\x8b\x44\x24\x20\xab\x8b\x44\x24\x28\xab\x89\xd8\xab"  # EIP, EFLAGS, ECX
    entry += b"\x89\x3d" + word(following) + b"\x61" + END + IRET
    loop = mov_ecx(5) + b"\xbf" + word(RESULT) + b"\xf3\xab\x4d"  # mov $RESULT, %edi; …; dec %ebp
    back = b"\x75" + bytes([256 - len(loop) - 2])
    seen = set()
    for divisor in range(31, 57, 2):
        machine = new_machine(entry)
        machine.put(following, word(log))
        code = controllers() + timer(divisor) + b"\xbd" + word(40) + STI + loop + back + CLI
        assert end_of(machine.run(code)) == (End.BELL, "")
        for address in range(log, machine.word(following), 12):
            eip, eflags, ecx = machine.words(address, 3)
            if bytes(machine.ram[eip : eip + 2]) == b"\xf3\xab":
                seen.add((ecx, bool(eflags & RF)))
            else:
                assert not eflags & RF
    assert {(1, True), (2, True)} <= seen
    assert seen <= {(5, False), *((left, True) for left in range(1, 5))}


def test_a_fault_does_not_lose_an_interrupt(machine: ReferenceMachine) -> None:
    machine.handler(6, count(RESULT + 4) + skip(2) + IRET)
    code = START + mov_ecx(3) + STI + b"\x0f\x0b" + UNTIL.replace(b"\xf8", b"\xf6")
    assert end_of(machine.run(code)) == (End.BELL, "")
    assert machine.word(RESULT) == 3
    assert machine.word(RESULT + 4) > 50


def test_tracing_and_interrupts(machine: ReferenceMachine) -> None:
    """6.9: the trap of an instruction comes before an interrupt behind it."""
    machine.handler(1, count(RESULT + 4) + IRET)
    trace = PUSHF + b"\x81\x0c\x24" + word(0x300) + POPF  # orl $(TF | IF), (%esp)
    assert end_of(machine.run(START + mov_ecx(3) + trace + UNTIL + b"\xfa" + BELL)) == (
        End.BELL,
        "",
    )
    assert machine.word(RESULT) == 3
    assert machine.word(RESULT + 4) > 50


def test_the_same_run_again_is_the_same() -> None:
    def run() -> tuple[int, ...]:
        machine = new_machine(count(RESULT) + b"\x01\x0d" + word(RESULT + 4) + END + IRET)
        code = START + mov_ecx(50_000) + STI + LOOP + CLI  # loop; the handler sums ECX
        assert end_of(machine.run(code)) == (End.BELL, "")
        return machine.words(RESULT, 2)

    first = run()
    assert first[0] > 5
    assert {run() for _ in range(5)} == {first}


def test_what_a_device_does_not_know_ends_the_run(machine: ReferenceMachine) -> None:
    stop = machine.run(out(0x20, 0x1B))
    assert stop.end is End.NOT_MODELLED
    assert "8259A" in stop.detail
    stop = machine.run(b"\x66\xe5\x40")  # in $0x40, %ax
    assert stop.end is End.NOT_MODELLED
    assert "8254" in stop.detail
