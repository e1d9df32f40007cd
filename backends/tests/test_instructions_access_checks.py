"""Limits, types and alignment, against a statement of them byte by byte."""

from __future__ import annotations

from dataclasses import replace

import pytest
from delivery_machine import AC, AM, CODE, DATA, FakeMachine
from hypothesis import given
from hypothesis import strategies as st

from backends.unicorn_model.delivery.descriptors import Descriptor
from backends.unicorn_model.delivery.machine import Registers, Segment
from backends.unicorn_model.instructions.access_checks import (
    access_fault,
    first_fault,
    is_unrestricted,
    linear_address,
)
from backends.unicorn_model.instructions.accesses import Access

EXPAND_DOWN, WRITABLE = 4, 2
FLAT = Descriptor(0, 0xFFFFFFFF, DATA | 1, 0, present=True, big=True)
TOP = 0xFFFFFFFF
EDGES = (0, 1, 0xFFF, 0x1000, 0xFFFE, 0xFFFF, 0x10000, 0xFFFFF, TOP - 8, TOP - 1, TOP)


def numbers() -> st.SearchStrategy[int]:
    edges = st.builds(
        lambda edge, distance: max(0, min(TOP, edge + distance)),
        st.sampled_from(EDGES),
        st.integers(-9, 9),
    )
    return edges | st.integers(0, TOP)


def state(segment: Descriptor | None, name: str = "ds", **changes: object) -> Registers:
    registers = FakeMachine().registers
    return replace(registers, **{name: Segment(0x10, segment)}, **changes)  # type: ignore[arg-type]


def lies_inside(segment: Descriptor, offset: int) -> bool:
    """5.3 of one byte, whose offset does not go round at 4 GiB."""
    if segment.is_expand_down:
        return segment.limit < offset <= (TOP if segment.big else 0xFFFF)
    return offset <= segment.limit


@given(
    limit=numbers(),
    near=st.integers(-9, 9) | st.none(),
    offset=numbers(),
    size=st.sampled_from([1, 2, 4, 6, 8]),
    expand_down=st.booleans(),
    big=st.booleans(),
    name=st.sampled_from(["ss", "ds", "es", "fs", "gs"]),
    writes=st.booleans(),
)
def test_every_byte_is_inside(
    limit: int,
    near: int | None,
    offset: int,
    size: int,
    expand_down: bool,
    big: bool,
    name: str,
    writes: bool,
) -> None:
    if near is not None:
        offset = max(0, min(TOP, limit + near))
    kind = DATA | 1 | (EXPAND_DOWN if expand_down else 0)
    segment = Descriptor(0x1000, limit, kind, 0, present=True, big=big)
    fault = access_fault(Access(name, offset, size, size, writes), state(segment, name))
    inside = all(lies_inside(segment, offset + index) for index in range(size))
    # The manual leaves open what goes round at the top of a segment of 4 GiB.
    if inside or (not expand_down and limit == TOP):
        assert fault is None
    else:
        assert fault is not None
        assert (fault.vector, fault.error_code) == (12 if name == "ss" else 13, 0)


@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize("kind", range(0x10, 0x20))
def test_types(kind: int, writes: bool) -> None:
    segment = replace(FLAT, kind=kind)
    is_code, second_bit = kind & 8, kind & 2  # writable, or readable if it is code
    allowed = bool(second_bit) if is_code or writes else True
    if is_code and writes:
        allowed = False
    if kind & 0xC == EXPAND_DOWN:
        segment = replace(segment, limit=0)
    access = Access("ds", 0x100, 4, 4, writes)
    assert (access_fault(access, state(segment)) is None) is allowed


@pytest.mark.parametrize(("name", "vector"), [("ds", 13), ("es", 13), ("gs", 13), ("ss", 12)])
def test_a_segment_that_is_not_usable(name: str, vector: int) -> None:
    fault = access_fault(Access(name, 0, 1, 1, writes=False), state(None, name))
    assert fault is not None
    assert (fault.vector, fault.error_code) == (vector, 0)


@given(
    base=numbers(),
    offset=numbers(),
    alignment=st.sampled_from([1, 2, 4, 8]),
    ring=st.integers(0, 3),
    mask=st.sampled_from([0, AM]),
    check=st.sampled_from([0, AC]),
)
def test_alignment(
    base: int, offset: int, alignment: int, ring: int, mask: int, check: int
) -> None:
    registers = state(replace(FLAT, base=base), cr0=1 | mask, eflags=2 | check)
    registers = replace(registers, cs=Segment(0x18 | ring, FLAT))
    access = Access("ds", offset, alignment, alignment, writes=False)
    fault = access_fault(access, registers)
    misaligned = linear_address(access, registers) not in range(0, TOP + 1, alignment)
    if misaligned and ring == 3 and mask and check:
        assert fault is not None
        assert (fault.vector, fault.error_code) == (17, 0)
    else:
        assert fault is None


def test_a_far_pointer_is_aligned_by_less_than_its_size() -> None:
    registers = state(FLAT, cr0=1 | AM, eflags=2 | AC)
    registers = replace(registers, cs=Segment(0x1B, FLAT))
    assert access_fault(Access("ds", 0x104, 6, 4, writes=False), registers) is None
    assert access_fault(Access("ds", 0x102, 6, 4, writes=False), registers) is not None
    assert access_fault(Access("ds", 0x102, 4, 2, writes=False), registers) is None


def test_segmentation_goes_before_alignment_and_the_first_access_before_others() -> None:
    registers = state(replace(FLAT, limit=0xFF), cr0=1 | AM, eflags=2 | AC)
    registers = replace(registers, cs=Segment(0x1B, FLAT), es=Segment(0x23, FLAT))
    beyond = Access("ds", 0x101, 4, 4, writes=False)
    misaligned = Access("es", 0x101, 4, 4, writes=True)
    good = Access("es", 0x100, 4, 4, writes=True)
    for order, vector in (
        ((beyond, misaligned), 13),
        ((misaligned, beyond), 17),
        ((good, beyond), 13),
        ((good, misaligned), 17),
    ):
        fault = first_fault(order, registers)
        assert fault is not None and fault.vector == vector
    assert first_fault((good,), registers) is None


@given(limit=numbers(), kind=st.integers(0x10, 0x1F), offset=numbers(), writes=st.booleans())
def test_an_unrestricted_segment_refuses_nothing(
    limit: int, kind: int, offset: int, writes: bool
) -> None:
    segment = replace(FLAT, limit=limit, kind=kind)
    if is_unrestricted(segment):
        assert access_fault(Access("ds", offset, 4, 4, writes), state(segment)) is None
    assert is_unrestricted(replace(segment, limit=TOP, kind=DATA))
    assert not is_unrestricted(replace(segment, kind=CODE))
    assert not is_unrestricted(replace(FLAT, limit=TOP - 1))
    assert not is_unrestricted(replace(FLAT, kind=DATA & ~WRITABLE))
    assert not is_unrestricted(replace(FLAT, kind=DATA | EXPAND_DOWN))
    assert not is_unrestricted(None)
