"""The computations: every instruction's result and flags, and where single steps come."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conformance.case.strategies_tasks import STEPS_OF_ITERATION
from conformance.observe.observation import fletcher
from conformance.oracle import computations
from conformance.oracle.computations import INTERRUPT_FLAG, TRAP_FLAG, checksum, computed, steps
from conformance.protocol import PROTOCOL

KINDS = tuple(PROTOCOL.enums["compute_kind"].values())
SCRATCH = 0xC012C288
WORDS = st.integers(0, 0xFFFFFFFF)


def all_steps(kind, iterations, task=0):
    return list(steps(kind, task, iterations, SCRATCH, lambda: True))


def registers_of(kind, task=0, iterations=1):
    return computations._begin(kind, task, iterations, TRAP_FLAG, SCRATCH)


@given(st.lists(WORDS, min_size=1, max_size=9))
def test_the_checksum_is_that_of_memory(words):
    assert checksum(*words) == fletcher(struct.pack(f"<{len(words)}I", *words))


def test_registers_begin_with_patterns():
    first = registers_of("arithmetic", 0, 5)
    assert (first.eax, first.ecx, first.ebx, first.edx) == (0x9E3779B1, 5, 0x2423441C, 0xAA0F0E87)
    assert first.ebp == (0x9E3779B1 + 5 * 0x85EBCA6B) % 2**32
    string = registers_of("string", 2, 9)
    assert (string.ecx, string.ebp, string.edi) == (9, 9, SCRATCH)
    assert string.eax == 3 * 0x9E3779B1 % 2**32


def signed(word):
    return word - (word >> 31 << 32)


def flags_of(result, unsigned, whole, nibble):
    """The status flags by their definitions (SDM vol. 1, 3.4.3.1)."""
    names = {
        1 << 0: unsigned,
        1 << 2: bin(result & 0xFF).count("1") % 2 == 0,
        1 << 4: nibble,
        1 << 6: result == 0,
        1 << 7: signed(result) < 0,
        1 << 11: signed(result) != whole,
    }
    return sum(flag for flag, value in names.items() if value)


@given(WORDS, WORDS, st.integers(0, 1))
@example(0x7FFFFFFF, 0, 1)
@example(0xFFFFFFFF, 0, 1)
@example(0x80000000, 0x80000000, 0)
@example(0x0000000F, 0, 1)
def test_the_flags_of_adding(left, right, carry):
    registers = registers_of("arithmetic")
    result = computations._add(registers, left, right, carry)
    assert result == (left + right + carry) % 2**32
    assert registers.flags == flags_of(
        result,
        left + right + carry >= 2**32,
        signed(left) + signed(right) + carry,
        left % 16 + right % 16 + carry >= 16,
    )


@given(WORDS, WORDS, st.integers(0, 1))
@example(0x80000000, 1, 0)
@example(0, 0, 1)
@example(5, 5, 0)
def test_the_flags_of_subtracting(left, right, borrow):
    registers = registers_of("arithmetic")
    result = computations._subtract(registers, left, right, borrow)
    assert result == (left - right - borrow) % 2**32
    assert registers.flags == flags_of(
        result,
        left < right + borrow,
        signed(left) - signed(right) - borrow,
        left % 16 < right % 16 + borrow,
    )


@given(WORDS, st.sampled_from((0, 0x8D5)))
def test_the_flags_of_rotating(value, before):
    """CF and OF; the others stay."""
    registers = registers_of("arithmetic")
    registers.flags = before
    result = computations._rotate(registers, value)
    assert result == int(f"{value:032b}"[1:] + f"{value:032b}"[0], 2)
    carry = value >> 31
    assert registers.flags & ~0x801 == before & ~0x801
    assert registers.flags & 1 == carry
    assert registers.flags >> 11 & 1 == (result >> 31) ^ carry


def test_counting_down_keeps_the_carry():
    for carry in (0, 1):
        registers = registers_of("flags", iterations=2)
        registers.flags = carry
        assert list(computations._count_down(registers, "ecx", 6)) == ["6", "0"]
        assert registers.flags == carry
        assert list(computations._count_down(registers, "ecx", 6)) == ["6", "end_0"]
        assert registers.flags == carry | 1 << 6 | 1 << 2


PLACES = {
    "arithmetic": ["1", "2", "3", "4", "5", "6", "7"],
    "string": ["1", "1", "1", "2", "3", "4", "5"],
    "stack_segment": ["1", "3", "4"],
    "flags": ["1", "2", "3", "4", "5", "6"],
    "interrupt": ["2", "3"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_where_steps_come(kind):
    iteration = PLACES[kind]
    assert [step.next for step in all_steps(kind, 1)] == [*iteration, "end_0", "end_1", "end_2"]
    assert [step.next for step in all_steps(kind, 2)] == [
        *(*iteration, "0"),
        *(*iteration, "end_0"),
        *("end_1", "end_2"),
    ]
    assert len(iteration) + 1 == STEPS_OF_ITERATION[kind]


def test_steps_that_nobody_looks_at_are_not_summed_up():
    answers = iter([False, True, False, False, False])
    looked = list(steps("interrupt", 0, 1, SCRATCH, lambda: next(answers)))
    assert [step and step.next for step in looked] == [None, "3", None, None, None]


@pytest.mark.parametrize("kind", KINDS)
@given(iterations=st.integers(1, 20), task=st.integers(0, 1024))
@settings(max_examples=25)
def test_a_computation_ends_like_its_last_step(kind, iterations, task):
    """With flags and without, all at once and one by one: the last step has no status flag set."""
    registers = registers_of(kind, task, iterations)
    for _ in computations._iterations(kind, registers):
        pass
    assert computed(kind, task, iterations, TRAP_FLAG, SCRATCH) == checksum(*registers.words())
    last = all_steps(kind, iterations, task)[-1]
    assert last.registers == checksum(*registers.words(), 0)
    assert (registers.ebp if kind == "string" else registers.ecx) == 0


def test_what_is_enabled_shows_in_the_flags_only():
    for kind in KINDS:
        results = {computed(kind, 1, 3, each, SCRATCH) for each in (0, TRAP_FLAG, INTERRUPT_FLAG)}
        assert len(results) == (3 if kind == "flags" else 1)


def test_one_iteration_by_hand():
    """`flags`, task 0: EDX is the flags that were pushed, EAX is EAX + EBX, ECX is 0."""
    first = registers_of("flags")
    total = (first.eax + first.ebx) % 2**32
    words = (total, 0, TRAP_FLAG | 2, first.ebx, first.ebp, first.esi, first.edi)
    assert computed("flags", 0, 1, TRAP_FLAG, SCRATCH) == checksum(*words)
    # `string`: EDI is back where it was.
    first = registers_of("string")
    words = (total, 0, first.edx, first.ebx, 0, first.esi, SCRATCH)
    assert computed("string", 0, 1, 0, SCRATCH) == checksum(*words)
    first = registers_of("stack_segment")
    words = (total, 0, 0x10, first.ebx, first.ebp, first.esi, first.edi)
    assert computed("stack_segment", 0, 1, 0, SCRATCH) == checksum(*words)
