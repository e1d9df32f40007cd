"""Tables 6-1, 6-4 and 6-5, stated a second time."""

from __future__ import annotations

import itertools

import pytest

from backends.unicorn_model.delivery.vectors import (
    EXCEPTIONS,
    Class,
    Combination,
    ExternalInterrupt,
    Instruction,
    Kind,
    ProcessorException,
    SoftwareInterrupt,
    class_of,
    combine,
    error_code_of,
    is_checked_for_privilege,
    is_external,
    sets_resume_flag,
)

FAULTS = {0, 5, 6, 7, 9, 10, 11, 12, 13, 14, 16, 17, 19, 20, 21}
ERROR_CODES = {8, 10, 11, 12, 13, 14, 17, 21}
CONTRIBUTORY = {0, 10, 11, 12, 13, 21}
PAGE_FAULTS = {14, 20}
RESERVED = {15, *range(22, 32)}
INSTRUCTIONS = [vector for vector in range(32) if vector not in RESERVED | {2}]


def exception(vector: int) -> ProcessorException:
    return ProcessorException(
        vector,
        0 if vector in ERROR_CODES else None,
        0x1000 if vector == 14 else None,
    )


def test_table_6_1_has_32_rows() -> None:
    assert len(EXCEPTIONS) == 32
    assert {v for v, row in enumerate(EXCEPTIONS) if row.kind is Kind.FAULT} == FAULTS
    assert {v for v, row in enumerate(EXCEPTIONS) if row.kind is Kind.TRAP} == {3, 4}
    assert {v for v, row in enumerate(EXCEPTIONS) if row.kind is Kind.FAULT_OR_TRAP} == {1}
    assert {v for v, row in enumerate(EXCEPTIONS) if row.kind is Kind.ABORT} == {8, 18}
    assert {v for v, row in enumerate(EXCEPTIONS) if row.kind is Kind.INTERRUPT} == {2}
    assert {v for v, row in enumerate(EXCEPTIONS) if row.kind is Kind.RESERVED} == RESERVED
    assert {v for v, row in enumerate(EXCEPTIONS) if row.error_code} == ERROR_CODES


@pytest.mark.parametrize("vector", INSTRUCTIONS)
def test_exceptions_have_the_class_of_table_6_4(vector: int) -> None:
    expected = Class.BENIGN
    if vector in CONTRIBUTORY:
        expected = Class.CONTRIBUTORY
    elif vector in PAGE_FAULTS:
        expected = Class.PAGE_FAULT
    elif vector == 8:
        expected = Class.DOUBLE_FAULT
    assert class_of(exception(vector)) is expected


@pytest.mark.parametrize("vector", range(256))
def test_interrupts_are_benign_and_push_no_error_code(vector: int) -> None:
    for event in (ExternalInterrupt(vector), SoftwareInterrupt(vector, 0)):
        assert class_of(event) is Class.BENIGN
        assert error_code_of(event) is None


def test_table_6_5() -> None:
    serial, double, shutdown = (
        Combination.SERIAL,
        Combination.DOUBLE_FAULT,
        Combination.SHUTDOWN,
    )
    seconds = (Class.BENIGN, Class.CONTRIBUTORY, Class.PAGE_FAULT)
    table = {
        Class.BENIGN: (serial, serial, serial),
        Class.CONTRIBUTORY: (serial, double, serial),
        Class.PAGE_FAULT: (serial, double, double),
        Class.DOUBLE_FAULT: (serial, shutdown, shutdown),
    }
    for first, row in table.items():
        assert tuple(combine(first, second) for second in seconds) == row
        with pytest.raises(ValueError):
            combine(first, Class.DOUBLE_FAULT)


def test_every_pair_of_vectors() -> None:
    for one, two in itertools.product(INSTRUCTIONS, INSTRUCTIONS):
        if two == 8:
            continue
        got = combine(class_of(exception(one)), class_of(exception(two)))
        severe = two in CONTRIBUTORY | PAGE_FAULTS
        if one == 8 and severe:
            expected = Combination.SHUTDOWN
        elif (one in CONTRIBUTORY and two in CONTRIBUTORY) or (one in PAGE_FAULTS and severe):
            expected = Combination.DOUBLE_FAULT
        else:
            expected = Combination.SERIAL
        assert got is expected, (one, two)


@pytest.mark.parametrize("vector", sorted(RESERVED | {2}))
def test_reserved_vectors_are_no_exceptions(vector: int) -> None:
    with pytest.raises(ValueError):
        ProcessorException(vector)


@pytest.mark.parametrize(
    ("vector", "error_code", "linear"),
    [(13, None, None), (6, 0, None), (14, 0, None), (13, 0, 0x1000)],
)
def test_an_exception_has_the_fields_of_its_vector(
    vector: int, error_code: int | None, linear: int | None
) -> None:
    with pytest.raises(ValueError):
        ProcessorException(vector, error_code, linear)


@pytest.mark.parametrize("vector", INSTRUCTIONS)
def test_faults_save_a_set_resume_flag(vector: int) -> None:
    assert sets_resume_flag(exception(vector)) is (vector in FAULTS)


def test_mid_string_saves_a_set_resume_flag() -> None:
    assert sets_resume_flag(ExternalInterrupt(0x20, mid_string=True))
    assert sets_resume_flag(ProcessorException(1, mid_string=True))
    assert not sets_resume_flag(ExternalInterrupt(0x20))
    assert not sets_resume_flag(SoftwareInterrupt(13, 0))


def test_only_int_int3_and_into_are_checked_and_not_external() -> None:
    for instruction in Instruction:
        event = SoftwareInterrupt(3, 0, instruction)
        assert is_checked_for_privilege(event) is (instruction is not Instruction.INT1)
        assert is_external(event) is (instruction is Instruction.INT1)
    for other in (ExternalInterrupt(3), ProcessorException(3)):
        assert is_external(other)
        assert not is_checked_for_privilege(other)
