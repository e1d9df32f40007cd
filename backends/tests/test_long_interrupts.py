"""The reference model is interrupted from outside in 64-bit mode: real runs of small code."""

from __future__ import annotations

import pytest

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
from backends.tests.long_machine import (
    BELL,
    DIRECTORY,
    HIGH,
    INNER_STACK,
    INTERRUPT_STACK,
    IRETQ,
    KERNEL_CODE,
    KERNEL_DATA,
    KERNEL_STACK,
    NOP,
    NOWHERE,
    POINTERS,
    RAM,
    RESULT,
    SPARE,
    TABLE,
    TOP,
    UD2,
    USER,
    USER_CODE,
    USER_DATA,
    USER_STACK,
    LongMachine,
    enter_ring_3,
    mov_rax,
    push,
    quad,
    rang,
    return_to,
    save_rax,
    save_stack,
    skip,
)
from backends.tests.reference_machine import HLT, mov_eax, mov_ecx, word
from backends.unicorn_model.messages import End

IF, TF = 0x200, 0x100


def count(address: int) -> bytes:
    return b"\xff\x04\x25" + word(address)  # incl address


# Loops until the first word at RESULT is as large as ECX.
UNTIL = b"\x39\x0c\x25" + word(RESULT) + b"\x72\xf7"  # cmp %ecx, RESULT; jb
TICK = count(RESULT) + END + IRETQ


@pytest.fixture
def machine() -> LongMachine:
    return new_machine()


def new_machine(handler: bytes = TICK, *, stack: int = 0) -> LongMachine:
    machine = LongMachine()
    machine.handler(TIMER, handler, stack=stack)
    return machine


def ticks(machine: LongMachine) -> int:
    return machine.quad(RESULT) & 0xFFFFFFFF


@in_both_modes
def test_the_timer_interrupts_again_and_again(machine: LongMachine, control: int) -> None:
    rang(machine.run(controllers() + timer(control=control) + mov_ecx(20) + STI + UNTIL))
    assert ticks(machine) == 20


def test_what_32_bit_code_has_set_up_goes_on(machine: LongMachine) -> None:
    """The controllers and the timer are the same after the change of mode."""
    machine.load(mov_ecx(5) + STI + UNTIL)
    rang(machine.run_32(controllers() + timer() + machine.enter()))
    assert ticks(machine) == 5


def test_a_request_from_before_the_change_of_mode_is_kept() -> None:
    machine = new_machine(save_stack(RESULT, 1) + BELL)
    machine.load(STI + NOP * 3 + HLT)
    rang(machine.run_32(START + PENDING + machine.enter()))
    rip = machine.quad(RESULT)
    assert bytes(machine.ram[rip - 2 : rip + 2]) == STI + NOP * 3


def test_an_interrupt_saves_what_an_interrupt_does() -> None:
    """The address of the next instruction, no error code, IF set in the image and clear after."""
    flags = PUSHF + b"\x58" + save_rax(RESULT + 48)  # pop %rax
    pointer = b"\x48\x89\xe0" + save_rax(RESULT + 40)  # mov %rsp, %rax
    machine = new_machine(save_stack(RESULT, 5) + pointer + flags + BELL)
    stop = rang(machine.run(START + STI + SELF))
    rip, cs, rflags, rsp, ss = machine.quads(RESULT, 5)
    assert bytes(machine.ram[rip : rip + 2]) == SELF
    assert (cs, rflags & (IF | RF), rsp, ss) == (KERNEL_CODE, IF, KERNEL_STACK, KERNEL_DATA)
    assert machine.quad(RESULT + 40) == KERNEL_STACK - 40
    assert not machine.quad(RESULT + 48) & IF
    assert stop.faults == ()


def test_an_interrupt_of_user_mode() -> None:
    """It comes on the stack of ring 0, and returns to what it has interrupted."""
    machine = new_machine(save_stack(RESULT + 8, 5) + TICK)
    machine.handler(0x30, BELL, dpl=3)
    machine.put(USER, mov_ecx(100_000) + LOOP + b"\xcd\x30")
    rang(machine.run(START + enter_ring_3(2 | IF)))
    assert ticks(machine) > 5
    rip, cs, rflags, rsp, ss = machine.quads(RESULT + 8, 5)
    assert rip in (USER + 5, USER + 7)
    assert (cs, rflags & IF, rsp, ss) == (USER_CODE, IF, USER_STACK, USER_DATA)


