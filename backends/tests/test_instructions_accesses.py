"""What instructions access: as the manual says, and as Unicorn does it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from instruction_processor import FS_BASE, SS_BASE, InstructionProcessor, registers

from backends.unicorn_model.delivery.flags import NT
from backends.unicorn_model.delivery.machine import NotModelled, Registers
from backends.unicorn_model.instructions.access_checks import linear_address
from backends.unicorn_model.instructions.accesses import Access, accesses, accesses_memory
from backends.unicorn_model.instructions.decode import decode

OPERANDS = bytes.fromhex("3503010000000200")
# Unicorn ends differently here, or does not say what it accesses.
NOT_COMPARED = {
    *(0xC8, 0xCA, 0xCB, 0xCF, 0xEA),  # ENTER has a test of its own; far transfers
    *(0x0F05, 0x0F07, 0x0F34, 0x0F35, 0x0FAA),  # SYSCALL SYSRET SYSENTER SYSEXIT RSM
}

GROUPS = {
    *(*range(0x80, 0x84), 0x8C, 0x8E, 0x8F, 0xC0, 0xC1, 0xC6, 0xC7, *range(0xD0, 0xD4)),
    *(0xF6, 0xF7, 0xFE, 0xFF, 0x0F00, 0x0F01, 0x0FBA, 0x0FC7),
}


def found(code: str, state: Registers | None = None) -> tuple[Access, ...]:
    instruction = decode(bytes.fromhex(code))
    assert instruction is not None
    return tuple(accesses(instruction, state or registers()))


def read(segment: str, offset: int, size: int, alignment: int | None = None) -> Access:
    return Access(segment, offset, size, alignment or size, writes=False)


def write(segment: str, offset: int, size: int, alignment: int | None = None) -> Access:
    return Access(segment, offset, size, alignment or size, writes=True)


def encodings() -> Iterator[bytes]:
    """Every opcode with a memory operand, with and without prefixes; and with all reg fields, where
    that makes a difference.
    """
    for escape, opcode in itertools.product((b"", b"\x0f"), range(256)):
        for prefix in (b"", b"\x66", b"\x67", b"\x64", b"\xf3"):
            yield prefix + escape + bytes((opcode, 0x03)) + OPERANDS
        if (opcode if not escape else 0x0F00 | opcode) in GROUPS:
            for operand in (*range(0x0B, 0x43, 8), 0x44, 0xC3, 0xD3, 0xF3):
                yield escape + bytes((opcode, operand)) + OPERANDS


def test_every_opcode_accesses_what_unicorn_accesses() -> None:
    processor, state = InstructionProcessor(), registers()
    compared = 0
    for code in encodings():
        instruction = decode(code)
        if instruction is None or instruction.opcode in NOT_COMPARED:
            continue
        try:
            expected = list(accesses(instruction, state))
        except NotModelled:
            assert accesses_memory(instruction)
            continue
        if not processor.run(code):
            continue
        linear = {
            access: range(start := linear_address(access, state), start + access.size)
            for access in expected
        }
        touched = {address for part in linear.values() for address in part}
        written = {address for access in expected if access.writes for address in linear[access]}
        assert instruction.length == processor.length, code.hex()
        assert touched == processor.read | processor.written, code.hex()
        assert written == processor.written, code.hex()
        assert accesses_memory(instruction) or not expected, code.hex()
        compared += 1
    assert compared > 1500


# At the state of `registers`: EBX = 0x21110, ESP = 0x22220, EBP = 0x23330, ESI = 0x24440, EDI =
# 0x25550, EAX = 0x21, ECX = 3, EDX = 0x55.
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("8b03", [read("ds", 0x21110, 4)]),
        ("668903", [write("ds", 0x21110, 2)]),
        ("8803", [write("ds", 0x21110, 1)]),
        ("0103", [write("ds", 0x21110, 4)]),
        ("8b4500", [read("ss", 0x23330, 4)]),
        ("3e8b4500", [read("ds", 0x23330, 4)]),
        ("64a110000000", [read("fs", 0x10, 4)]),
        ("8b449dfc", [read("ss", 0x23330 + 4 * 0x21110 - 4, 4)]),
        ("8b049d10000000", [read("ds", 4 * 0x21110 + 0x10, 4)]),
        ("8b442cf0", [read("ss", 0x22220 + 0x23330 - 0x10, 4)]),
        ("678b02", [read("ss", 0x3330 + 0x4440, 4)]),
        ("67668b40ff", [read("ds", 0x1110 + 0x4440 - 1, 2)]),
        ("8b80ffffffff", [read("ds", 0x20, 4)]),
        ("8d03", []),
        ("0f0138", []),
        ("90", []),
        ("8ed8", []),
        ("0fb203", [read("ds", 0x21110, 6, 4)]),
        ("66c503", [read("ds", 0x21110, 4, 2)]),
        ("6203", [read("ds", 0x21110, 8, 4)]),
        ("0fc70b", [write("ds", 0x21110, 8)]),
        ("0f0103", [write("ds", 0x21110, 6, 4)]),
        ("50", [write("ss", 0x2221C, 4)]),
        ("6650", [write("ss", 0x2221E, 2)]),
        ("58", [read("ss", 0x22220, 4)]),
        ("e800000000", [write("ss", 0x2221C, 4)]),
        ("ffd0", [write("ss", 0x2221C, 4)]),
        ("ff13", [read("ds", 0x21110, 4), write("ss", 0x2221C, 4)]),
        ("ff33", [read("ds", 0x21110, 4), write("ss", 0x2221C, 4)]),
        ("ff742404", [read("ss", 0x22224, 4), write("ss", 0x2221C, 4)]),
        ("8f03", [read("ss", 0x22220, 4), write("ds", 0x21110, 4)]),
        ("8f0424", [read("ss", 0x22220, 4), write("ss", 0x22224, 4)]),
        ("8fc0", [read("ss", 0x22220, 4)]),
        ("60", [write("ss", 0x22220 - 4 * index, 4) for index in range(1, 9)]),
        ("61", [read("ss", 0x22220 + 4 * index, 4) for index in range(8) if index != 3]),
        ("c9", [read("ss", 0x23330, 4)]),
        ("cf", [read("ss", 0x22220 + 4 * index, 4) for index in range(3)]),
        ("cb", [read("ss", 0x22220, 4), read("ss", 0x22224, 4)]),
        ("c8100000", [write("ss", 0x2221C, 4), write("ss", 0x2220C, 1)]),
        (
            "c8100002",
            [
                write("ss", 0x2221C, 4),
                read("ss", 0x2332C, 4),
                write("ss", 0x22218, 4),
                write("ss", 0x22214, 4),
                write("ss", 0x22204, 1),
            ],
        ),
        ("a5", [read("ds", 0x24440, 4), write("es", 0x25550, 4)]),
        ("65a5", [read("gs", 0x24440, 4), write("es", 0x25550, 4)]),
        ("66f3ab", [write("es", 0x25550, 2)]),
        ("67a4", [read("ds", 0x4440, 1), write("es", 0x5550, 1)]),
        ("a6", [read("ds", 0x24440, 1), read("es", 0x25550, 1)]),
        ("6d", [write("es", 0x25550, 4)]),
        ("d7", [read("ds", 0x21131, 1)]),
        ("0fa303", [read("ds", 0x21114, 4)]),  # bit 33
        ("262e363e8b03", [read("ds", 0x21110, 4)]),
        ("3e362e268b03", [read("es", 0x21110, 4)]),
    ],
)
def test_accesses(code: str, expected: list[Access]) -> None:
    assert found(code) == tuple(expected)


@pytest.mark.parametrize(
    ("code", "position", "offset", "size"),
    [
        ("0fa303", 31, 0, 4),
        ("0fa303", 32, 4, 4),
        ("0fab03", 100, 12, 4),
        ("0fb303", 0xFFFFFFFF, -4, 4),
        ("0fbb03", 0xFFFFFFE0, -4, 4),
        ("0fbb03", 0xFFFFFFDF, -8, 4),
        ("660fab03", 0x1FFFF, -2, 2),
        ("660fab03", 16, 2, 2),
    ],
)
def test_bit_strings(code: str, position: int, offset: int, size: int) -> None:
    (access,) = found(code, registers(eax=position))
    assert (access.offset, access.size) == (0x21110 + offset, size)
    processor = InstructionProcessor()
    assert processor.run(bytes.fromhex(code), eax=position)
    assert processor.read == set(range(access.offset, access.offset + size))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_repeated_instruction_without_iterations_accesses_nothing(count: int) -> None:
    assert bool(found("f3ab", registers(ecx=count))) is bool(count)
    assert bool(found("f2ae", registers(ecx=count))) is bool(count)
    assert bool(found("67f3ab", registers(ecx=0x10000 | count))) is bool(count)
    assert found("ab", registers(ecx=count))


def test_a_nested_task_returns_without_its_stack() -> None:
    assert found("cf", registers(eflags=NT | 2)) == ()


def test_a_16_bit_stack_goes_round() -> None:
    state = registers()
    segment = state.ss
    assert segment.descriptor is not None
    small = type(segment)(
        segment.selector, type(segment.descriptor)(0, 0xFFFF, 0x13, 0, True, False)
    )
    assert found("50", registers(ss=small, esp=0x10000)) == (write("ss", 0xFFFC, 4),)
    assert found("58", registers(ss=small, esp=0x20004)) == (read("ss", 4, 4),)
    pop = found("8f0424", registers(ss=small, esp=0x5FFFC))
    assert pop == (read("ss", 0xFFFC, 4), write("ss", 0x50000, 4))


@pytest.mark.parametrize("segment", ["fs", "ss"])
def test_a_segments_base_counts(segment: str) -> None:
    base = {"fs": FS_BASE, "ss": SS_BASE}[segment]
    assert linear_address(read(segment, 0x10, 4), registers()) == base + 0x10
    assert linear_address(read(segment, -base & 0xFFFFFFFF, 4), registers()) == 0


@pytest.mark.parametrize(("code", "is_over"), [("f3ab", False), ("67f3ab", True)])
def test_whether_a_repeated_instruction_is_over(code: str, is_over: bool) -> None:
    """By the part of the count that the address size takes."""
    instruction = decode(bytes.fromhex(code))
    assert instruction is not None
    assert instruction.is_repeated
    assert instruction.is_over(registers(ecx=1 << 16)) is is_over


@pytest.mark.parametrize(
    "code",
    [
        "d903",  # FLD
        "0f2803",  # MOVAPS
        "0fae03",  # FXSAVE
        "0ff7c1",  # MASKMOVQ
        "0f01c8",  # MONITOR
        "9a000000000800",  # CALL far
        "ff1b",
        "c5f92803",  # VEX
        "c5f928c1",
        "0f38f003",  # MOVBE
    ],
)
def test_what_is_not_known_is_refused(code: str) -> None:
    with pytest.raises(NotModelled, match="accesses"):
        found(code)
    instruction = decode(bytes.fromhex(code))
    assert instruction is not None and accesses_memory(instruction)


@pytest.mark.parametrize(
    ("code", "length"),
    [
        ("90ffffff", 1),
        ("2e2e2ec3", 4),
        ("262e363e646566c3", 8),
        ("8b", None),
        ("", None),
        ("2e2e2e", None),
        ("0f", None),
        ("0f0b", 2),
        ("8ef1", None),
        ("f1", 1),
        ("cd30", 2),
        ("2e" * 14 + "90", 15),
        ("2e" * 15 + "90", None),
        ("2e" * 9 + "c70300000000", 15),
        ("2e" * 10 + "c70300000000", None),
    ],
)
def test_lengths(code: str, length: int | None) -> None:
    instruction = decode(bytes.fromhex(code))
    assert (instruction and instruction.length) == length
