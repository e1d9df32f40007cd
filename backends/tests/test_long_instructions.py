"""What instructions of 64-bit code access: as the manual says, and as Unicorn does it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from backends.tests.long_instruction_processor import (
    CODE_PAGE,
    FS_BASE,
    VALUES,
    LongInstructionProcessor,
    registers,
)
from backends.unicorn_model.delivery.machine import Segment
from backends.unicorn_model.delivery.vectors import AC, GP, SS
from backends.unicorn_model.faults import NotModelled
from backends.unicorn_model.long_mode.accesses import Access, accesses, first_fault
from backends.unicorn_model.long_mode.delivery.machine import Registers
from backends.unicorn_model.long_mode.instructions import decode

OPERANDS = bytes.fromhex("3503010000000200")
# Unicorn ends differently here, or does not say what it accesses.
NOT_COMPARED = {
    *(0xC8, 0xCA, 0xCB, 0xCF),  # ENTER has a test of its own; far transfers
    *(0x0F00, 0x0F05, 0x0F07, 0x0F34, 0x0F35, 0x0FAA),  # of LDT and TSS; SYSCALL and the like
    *(0x8E, 0x0FA1, 0x0FA9),  # loads of segment registers, without descriptors
}
# With Unicorn one of these undoes a prefix for FS; they have no effect (SDM vol. 1, 3.4.2.1).
IGNORED_PREFIXES = (0x26, 0x2E, 0x36, 0x3E)
# Near branches, whose operand size is 64 bits whatever a prefix says; not so in Unicorn, nor in
# processors of another maker. MOVSXD of 16 bits reads no more than these, but does in Unicorn.
FORCED = {0x63, 0xE8, 0xE9, 0xC2, 0xC3, 0xFF, *range(0x0F80, 0x0F90)}
GROUPS = {
    *(*range(0x80, 0x84), 0x8C, 0x8F, 0xC0, 0xC1, 0xC6, 0xC7, *range(0xD0, 0xD4)),
    *(0xF6, 0xF7, 0xFE, 0xFF, 0x0F01, 0x0FBA, 0x0FC7),
}
PREFIXES = ("", "66", "67", "64", "f3", "48", "41", "4b", "6648", "f348", "674b", "3e")
RBX, RSP, RBP, RSI, RDI = (VALUES[name] for name in ("rbx", "rsp", "rbp", "rsi", "rdi"))
NOWHERE = 1 << 47


def found(code: str, state: Registers | None = None) -> list[Access]:
    instruction = decode(bytes.fromhex(code))
    assert instruction is not None
    return list(accesses(instruction, state or registers()))


def read(linear: int, size: int, alignment: int = 0, *, on_stack: bool = False) -> Access:
    return Access(linear, size, alignment or size, writes=False, on_stack=on_stack)


def write(linear: int, size: int, alignment: int = 0, *, on_stack: bool = False) -> Access:
    return Access(linear, size, alignment or size, writes=True, on_stack=on_stack)


def push(linear: int, size: int = 8) -> Access:
    return write(linear, size, on_stack=True)


def pop(linear: int, size: int = 8) -> Access:
    return read(linear, size, on_stack=True)


def encodings() -> Iterator[bytes]:
    """Every opcode with a memory operand, with and without prefixes; and with all reg fields, where
    that makes a difference.
    """
    for escape, opcode in itertools.product((b"", b"\x0f"), range(256)):
        for prefix in map(bytes.fromhex, PREFIXES):
            yield prefix + escape + bytes((opcode, 0x03)) + OPERANDS
        if (opcode if not escape else 0x0F00 | opcode) in GROUPS:
            for operand in (*range(0x0B, 0x43, 8), 0x44, 0xC3, 0xD3, 0xF3):
                for prefix in (b"", b"\x48"):
                    yield prefix + escape + bytes((opcode, operand)) + OPERANDS


def test_every_opcode_accesses_what_unicorn_accesses() -> None:
    processor, state = LongInstructionProcessor(), registers()
    compared = 0
    for code in encodings():
        instruction = decode(code)
        if instruction is None or instruction.opcode in NOT_COMPARED:
            continue
        if code[0] == 0x64 and code[1] in IGNORED_PREFIXES:
            continue
        if code[0] == 0x66 and instruction.opcode in FORCED:
            continue
        try:
            expected = list(accesses(instruction, state))
        except NotModelled:
            continue
        if not processor.run(code):
            continue
        spans = [
            (access.writes, range(access.linear, access.linear + access.size))
            for access in expected
        ]
        touched = {address for _, span in spans for address in span}
        written = {address for writes, span in spans if writes for address in span}
        assert instruction.length == processor.length, code.hex()
        assert touched == processor.read | processor.written, code.hex()
        assert written == processor.written, code.hex()
        compared += 1
    assert compared > 2500


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("8b03", [read(RBX, 4)]),
        ("488b03", [read(RBX, 8)]),
        ("66488903", [write(RBX, 8)]),
        ("498b03", [read(VALUES["r11"], 8)]),
        ("4b8b049c", [read(VALUES["r12"] + 4 * VALUES["r11"], 8)]),
        ("678b03", [read(RBX, 4)]),
        ("488b4500", [read(RBP, 8, on_stack=True)]),
        ("498b4500", [read(VALUES["r13"], 8)]),
        ("488b0424", [read(RSP, 8, on_stack=True)]),
        ("488b042c", [read(RSP + RBP, 8, on_stack=True)]),
        ("488b042b", [read(RBX + RBP, 8)]),
        ("3e488b4500", [read(RBP, 8, on_stack=True)]),
        ("36488b03", [read(RBX, 8)]),
        ("64488b03", [read(FS_BASE + RBX, 8)]),
        ("64488b4500", [read(FS_BASE + RBP, 8)]),
        ("8b0510000000", [read(CODE_PAGE + 6 + 0x10, 4)]),
        ("8b042510000000", [read(0x10, 4)]),
        ("8b0425f0ffffff", [read(2**64 - 0x10, 4)]),
        ("678b0425f0ffffff", [read(2**32 - 0x10, 4)]),
        ("48a11000000000000080", [read(0x8000000000000010, 8)]),
        ("4863c3", []),
        ("486303", [read(RBX, 4)]),
        ("8d03", []),
        ("0f0138", []),
        ("0fc70b", [write(RBX, 8)]),
        ("480fc70b", [write(RBX, 16)]),
        ("0f0113", [read(RBX, 10, 8)]),
        ("50", [push(RSP - 8)]),
        ("6650", [push(RSP - 2, 2)]),
        ("4150", [push(RSP - 8)]),
        ("58", [pop(RSP)]),
        ("c3", [pop(RSP)]),
        ("c9", [pop(RBP)]),
        ("66c3", [pop(RSP)]),
        ("66e800000000", [push(RSP - 8)]),
        ("66ffd0", [push(RSP - 8)]),
        ("66ff13", [read(RBX, 8), push(RSP - 8)]),
        ("e800000000", [push(RSP - 8)]),
        ("ffd0", [push(RSP - 8)]),
        ("ff13", [read(RBX, 8), push(RSP - 8)]),
        ("ff23", [read(RBX, 8)]),
        ("ff33", [read(RBX, 8), push(RSP - 8)]),
        ("66ff33", [read(RBX, 2), push(RSP - 2, 2)]),
        ("8f03", [pop(RSP), write(RBX, 8)]),
        ("8f0424", [pop(RSP), write(RSP + 8, 8, on_stack=True)]),
        ("48cb", [pop(RSP), pop(RSP + 8)]),
        ("cb", [pop(RSP, 4), pop(RSP + 4, 4)]),
        ("c8100000", [push(RSP - 8), write(RSP - 24, 1, on_stack=True)]),
        (
            "c8100002",
            [
                push(RSP - 8),
                pop(RBP - 8),
                push(RSP - 16),
                push(RSP - 24),
                write(RSP - 40, 1, on_stack=True),
            ],
        ),
        ("48a5", [read(RSI, 8), write(RDI, 8)]),
        ("6448a5", [read(FS_BASE + RSI, 8), write(RDI, 8)]),
        ("f348ab", [write(RDI, 8)]),
        ("486d", [write(RDI, 4)]),
        ("d7", [read(RBX + 0x21, 1)]),
        ("48d7", [read(RBX + 0x21, 1)]),
    ],
)
def test_accesses(code: str, expected: list[Access]) -> None:
    assert found(code) == expected


@pytest.mark.parametrize(
    ("code", "position", "offset", "size"),
    [
        ("480fa303", 63, 0, 8),
        ("480fab03", 64, 8, 8),
        ("480fb303", 2**64 - 1, -8, 8),
        ("0fab03", 2**32 + 33, 4, 4),
        ("660fab03", 0x1FFFF, -2, 2),
    ],
)
def test_bit_strings(code: str, position: int, offset: int, size: int) -> None:
    (access,) = found(code, registers(rax=position))
    assert (access.linear, access.size) == (RBX + offset, size)
    processor = LongInstructionProcessor()
    assert processor.run(bytes.fromhex(code), rax=position)
    assert processor.read == set(range(access.linear, access.linear + size))


@pytest.mark.parametrize("count", [0, 1, 1 << 32])
def test_a_repeated_instruction_without_iterations_accesses_nothing(count: int) -> None:
    assert bool(found("f348ab", registers(rcx=count))) is bool(count)
    assert bool(found("67f3ab", registers(rcx=count))) is bool(count % 2**32)


@pytest.mark.parametrize(
    ("code", "changes", "vector"),
    [
        ("488b03", {"rbx": NOWHERE}, GP),
        ("488b03", {"rbx": NOWHERE - 1}, GP),
        ("488b03", {"rbx": NOWHERE - 8}, None),
        ("488b03", {"rbx": 2**64 - NOWHERE - 1}, GP),
        ("488b03", {"rbx": 2**64 - NOWHERE}, None),
        ("488b4500", {"rbp": NOWHERE}, SS),
        ("498b4500", {"r13": NOWHERE}, GP),
        ("64488b4500", {"rbp": NOWHERE}, GP),
        ("50", {"rsp": NOWHERE + 16}, SS),
        ("50", {"rsp": NOWHERE}, None),
        ("58", {"rsp": NOWHERE}, SS),
        ("ff33", {"rbx": NOWHERE, "rsp": NOWHERE + 16}, GP),
        ("48a5", {"rdi": NOWHERE}, GP),
        ("678b03", {"rbx": NOWHERE}, None),
        ("488d03", {"rbx": NOWHERE}, None),
    ],
)
def test_addresses_that_are_nowhere(code: str, changes: dict[str, int], vector: int | None) -> None:
    state = registers(**changes)
    fault = first_fault(found(code, state), state)
    if vector is None:
        assert fault is None
    else:
        assert fault is not None
        assert (fault.vector, fault.error_code) == (vector, 0)


@pytest.mark.parametrize(("am", "ac", "cpl"), list(itertools.product((0, 1), (0, 1), (0, 3))))
def test_alignment(am: int, ac: int, cpl: int) -> None:
    state = registers()
    code = Segment(state.cs.selector | cpl, state.cs.descriptor)
    state = registers(cs=code, cr0=0x80000011 | am << 18, rflags=2 | ac << 18, rbx=RBX + 1)
    fault = first_fault(found("488b03", state), state)
    if am and ac and cpl == 3:
        assert fault is not None
        assert (fault.vector, fault.error_code) == (AC, 0)
    else:
        assert fault is None
    assert first_fault(found("8a03", state), state) is None


def test_a_null_segments_base_is_not_guessed_at() -> None:
    with pytest.raises(NotModelled, match="FS"):
        found("64488b03", registers(fs=Segment(0, None)))


@pytest.mark.parametrize(("code", "is_over"), [("f3ab", False), ("67f3ab", True)])
def test_whether_a_repeated_instruction_is_over(code: str, is_over: bool) -> None:
    """By the part of the count that the address size takes."""
    instruction = decode(bytes.fromhex(code))
    assert instruction is not None
    assert instruction.is_repeated
    assert instruction.is_over(registers(rcx=1 << 32)) is is_over


@pytest.mark.parametrize(
    "code",
    [
        "d903",  # FLD
        "0f2803",  # MOVAPS
        "0fae03",  # FXSAVE
        "0ff7c1",  # MASKMOVQ
        "0f01c8",  # MONITOR
        "48cf",  # IRETQ
        "48ff1b",  # CALL far
        "c5f92803",  # VEX
        "0f38f003",  # MOVBE
    ],
)
def test_what_is_not_known_is_refused(code: str) -> None:
    with pytest.raises(NotModelled, match="accesses"):
        found(code)


@pytest.mark.parametrize(
    ("code", "length"),
    [
        ("90ffffff", 1),
        ("2e2e2ec3", 4),
        ("262e363e646566c3", 8),
        ("4890", 2),
        ("48", None),
        ("48b8", None),
        ("48b80102030405060708", 10),
        ("06", None),
        ("0f0b", 2),
        ("cd30", 2),
        ("2e" * 14 + "90", 15),
        ("2e" * 15 + "90", None),
    ],
)
def test_lengths(code: str, length: int | None) -> None:
    instruction = decode(bytes.fromhex(code))
    assert (instruction and instruction.length) == length