@pytest.mark.parametrize(("stack", "top"), [(0, INNER_STACK - 8), (1, INTERRUPT_STACK - 8)])
def test_the_stack_of_an_interrupt_in_user_mode(stack: int, top: int) -> None:
    machine = new_machine(b"\x48\x89\xe0" + save_rax(RESULT) + BELL, stack=stack)
    machine.put(USER, SELF)
    rang(machine.run(START + enter_ring_3(2 | IF)))
    assert machine.quad(RESULT) == top - 40


@silent
def test_nothing_comes(machine: LongMachine, code: bytes) -> None:
    rang(machine.run(code))
    assert ticks(machine) == 0


def test_an_interrupt_that_was_not_ended_is_the_last() -> None:
    machine = new_machine(count(RESULT) + IRETQ)
    rang(machine.run(START + mov_ecx(20_000) + STI + LOOP))
    assert ticks(machine) == 1


def test_hlt_waits_for_the_next_tick() -> None:
    """However far away it is; and the handler returns behind it."""
    machine = new_machine(count(RESULT) + END + save_stack(RESULT + 8, 1) + IRETQ)
    rang(machine.run(controllers() + timer(0) + (STI + HLT + CLI) * 3))
    assert ticks(machine) == 3
    rip = machine.quad(RESULT + 8)
    assert bytes(machine.ram[rip - 2 : rip + 1]) == STI + HLT + CLI


def test_hlt_in_the_block_of_the_first_out(machine: LongMachine) -> None:
    """At an address of more than 32 bits; nobody looks for HLT before that OUT."""
    machine.put(SPARE, controllers() + timer() + HLT + CLI + BELL)
    rang(machine.run(STI + mov_rax(HIGH + SPARE) + b"\xff\xe0"))  # jmp *%rax
    assert ticks(machine) == 1


@halting
def test_hlt_for_ever(machine: LongMachine, code: bytes) -> None:
    stop = machine.run(code)
    assert stop.end is End.HALTED
    assert "halted at" in stop.detail


@pytest.mark.parametrize("code", [HLT, STI])
def test_user_mode_may_not(machine: LongMachine, code: bytes) -> None:
    """Also once the model looks for these instructions."""
    machine.handler(13, save_stack(RESULT, 2) + BELL)
    machine.put(USER, code)
    rang(machine.run(START + enter_ring_3()))
    assert machine.quads(RESULT, 2) == (0, USER)


def test_a_pending_interrupt_is_taken_behind_popf() -> None:
    machine = new_machine(save_stack(RESULT, 4) + BELL)
    rang(machine.run(START + PENDING + push(2 | IF) + POPF + NOP * 2 + HLT))
    rip, _, rflags, rsp = machine.quads(RESULT, 4)
    assert bytes(machine.ram[rip - 1 : rip + 3]) == POPF + NOP * 2 + HLT
    assert (rflags, rsp) == (2 | IF, KERNEL_STACK)


def test_popf_in_user_mode_does_not_let_interrupts_in(machine: LongMachine) -> None:
    """It leaves IF and IOPL as they are."""
    machine.handler(0x30, save_stack(RESULT + 8, 3) + BELL, dpl=3)
    machine.put(USER, push(0xFFFF_FFFF_0000_0002 | IF | 0x3000) + POPF + NOP * 3 + b"\xcd\x30")
    rang(machine.run(START + PENDING + enter_ring_3()))
    assert ticks(machine) == 0
    assert machine.quad(RESULT + 24) == 2


def test_a_pending_interrupt_is_taken_behind_iretq() -> None:
    """Before the first instruction that it returns to."""
    machine = new_machine(save_stack(RESULT, 1) + BELL)
    machine.put(SPARE, NOP + HLT)
    rang(machine.run(START + PENDING + return_to(SPARE, KERNEL_CODE, 2 | IF)))
    assert machine.quad(RESULT) == SPARE


@pytest.mark.parametrize(
    ("code", "behind"),
    [*HOLDING.values(), (STI + b"\x8e\xd3" + NOP + NOP, STI + b"\x8e\xd3" + NOP)],
    ids=[*HOLDING, "null to ss"],
)
def test_sti_and_loads_of_ss_hold_an_interrupt_back(code: bytes, behind: bytes) -> None:
    machine = new_machine(save_stack(RESULT, 1) + BELL)
    rang(machine.run(START + b"\x31\xdb" + PENDING + code + HLT))  # xor %ebx, %ebx
    rip = machine.quad(RESULT)
    assert bytes(machine.ram[rip - len(behind) : rip]) == behind
    assert bytes(machine.ram[rip : rip + 1]) == NOP


