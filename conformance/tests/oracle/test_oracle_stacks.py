"""The task stack pool, and its overflows word by word."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.case.program import (
    Overflow,
    StackAllocate,
    StackFree,
    StackFreeAddress,
)
from conformance.oracle.expectation import Expectation

Perform = Callable[..., Expectation]
Lines = Callable[..., list[str]]
RuleOf = Callable[[Expectation, int], set[str]]

AREA, SIZE, PAGE = 0xD0000000, 8192, 4096
PROBE_STACK = 0xC0117000


class TestPool:
    def test_lowest_first(self, perform: Perform, lines: Lines) -> None:
        operations = (*[StackAllocate()] * 3, StackFree(1), *[StackAllocate()] * 3)
        expectation = perform(*operations, stacks=4)
        assert [str(event) for event in expectation.events if event.kind == "stacks"] == [
            "stacks stacks=4 free=4"
        ]
        assert lines(expectation)[:2] == [
            "stack_allocated operation=0 stack=0 address=0xd0000000",
            "stack_allocated operation=1 stack=1 address=0xd0002000",
        ]
        assert lines(expectation)[3:] == [
            "stack_freed operation=3 stack=1",
            "stack_allocated operation=4 stack=1 address=0xd0002000",
            "stack_allocated operation=5 stack=3 address=0xd0006000",
            "stack_rejected operation=6 address=0 reason=none_free",
        ]

    @pytest.mark.parametrize(
        ("address", "reason"),
        [
            (AREA - 1, "outside"),
            (0, "outside"),
            (AREA + 2 * SIZE, "outside"),
            (AREA + 2 * SIZE + 1, "outside"),
            (AREA + 1, "misaligned"),
            (AREA + PAGE, "misaligned"),
            (AREA + 2 * SIZE - 1, "misaligned"),
            (AREA + SIZE, "not_in_use"),
        ],
    )
    def test_wrong_addresses(
        self, perform: Perform, lines: Lines, address: int, reason: str
    ) -> None:
        expectation = perform(StackAllocate(), StackFreeAddress(address), stacks=2)
        shown = hex(address) if address else 0
        assert lines(expectation, 1) == [
            f"stack_rejected operation=1 address={shown} reason={reason}"
        ]

    @pytest.mark.parametrize("earlier", [0, 2, 3, 4, 1000])
    def test_of_an_operation_that_was_given_nothing(
        self, perform: Perform, lines: Lines, earlier: int
    ) -> None:
        prologue = (StackFree(0), StackAllocate(), StackAllocate())
        for operation in (StackFree(earlier), Overflow(earlier, "array", 3)):
            expectation = perform(*prologue, operation, StackAllocate(), stacks=1)
            assert lines(expectation, 3) == [
                "stack_rejected operation=3 address=0 reason=nothing_allocated"
            ]

    def test_twice(self, perform: Perform, lines: Lines) -> None:
        operations = (StackAllocate(), StackFreeAddress(AREA), StackFree(0))
        assert lines(perform(*operations))[1:] == [
            "stack_freed operation=1 stack=0",
            "stack_rejected operation=2 address=0xd0000000 reason=not_in_use",
        ]

    def test_an_empty_pool(self, perform: Perform, lines: Lines) -> None:
        assert lines(perform(StackAllocate(), StackFreeAddress(AREA), stacks=0)) == [
            "stack_rejected operation=0 address=0 reason=none_free",
            "stack_rejected operation=1 address=0xd0000000 reason=outside",
        ]


class Machine:
    """A processor with nothing but stacks: what an instruction pushes or writes, word by word."""

    def __init__(self, stacks: int) -> None:
        self.stacks = stacks

    def mapped(self, address: int) -> bool:
        """A byte can be written: it is in the upper page of an object."""
        return AREA <= address < AREA + SIZE * self.stacks and (address - AREA) % SIZE >= PAGE

    def hits(self, address: int) -> int | None:
        """The first byte of a word that cannot be written."""
        for byte in range(address, address + 4):
            if not self.mapped(byte):
                return byte
        return None

    def overflow(self, how: str, bottom: int, size: int) -> tuple[str, int, int] | None:
        """Symbol, stack pointer and CR2 of the first page fault."""
        top = bottom + PAGE
        esp = top
        if how in ("push", "call"):
            while (hit := self.hits(esp - 4)) is None:
                esp -= 4
            return how, esp, hit
        if how == "recursion":
            while True:
                if (hit := self.hits(esp - 4)) is not None:
                    return "recursion_call", esp, hit
                esp -= 4
                esp -= size
                if (hit := self.hits(esp)) is not None:
                    return "recursion_touch", esp, hit
        if how == "array":
            esp -= size
            hit = self.hits(esp)
            return None if hit is None else (how, esp, hit)
        if how in ("interrupt", "exception"):
            hit = self.hits(bottom - 4)
            assert hit is not None
            return how, bottom, hit
        if how == "string":
            edi = top - 4
            for _ in range(2048):
                if (hit := self.hits(edi)) is not None:
                    return how, PROBE_STACK, hit
                edi -= 4
            return None
        assert how == "straddle"
        hit = self.hits(bottom - 2)
        assert hit is not None
        return how, PROBE_STACK, hit

    def delivers(self, esp: int) -> int | None:
        """Where the four words of a page fault do not fit, if so."""
        if esp == PROBE_STACK:
            return None
        for word in range(1, 5):
            if (hit := self.hits(esp - 4 * word)) is not None:
                return hit
        return None

    def stack(self, esp: int) -> tuple[int, int]:
        for number in range(self.stacks):
            if AREA + SIZE * number < esp <= AREA + SIZE * (number + 1):
                return 3, number
        return (1, 0) if esp == PROBE_STACK else (0, 0)


overflows = st.one_of(
    st.tuples(
        st.sampled_from(["push", "call", "interrupt", "exception", "string", "straddle"]),
        st.just(0),
    ),
    st.tuples(st.just("array"), st.integers(1, 3072).map(lambda words: words * 4)),
    st.tuples(
        st.just("array"), st.sampled_from([4092, 4096, 4100, 8188, 8192, 8196, 8200, 8208, 12288])
    ),
    st.tuples(st.just("recursion"), st.integers(2, 256).map(lambda words: words * 4)),
)


@settings(max_examples=300)
@given(overflow=overflows, stack=st.integers(0, 3), paging=st.sampled_from(["legacy", "pae"]))
def test_overflows_word_by_word(
    perform: Perform,
    layout: object,
    overflow: tuple[str, int],
    stack: int,
    paging: str,
) -> None:
    how, size = overflow
    machine = Machine(4)
    result = machine.overflow(how, AREA + SIZE * stack + PAGE, size)
    allocations = [StackAllocate()] * (stack + 1)
    expectation = perform(*allocations, Overflow(stack, how, size), stacks=4, paging=paging)
    shown = [
        dict(event.fields) for event in expectation.events if event.kind in ("fault", "attempted")
    ]
    number = stack + 1
    if result is None:
        assert shown == [{"operation": number, "outcome": 0, "value": 0}]
        return
    symbol, esp, hit = result
    again = machine.delivers(esp)
    kind, stack_number = machine.stack(esp)
    symbols = layout.symbols  # type: ignore[attr-defined]
    assert shown == [
        {
            "operation": number,
            "vector": 14 if again is None else 8,
            "error_code": 2 if again is None else 0,
            "cr2": hit if again is None else again,
            "eip": symbols[f"fault_at_overflow_{symbol}"],
            "esp": esp,
            "cpl": 0,
            "stack": kind,
            "stack_number": stack_number,
        },
        {"operation": number, "outcome": 1, "value": 0},
    ]


class TestOverflow:
    @pytest.mark.parametrize(
        ("how", "rule"),
        [
            ("push", "double fault: page fault while one is delivered"),
            ("interrupt", "double fault: page fault while one is delivered"),
            ("straddle", "entry not present"),
            ("string", "entry not present"),
        ],
    )
    def test_rules(self, perform: Perform, rule_of: RuleOf, how: str, rule: str) -> None:
        assert rule_of(perform(StackAllocate(), Overflow(0, how)), 1) == {rule}

    def test_into_the_neighbour(self, perform: Perform, lines: Lines) -> None:
        """A page fault at the very start of the guard page is pushed onto the stack below."""
        operations = (StackAllocate(), StackAllocate(), Overflow(1, "array", 8192))
        assert "vector=page_fault error_code=2 cr2=0xd0002000" in lines(perform(*operations), 2)[0]
        assert "esp=0xd0002000 cpl=0 stack=task stack_number=0" in lines(perform(*operations), 2)[0]

    def test_of_a_stack_that_was_freed(self, perform: Perform, lines: Lines) -> None:
        expectation = perform(StackAllocate(), StackFree(0), Overflow(0, "push"))
        assert "vector=double_fault" in lines(expectation, 2)[0]

    @pytest.mark.parametrize(
        ("how", "size", "fits"),
        [
            ("array", 0, False),
            ("array", 4, True),
            ("array", 6, False),
            ("array", 12288, True),
            ("array", 12292, False),
            ("recursion", 4, False),
            ("recursion", 8, True),
            ("recursion", 10, False),
            ("recursion", 1024, True),
            ("recursion", 1028, False),
            ("push", 3, True),
        ],
    )
    def test_sizes(self, perform: Perform, lines: Lines, how: str, size: int, fits: bool) -> None:
        shown = lines(perform(StackAllocate(), Overflow(0, how, size)), 1)
        assert (shown == ["rejected operation=1 reason=bad_size"]) != fits
