"""Error codes: of what the manual says, and of what Unicorn reports."""

from __future__ import annotations

import itertools

import pytest
from delivery_machine import (
    DATA,
    EIP,
    GDT,
    GDT_LIMIT,
    SPARE,
    USER_DATA,
    FakeMachine,
    descriptor,
)
from instruction_processor import InstructionProcessor

from backends.unicorn_model.delivery.machine import NotModelled
from backends.unicorn_model.delivery.vectors import Instruction as Interrupt
from backends.unicorn_model.delivery.vectors import ProcessorException, SoftwareInterrupt
from backends.unicorn_model.instructions.decode import Instruction, decode
from backends.unicorn_model.instructions.error_codes import (
    privilege_fault,
    reported,
    software_interrupt,
)

MOV_DS_CX, MOV_SS_CX = "8ed9", "8ed1"
BEYOND = GDT_LIMIT + 1


def instruction(code: str) -> Instruction:
    found = decode(bytes.fromhex(code))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("cd30", SoftwareInterrupt(0x30, EIP + 2)),
        ("cd03", SoftwareInterrupt(3, EIP + 2)),
        ("2ecd04", SoftwareInterrupt(4, EIP + 3)),
        ("cc", SoftwareInterrupt(3, EIP + 1, Interrupt.INT3)),
        ("ce", SoftwareInterrupt(4, EIP + 1, Interrupt.INTO)),
        ("f1", SoftwareInterrupt(1, EIP + 1, Interrupt.INT1)),
        ("0f0b", None),
        ("90", None),
        ("cf", None),
    ],
)
def test_software_interrupts(code: str, expected: SoftwareInterrupt | None) -> None:
    assert software_interrupt(instruction(code), EIP) == expected


@pytest.mark.parametrize("vector", [0, 1, 3, 4, 5, 6, 7, 16, 19])
def test_what_has_no_error_code_needs_no_rule(vector: int) -> None:
    assert reported(FakeMachine(), vector, instruction("90")) == ProcessorException(vector)
    assert reported(FakeMachine(), vector, None) == ProcessorException(vector)


@pytest.mark.parametrize("vector", [2, 15, 22, 31, 32, 255])
def test_what_is_no_exception_is_refused(vector: int) -> None:
    with pytest.raises(NotModelled, match=f"vector {vector},"):
        reported(FakeMachine(), vector, instruction("90"))


PRIVILEGED = {
    "f4": "HLT",
    "0f06": "CLTS",
    "0f08": "INVD",
    "0f09": "WBINVD",
    "0f20c0": "MOV EAX, CR0",
    "0f22d8": "MOV CR3, EAX",
    "0f21f8": "MOV EAX, DR7",
    "0f23f8": "MOV DR7, EAX",
    "0f30": "WRMSR",
    "0f32": "RDMSR",
    "0f35": "SYSEXIT",
    "0f00d0": "LLDT",
    "0f001b": "LTR",
    "0f0113": "LGDT",
    "0f011b": "LIDT",
    "0f01f0": "LMSW",
    "0f0133": "LMSW",
    "0f013b": "INVLPG",
    "0f01d1": "XSETBV",
}


@pytest.mark.parametrize("code", PRIVILEGED, ids=list(PRIVILEGED.values()))
def test_privileged_instructions(code: str) -> None:
    machine = FakeMachine()
    assert privilege_fault(instruction(code), machine.registers) is None
    for ring in (1, 3):
        machine.enter_ring(ring)
        fault = privilege_fault(instruction(code), machine.registers)
        assert fault is not None and (fault.vector, fault.error_code) == (13, 0)
        assert reported(machine, 13, instruction(code)) == ProcessorException(13, 0)


@pytest.mark.parametrize(
    "code", ["90", "0f0103", "0f01e0", "0f0003", "0f0023", "0fa2", "9c", "9d", "cd30", "0f01d0"]
)
def test_instructions_for_everybody(code: str) -> None:
    machine = FakeMachine()
    machine.enter_ring(3)
    assert privilege_fault(instruction(code), machine.registers) is None
    with pytest.raises(NotModelled, match="#GP"):
        reported(machine, 13, instruction(code))