def test_cli_behind_sti_keeps_it_out() -> None:
    machine = new_machine(count(RESULT) + save_stack(RESULT + 8, 1) + END + IRETQ)
    rang(machine.run(START + PENDING + (STI + CLI + NOP) * 5 + STI + NOP))
    assert ticks(machine) == 1
    rip = machine.quad(RESULT + 8)
    assert bytes(machine.ram[rip - 5 : rip]) == STI + CLI + NOP + STI + NOP


@unparted
def test_a_load_of_ss_and_what_follows_are_not_parted(divisor: int, selector: bytes) -> None:
    """Wherever ticks come, whether the load changes something or not."""
    behind = b"\x48\x8b\x44\x24\x08\x66\x81\x78\xfe" + selector  # is it in front of the saved RIP?
    behind += b"\x75\x07" + count(RESULT + 8)
    machine = new_machine(b"\x50" + behind + count(RESULT) + END + b"\x58" + IRETQ)
    loop = selector + NOP + MOV_SS + NOP + b"\xff\xc9"  # …; dec %ecx
    back = b"\x75" + bytes([256 - len(loop) - 2])
    registers = b"\xba" + word(KERNEL_DATA) + b"\xbb" + word(0) + mov_ecx(150)
    rang(machine.run(controllers() + timer(divisor) + registers + STI + loop + back))
    assert ticks(machine) > 10
    assert machine.quad(RESULT + 8) == 0


def test_an_interrupt_between_iterations_sets_the_resume_flag() -> None:
    """17.3.1.1; and the instruction goes on where it was."""
    save = b"\x50" + save_stack(RESULT, 4) + b"\x48\x89\xc8" + save_rax(RESULT + 32) + b"\x58"
    machine = new_machine(save + count(RESULT + 40) + END + IRETQ)
    fill = b"\xbf" + word(SPARE) + mov_ecx(0x8000) + mov_eax(7) + STI + b"\xf3\xab" + CLI
    rang(machine.run(START + fill))
    assert machine.quad(RESULT + 40) > 5
    rip, _, rflags, rcx = machine.quads(RESULT + 8, 4)
    assert bytes(machine.ram[rip : rip + 2]) == b"\xf3\xab"
    assert rflags & RF
    assert 0 < rcx < 0x8000
    assert machine.quads(SPARE, 0x4000) == (7 << 32 | 7,) * 0x4000


@pytest.mark.parametrize("prefix", [b"", b"\x67"], ids=["rcx", "ecx"])
def test_where_a_repeated_instruction_is_interrupted(prefix: bytes) -> None:
    """Before it, RF is clear; between iterations it is set; when it is over, so is the address."""
    log, following, stos = SPARE, SPARE - 8, prefix + b"\xf3\xab"
    # push %rax; push %rdi; push %rcx; cld; mov %ecx, %ebx; mov following, %rdi
    entry = b"\x50\x57\x51\xfc\x89\xcb\x48\x8b\x3c\x25" + word(following)
    # RIP, RFLAGS, ECX: mov …(%rsp), %rax; stos
    entry += b"\x48\x8b\x44\x24\x18\x48\xab\x48\x8b\x44\x24\x28\x48\xab\x48\x89\xd8\x48\xab"
    entry += b"\x48\x89\x3c\x25" + word(following) + b"\x59\x5f\x58" + END + IRETQ
    # With an address size of 32 bits, the upper half of RCX does not count.
    five = quad(5 | 1 << 32) if prefix else quad(5)
    loop = b"\x48\xb9" + five + b"\xbf" + word(RESULT) + stos + b"\xff\xcd"  # …; dec %ebp
    back = b"\x75" + bytes([256 - len(loop) - 2])
    seen = set()
    for divisor in range(31, 57, 2):
        machine = new_machine(entry)
        machine.put(following, quad(log))
        code = controllers() + timer(divisor) + b"\xbd" + word(40) + STI + loop + back + CLI
        rang(machine.run(code))
        for address in range(log, machine.quad(following), 24):
            rip, rflags, ecx = machine.quads(address, 3)
            if bytes(machine.ram[rip : rip + len(stos)]) == stos:
                seen.add((ecx, bool(rflags & RF)))
            else:
                assert not rflags & RF
    assert {(1, True), (2, True)} <= seen
    assert seen <= {(5, False), *((left, True) for left in range(1, 5))}


