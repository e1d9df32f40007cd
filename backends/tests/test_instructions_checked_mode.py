"""When every instruction is looked at, and what is found then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from delivery_machine import AC, AM, DATA, FakeMachine

from backends.unicorn_model.delivery.descriptors import Descriptor
from backends.unicorn_model.delivery.machine import NotModelled, Registers, Segment
from backends.unicorn_model.instructions.checked_mode import CheckedMode
from backends.unicorn_model.instructions.decode import decode

FLAT = Descriptor(0, 0xFFFFFFFF, DATA | 1, 0, present=True, big=True)
MOV_EAX_FROM_FS_EBP, MOV_TO_SS_EBP = b"\x64\x8b\x45\x00", b"\x89\x45\x00"


@pytest.fixture
def flat() -> Registers:
    machine = FakeMachine()
    machine.set(fs=Segment(0x10, FLAT), gs=Segment(0x10, FLAT))
    return machine.registers


def with_segment(registers: Registers, name: str, **changes: Any) -> Registers:
    segment = Segment(0x48, replace(FLAT, **changes))
    return replace(registers, **{name: segment})  # type: ignore[arg-type]


def test_it_is_off_while_nothing_can_fault(flat: Registers) -> None:
    mode = CheckedMode()
    assert not mode.update(flat) and not mode.on
    assert not mode.update(with_segment(flat, "fs", base=0x1234)) and not mode.on
    assert not mode.update(replace(flat, eflags=2 | AC)) and not mode.on


@pytest.mark.parametrize("name", ["ss", "ds", "es"])
@pytest.mark.parametrize("change", [{"limit": 0xFFFFEFFF}, {"kind": 0x10}, {"kind": 0x16}])
def test_a_segment_turns_it_on_and_off(flat: Registers, name: str, change: dict[str, int]) -> None:
    mode = CheckedMode()
    assert mode.update(with_segment(flat, name, **change)) and mode.on
    assert not mode.update(with_segment(flat, name, **change)) and mode.on
    assert mode.update(flat) and not mode.on


def test_a_null_segment_turns_it_on(flat: Registers) -> None:
    mode = CheckedMode()
    assert mode.update(replace(flat, ds=Segment(0, None))) and mode.on


def test_segments_that_need_a_prefix_do_not_turn_it_on(flat: Registers) -> None:
    mode = CheckedMode()
    assert not mode.update(replace(flat, fs=Segment(0, None), gs=Segment(0, None))) and not mode.on
    for code, name in (("648b4500", "fs"), ("65a4", "gs"), ("2ea4", None), ("8b4500", None)):
        found = decode(bytes.fromhex(code))
        assert found is not None
        assert CheckedMode.rarely_used(found) == name


def test_the_alignment_mask_turns_it_on_at_every_level(flat: Registers) -> None:
    mode = CheckedMode()
    assert mode.update(replace(flat, cr0=flat.cr0 | AM)) and mode.on


@pytest.mark.parametrize("change", [{"big": False}, {"limit": 0xFFFFF}])
def test_other_code_segments_are_refused(flat: Registers, change: dict[str, Any]) -> None:
    assert flat.cs.descriptor is not None
    code = Segment(0x08, replace(flat.cs.descriptor, **change))
    with pytest.raises(NotModelled, match="CS="):
        CheckedMode().update(replace(flat, cs=code))
    with pytest.raises(NotModelled, match="CS="):
        CheckedMode().update(replace(flat, cs=Segment(0, None)))


def test_past_a_segments_limit(flat: Registers) -> None:
    for ebp, inside in ((0, True), (0xFFC, True), (0xFFD, False), (0xFFFFFFFF, False)):
        state = with_segment(replace(flat, ebp=ebp), "fs", limit=0xFFF)
        fault = CheckedMode.fault_before(MOV_EAX_FROM_FS_EBP, state)
        assert (fault is None) is inside
        if fault is not None:
            assert (fault.vector, fault.error_code) == (13, 0)
        assert CheckedMode.fault_before(MOV_TO_SS_EBP, state) is None


def test_past_the_stacks_limit(flat: Registers) -> None:
    state = with_segment(replace(flat, ebp=0x1000, esp=0x1004), "ss", limit=0xFFF)
    for code in (MOV_TO_SS_EBP, b"\x50", b"\xc3"):
        fault = CheckedMode.fault_before(code, state)
        assert fault is not None and (fault.vector, fault.error_code) == (12, 0)
    assert CheckedMode.fault_before(b"\x90", state) is None
    assert CheckedMode.fault_before(b"\x50", replace(state, esp=0x1000)) is None


def test_a_misaligned_access_of_ring_3() -> None:
    machine = FakeMachine()
    machine.enter_ring(3)
    machine.set(cr0=1 | AM, eflags=2 | AC)
    mov = b"\xa1\x01\x90\x00\x00"
    fault = CheckedMode.fault_before(mov, machine.registers)
    assert fault is not None and (fault.vector, fault.error_code) == (17, 0)
    machine.set(eflags=2)
    assert CheckedMode.fault_before(mov, machine.registers) is None


@pytest.mark.parametrize("concerned", [False, True])
def test_what_it_concerns(flat: Registers, concerned: bool) -> None:
    nothing = {name: Segment(0, None) for name in ("ss", "ds", "es", "fs", "gs")}
    state = replace(flat, **nothing)  # type: ignore[arg-type]
    idle = ("90", "40", "eb00", "0f0b", "8d03", "8ed8", "0f22c0", "")
    for code in ("50", "8b03", "c3", "a4", "ffd0", "0fb203", "d7") if concerned else idle:
        raw = bytes.fromhex(code)
        assert CheckedMode.concerns(raw) is concerned
        assert (CheckedMode.fault_before(raw, state) is not None) is concerned


def test_what_is_not_known_is_its_concern(flat: Registers) -> None:
    load_of_fpu = b"\xd9\x03"
    assert CheckedMode.concerns(load_of_fpu)
    with pytest.raises(NotModelled, match="fld"):
        CheckedMode.fault_before(load_of_fpu, flat)
