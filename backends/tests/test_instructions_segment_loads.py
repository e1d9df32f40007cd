"""Loads of segment registers, against a second statement of the rules, and against Unicorn."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from delivery_machine import (
    ACCESSED,
    CODE,
    DATA,
    EIP,
    GDT,
    GDT_LIMIT,
    KERNEL_DATA,
    LOCAL,
    LOCAL_DATA,
    LOCAL_SELECTOR,
    RF,
    SPARE,
    USER_DATA,
    FakeMachine,
    descriptor,
)

from backends.unicorn_model.delivery.machine import Mode, PageFault, Segment
from backends.unicorn_model.delivery.transaction import Transaction
from backends.unicorn_model.delivery.vectors import Fault
from backends.unicorn_model.instructions.decode import Instruction, decode
from backends.unicorn_model.instructions.segment_loads import (
    is_segment_load,
    load,
    load_into,
    loads_stack_segment,
    register_moved,
)

MEMORY_OPERAND = 0x8000  # what [EBX] is


def instruction(code: str) -> Instruction:
    found = decode(bytes.fromhex(code))
    assert found is not None
    return found


@pytest.fixture
def machine() -> FakeMachine:
    machine = FakeMachine()
    machine.set(ebx=MEMORY_OPERAND)
    return machine


def expected_fault(
    target: str, cpl: int, rpl: int, kind: int, dpl: int, present: bool
) -> int | None:
    """The vector, from the lists of exceptions of MOV, for a selector within the table."""
    segment_of_memory, is_code, second_bit = kind & 0x10, kind & 8, kind & 2
    if target == "ss":
        if rpl != cpl or dpl != cpl or not segment_of_memory or is_code or not second_bit:
            return 13
        return None if present else 12
    if not segment_of_memory or (is_code and not second_bit):
        return 13
    conforming = is_code and kind & 4
    if not conforming and (dpl < cpl or dpl < rpl):
        return 13
    return None if present else 11


@pytest.mark.parametrize("cpl", [0, 1, 3])
@pytest.mark.parametrize("target", ["ss", "ds", "fs"])
def test_all_descriptors(target: str, cpl: int) -> None:
    machine = FakeMachine()
    if cpl:
        machine.enter_ring(cpl)
    present: bool
    for kind, dpl, rpl, present in itertools.product(range(32), range(4), range(4), (False, True)):
        machine.set_descriptor(SPARE, descriptor(kind, base=0x1234, dpl=dpl, present=present))
        selector = SPARE & ~3 | rpl
        expected = expected_fault(target, cpl, rpl, kind, dpl, present)
        transaction = Transaction(machine)
        if expected is not None:
            with pytest.raises(Fault) as raised:
                load_into(transaction, target, selector)
            assert (raised.value.vector, raised.value.error_code) == (expected, SPARE & ~7)
            continue
        loaded = load_into(transaction, target, selector)
        held = machine.descriptor(SPARE)
        assert loaded == Segment(selector, replace(held, kind=kind | ACCESSED))
        transaction.commit()
        assert machine.descriptor(SPARE).kind == kind | ACCESSED


@pytest.mark.parametrize("rpl", range(4))
def test_null_selectors(machine: FakeMachine, rpl: int) -> None:
    assert load_into(Transaction(machine), "gs", rpl) == Segment(rpl, None)
    with pytest.raises(Fault) as raised:
        load_into(Transaction(machine), "ss", rpl)
    assert (raised.value.vector, raised.value.error_code) == (13, 0)


@pytest.mark.parametrize("target", ["ss", "es"])
@pytest.mark.parametrize("selector", [GDT_LIMIT + 1, 0xFFF8, LOCAL_DATA, LOCAL_DATA | 0x18])
def test_beyond_the_table(machine: FakeMachine, target: str, selector: int) -> None:
    if selector == LOCAL_DATA | 0x18:
        machine.set(ldtr=machine.segment(LOCAL_SELECTOR))
    with pytest.raises(Fault) as raised:
        load_into(Transaction(machine), target, selector)
    assert (raised.value.vector, raised.value.error_code) == (13, selector)


def test_a_table_that_ends_inside_a_descriptor(machine: FakeMachine) -> None:
    limit = (SPARE & ~7) + 6
    machine.set_descriptor(SPARE, descriptor(DATA))
    machine.set(gdtr=replace(machine.registers.gdtr, limit=limit))
    with pytest.raises(Fault):
        load_into(Transaction(machine), "es", SPARE)
    machine.set(gdtr=replace(machine.registers.gdtr, limit=limit + 1))
    assert load_into(Transaction(machine), "es", SPARE).descriptor is not None


def test_a_local_descriptor(machine: FakeMachine) -> None:
    machine.set(ldtr=machine.segment(LOCAL_SELECTOR))
    loaded = load_into(Transaction(machine), "ds", LOCAL_DATA)
    assert loaded.descriptor == replace(machine.descriptor(LOCAL_DATA), kind=DATA | ACCESSED)
    assert machine.descriptor(LOCAL_DATA).kind == DATA  # not committed


def test_page_faults_of_the_table_come_through(machine: FakeMachine) -> None:
    machine.set(ldtr=machine.segment(LOCAL_SELECTOR))
    machine.read_only.add(LOCAL)
    with pytest.raises(PageFault) as raised:
        load_into(Transaction(machine), "ds", LOCAL_DATA)  # the accessed bit cannot be set
    assert (raised.value.linear, raised.value.error_code) == (LOCAL + 8 + 5, 3)
    machine.absent.add((GDT, None))
    with pytest.raises(PageFault) as raised:
        load_into(Transaction(machine), "ds", KERNEL_DATA)
    assert (raised.value.linear, raised.value.error_code) == (GDT + KERNEL_DATA, 0)


def test_an_accessed_descriptor_is_not_written(machine: FakeMachine) -> None:
    machine.set_descriptor(SPARE, descriptor(DATA | ACCESSED))
    machine.read_only.add(GDT)
    transaction = Transaction(machine)
    load_into(transaction, "ds", SPARE)
    transaction.commit()


@pytest.mark.parametrize(
    ("code", "target", "length", "popped", "general"),
    [
        ("8ed9", "ds", 2, 0, None),  # MOV DS, CX
        ("8ee1", "fs", 2, 0, None),
        ("8ed1", "ss", 2, 0, None),
        ("668ec1", "es", 3, 0, None),
        ("8e2b", "gs", 2, 0, None),  # MOV GS, [EBX]
        ("07", "es", 1, 4, None),
        ("17", "ss", 1, 4, None),
        ("1f", "ds", 1, 4, None),
        ("0fa1", "fs", 2, 4, None),
        ("660fa9", "gs", 3, 2, None),
        ("c413", "es", 2, 0, ("edx", 0xAABBCCDD)),
        ("c513", "ds", 2, 0, ("edx", 0xAABBCCDD)),
        ("0fb223", "ss", 3, 0, ("esp", 0xAABBCCDD)),
        ("0fb413", "fs", 3, 0, ("edx", 0xAABBCCDD)),
        ("660fb513", "gs", 4, 0, ("edx", 0x1111CCDD)),
    ],
)
def test_instructions(
    machine: FakeMachine,
    code: str,
    target: str,
    length: int,
    popped: int,
    general: tuple[str, int] | None,
) -> None:
    machine.set_descriptor(SPARE, descriptor(DATA, base=0x500, limit=0x3FF))
    selector = SPARE.to_bytes(2, "little")
    stack = machine.registers.esp
    machine.set(ecx=0x77770000 | SPARE, edx=0x11112222, eflags=2 | RF)
    if popped:
        machine.put(stack, selector + b"\xff\xff"[: popped - 2])
    elif code.startswith("66") and general:
        machine.put(MEMORY_OPERAND, b"\xdd\xcc" + selector)
    else:
        machine.put(MEMORY_OPERAND, (b"\xdd\xcc\xbb\xaa" if general else b"") + selector)
    before = machine.registers
    load(machine, instruction(code))
    held = Segment(SPARE, machine.descriptor(SPARE))
    assert held.descriptor is not None and held.descriptor.kind == DATA | ACCESSED
    changes: dict[str, object] = {target: held, "eip": EIP + length, "eflags": 2}
    if popped:
        changes["esp"] = stack + popped
    if general:
        changes[general[0]] = general[1]
    assert machine.registers == replace(before, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", ["8ed9", "17", "c413"])
def test_a_fault_changes_nothing(machine: FakeMachine, code: str) -> None:
    machine.set(ecx=GDT_LIMIT + 1)
    machine.put(machine.registers.esp, b"\xf8\xff")
    machine.put(MEMORY_OPERAND, b"\0\0\0\0\xf8\xff")
    before = machine.snapshot()
    with pytest.raises(Fault):
        load(machine, instruction(code))
    assert machine.snapshot() == before


def test_the_operand_is_checked_like_any_other(machine: FakeMachine) -> None:
    small = Segment(KERNEL_DATA, replace(machine.descriptor(KERNEL_DATA), limit=MEMORY_OPERAND))
    machine.set(ds=small)
    with pytest.raises(Fault) as raised:
        load(machine, instruction("8e2b"))
    assert (raised.value.vector, raised.value.error_code) == (13, 0)
    machine.set(ss=replace(small, descriptor=replace(machine.descriptor(KERNEL_DATA), limit=8)))
    with pytest.raises(Fault) as raised:
        load(machine, instruction("1f"))
    assert (raised.value.vector, raised.value.error_code) == (12, 0)


def test_the_operand_is_read_at_the_cpl(machine: FakeMachine) -> None:
    machine.enter_ring(3)
    machine.put(MEMORY_OPERAND, USER_DATA.to_bytes(2, "little"))
    load(machine, instruction("8e2b"))
    assert machine.modes[MEMORY_OPERAND] is Mode.USER
    machine.supervisor.add(MEMORY_OPERAND)
    with pytest.raises(PageFault) as raised:
        load(machine, instruction("8e2b"))
    assert (raised.value.linear, raised.value.error_code) == (MEMORY_OPERAND, 5)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("8ed1", True), ("17", True), ("8ed9", False), ("1f", False), ("0fb211", False)],
    ids=["mov to ss", "pop to ss", "mov to ds", "pop to ds", "lss"],
)
def test_which_hold_interrupts_and_traps_back(code: str, expected: bool) -> None:
    assert loads_stack_segment(instruction(code)) is expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("8ed9", ("ds", "ecx")),
        ("8ed2", ("ss", "edx")),
        ("8e1b", None),  # from memory
        ("8ecb", None),  # to CS
        ("1f", None),
        ("8cd8", None),
    ],
)
def test_what_mov_loads_from_a_register(code: str, expected: tuple[str, str] | None) -> None:
    assert register_moved(instruction(code)) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("8ed8", True),
        ("8ec8", False),  # MOV to CS
        ("8cd8", False),
        ("1f", True),
        ("1e", False),
        ("c503", True),
        ("c5f877", False),  # VEX
        ("0fb203", True),
        ("0fb303", False),
        ("0fa1", True),
        ("0fa0", False),
        ("8b1f", False),
    ],
)
def test_which_instructions_load_segments(code: str, expected: bool) -> None:
    assert is_segment_load(instruction(code)) is expected
    if not expected:
        with pytest.raises(ValueError, match="loads no segment register"):
            load(FakeMachine(), instruction(code))


def test_a_conforming_segment_may_be_more_privileged() -> None:
    machine = FakeMachine()
    machine.enter_ring(3)
    machine.set_descriptor(SPARE, descriptor(CODE | 4))
    assert load_into(Transaction(machine), "ds", SPARE | 3).descriptor is not None