@pytest.mark.parametrize("code", ["fa", "fb"])
@pytest.mark.parametrize("ring", [0, 1, 3])
@pytest.mark.parametrize("iopl", range(4))
def test_cli_and_sti_depend_on_iopl(code: str, ring: int, iopl: int) -> None:
    machine = FakeMachine()
    if ring:
        machine.enter_ring(ring)
    machine.set(eflags=2 | iopl << 12)
    assert (privilege_fault(instruction(code), machine.registers) is None) is (ring <= iopl)


@pytest.mark.parametrize("code", ["0f22e0", "0f30", "0f32", "0f31", "0f33", "0f01d1", "0f01f9"])
def test_what_refuses_values_has_error_code_0(code: str) -> None:
    assert reported(FakeMachine(), 13, instruction(code)) == ProcessorException(13, 0)
    with pytest.raises(NotModelled):
        reported(FakeMachine(), 12, instruction(code))


@pytest.mark.parametrize("code", ["f4", "0f013b", "fa"])
def test_unicorn_cannot_refuse_what_is_allowed(code: str) -> None:
    with pytest.raises(NotModelled, match=instruction(code).name):
        reported(FakeMachine(), 13, instruction(code))


def test_an_instruction_that_is_too_long() -> None:
    assert decode(b"\x2e" * 15 + b"\x90") is None
    assert reported(FakeMachine(), 13, None) == ProcessorException(13, 0)
    with pytest.raises(NotModelled, match="no instruction"):
        reported(FakeMachine(), 12, None)


def test_segment_loads() -> None:
    machine = FakeMachine()
    machine.set_descriptor(SPARE, descriptor(DATA, present=False))
    before = machine.snapshot()
    for code, selector, vector, error_code in (
        (MOV_DS_CX, BEYOND, 13, BEYOND),
        (MOV_DS_CX, SPARE, 11, SPARE),
        (MOV_SS_CX, SPARE, 12, SPARE),
        (MOV_SS_CX, 0, 13, 0),
        (MOV_SS_CX, USER_DATA, 13, USER_DATA & ~3),
    ):
        machine.set(ecx=selector)
        assert reported(machine, vector, instruction(code)) == ProcessorException(
            vector, error_code
        )
    assert machine.snapshot()[0] == before[0]


def test_a_page_fault_of_the_table_comes_first() -> None:
    machine = FakeMachine()
    machine.set(ecx=SPARE)
    machine.absent.add((GDT, None))
    assert reported(machine, 13, instruction(MOV_DS_CX)) == ProcessorException(14, 0, GDT + SPARE)


def test_a_load_that_the_manual_allows_is_refused() -> None:
    machine = FakeMachine()
    machine.set(ecx=0x10)
    with pytest.raises(NotModelled, match="mov"):
        reported(machine, 13, instruction(MOV_DS_CX))


@pytest.mark.parametrize("code", [MOV_DS_CX, MOV_SS_CX])
def test_unicorn_agrees_on_vectors_of_segment_loads(code: str) -> None:
    machine, processor = FakeMachine(), InstructionProcessor()
    refused = 0
    for kind, dpl, rpl in itertools.product((2, 9, 0x10, 0x12, 0x16, 0x18, 0x1A), (0, 3), (0, 3)):
        for present in (False, True):
            raw = descriptor(kind, dpl=dpl, present=present)
            machine.set_descriptor(SPARE, raw)
            processor.put(SPARE, raw)
            machine.set(ecx=SPARE | rpl)
            done = processor.run(bytes.fromhex(code), ecx=SPARE | rpl)
            if processor.vector is None:
                assert done
                continue
            event = reported(machine, processor.vector, instruction(code))
            assert event == ProcessorException(processor.vector, SPARE)
            refused += 1
    assert 0 < refused < 56