@pytest.mark.parametrize("left", [1, 2, 3, 15, 16])
def test_the_end_of_the_address_space(left: int) -> None:
    """Where so many bytes are left, a step is made like anywhere else."""
    machine = new_machine(save_stack(RESULT, 1) + BELL)
    machine.put(POINTERS + 511 * 8, quad(DIRECTORY | 7))
    machine.put(DIRECTORY + 511 * 8, quad(TABLE | 7))
    machine.page(RAM - 0x1000, SPARE | 3)
    machine.put(SPARE + 0x1000 - left - 1, STI + NOP * left)
    rang(machine.run(START + PENDING + mov_rax(-1 - left) + b"\xff\xe0"))  # jmp *%rax
    assert machine.quad(RESULT) == (1 - left) % 2**64


def test_the_end_of_the_lower_half() -> None:
    """What follows an instruction may be at no address at all."""
    machine = new_machine(save_stack(RESULT, 1) + BELL)
    machine.put(TOP + 255 * 8, quad(POINTERS | 7))
    machine.put(POINTERS + 511 * 8, quad(DIRECTORY | 7))
    machine.put(DIRECTORY + 511 * 8, quad(TABLE | 7))
    machine.page(RAM - 0x1000, SPARE | 3)
    machine.put(SPARE + 0x1000 - 4, STI + NOP + SELF)
    rang(machine.run(START + PENDING + mov_rax(NOWHERE - 4) + b"\xff\xe0"))  # jmp *%rax
    assert machine.quad(RESULT) == NOWHERE - 2


def test_a_fault_does_not_lose_an_interrupt(machine: LongMachine) -> None:
    machine.handler(6, count(RESULT + 8) + skip(2) + IRETQ)
    rang(machine.run(START + mov_ecx(3) + STI + UD2 + UNTIL.replace(b"\xf7", b"\xf5")))
    assert ticks(machine) == 3
    assert machine.quad(RESULT + 8) > 50


@pytest.mark.parametrize("code", [SELF, NOP * 600 + SELF, LOOP + SELF])
def test_behind_a_fault_the_resume_flag_is_soon_clear(code: bytes) -> None:
    """17.3.1.1: by the first instruction that completes."""
    machine = new_machine(save_stack(RESULT, 3) + BELL)
    machine.handler(6, skip(2) + IRETQ)
    rang(machine.run(START + b"\x31\xc9" + STI + UD2 + code))  # xor %ecx, %ecx
    assert machine.quad(RESULT + 16) & (IF | RF) == IF


def test_tracing_and_interrupts(machine: LongMachine) -> None:
    """6.9: the trap of an instruction comes before an interrupt behind it."""
    machine.handler(1, count(RESULT + 8) + IRETQ)
    trace = PUSHF + b"\x81\x0c\x24" + word(IF | TF) + POPF  # orl $(TF | IF), (%rsp)
    rang(machine.run(START + mov_ecx(3) + trace + UNTIL + CLI + BELL))
    assert ticks(machine) == 3
    assert machine.quad(RESULT + 8) > 50


def test_the_same_run_again_is_the_same() -> None:
    def run() -> tuple[int, ...]:
        add = b"\x01\x0c\x25" + word(RESULT + 8)  # add %ecx, RESULT + 8
        machine = new_machine(count(RESULT) + add + END + IRETQ)
        rang(machine.run(START + mov_ecx(50_000) + STI + LOOP + CLI))
        return machine.quads(RESULT, 2)

    first = run()
    assert first[0] > 5
    assert {run() for _ in range(5)} == {first}


def test_what_a_device_does_not_know_ends_the_run(machine: LongMachine) -> None:
    stop = machine.run(out(0x20, 0x1B))
    assert stop.end is End.NOT_MODELLED
    assert "8259A" in stop.detail


def test_compatibility_mode_is_not_interrupted(machine: LongMachine) -> None:
    stop = machine.run_32(START + PENDING + machine.enter()[:-7] + STI + SELF)
    assert stop.end is End.NOT_MODELLED
    assert "ExternalInterrupt" in stop.detail
    assert "compatibility mode" in stop.detail
