"""What the manual leaves open: a witness steers the expectation, inside what is permitted only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from conformance.case.program import (
    Control,
    Invalidate,
    Map,
    Operation,
    Overflow,
    Probe,
    Protect,
    Raise,
    ReadEntry,
    Reload,
    Rights,
    Segment,
    StackAllocate,
    Unmap,
    WriteEntry,
)
from conformance.observe.trace import Event
from conformance.oracle.expectation import Choice, Expectation
from conformance.protocol import PROTOCOL

Perform = Callable[..., Expectation]
Lines = Callable[..., list[str]]
RuleOf = Callable[[Expectation, int], set[str]]
Seen = Callable[[Expectation, Mapping[int, Sequence[Event]]], tuple[Event, ...]]

SLOT = 0x40000000
W, U, LARGE = Rights.WRITABLE, Rights.USER, Rights.LARGE_PAGE
A, D = 0x20, 0x40
NUMBER = {frame: 0x26262600 | byte for frame, byte in enumerate((0x26, 0x2E, 0x36, 0x3E))}
"""What is at offset 4 of a frame."""


def done(value: int = 0) -> list[Event]:
    return [Event("attempted", {"outcome": 0, "value": value})]


def entry(level: str, value: int) -> list[Event]:
    code = PROTOCOL.code("paging_level", level)
    return [Event("entry_read", {"level": code, "value": value})]


@pytest.fixture
def follow(perform: Perform, seen: Seen) -> Callable[..., Expectation]:
    """The expectation that follows a witness which showed other events for some operations."""

    def ask(
        operations: Sequence[Operation], replaced: Mapping[int, Sequence[Event]], **more: object
    ) -> Expectation:
        witness = seen(perform(*operations, **more), replaced)
        return perform(*operations, witness=witness, **more)

    return ask


Follow = Callable[..., Expectation]


def names(choices: Sequence[Choice]) -> list[tuple[str, int, int]]:
    return [(choice.rule.name, choice.permitted, choice.taken) for choice in choices]


class TestStaleTranslations:
    UNMAPPED = (Map(SLOT, 1), Probe(SLOT + 4), Unmap(SLOT, False), Probe(SLOT + 4))

    def test_memory_is_canonical(self, perform: Perform, lines: Lines, rule_of: RuleOf) -> None:
        expectation = perform(*self.UNMAPPED)
        assert "vector=page_fault error_code=0 " in lines(expectation, 3)[0]
        assert rule_of(expectation, 3) == {"entry not present"}
        assert names(expectation.choices) == [("translation not invalidated", 2, 0)]

    def test_the_old_translation_may_be_used(
        self, follow: Follow, lines: Lines, rule_of: RuleOf
    ) -> None:
        expectation = follow(self.UNMAPPED, {3: done(NUMBER[1])})
        assert lines(expectation, 3) == ["attempted operation=3 outcome=done value=0x2626262e"]
        assert rule_of(expectation, 3) == {"translation not invalidated"}
        (choice,) = expectation.choices
        assert expectation.events[choice.index].kind == "attempted"
        assert (choice.permitted, choice.taken) == (2, 1)

    def test_what_is_not_permitted_is_not_followed(self, follow: Follow, lines: Lines) -> None:
        expectation = follow(self.UNMAPPED, {3: done(0x12345678)})
        assert "vector=page_fault error_code=0 " in lines(expectation, 3)[0]

    @pytest.mark.parametrize(
        ("between", "rule"),
        [
            ([Invalidate(SLOT + 8)], "INVLPG invalidates"),
            ([Reload()], "MOV to a control register invalidates"),
            ([Control("write_protect", True)], "MOV to a control register invalidates"),
            ([Probe(SLOT + 4, "read", 4, 3)], "page fault invalidates"),
        ],
    )
    def test_after_an_invalidation_it_may_not(
        self, follow: Follow, lines: Lines, rule_of: RuleOf, between: list[Operation], rule: str
    ) -> None:
        operations = [*self.UNMAPPED[:3], *between, self.UNMAPPED[3]]
        followed = follow(operations, {4: done(NUMBER[1])})
        assert "vector=page_fault" in lines(followed, 4)[0]
        # The witness did what a translation that was invalidated would have done.
        assert rule_of(followed, 4) == {rule}
        # If it did something else, that is not the reason.
        assert rule_of(follow(operations, {4: done(7)}), 4) == {"entry not present"}

    @pytest.mark.parametrize(
        ("between", "permitted"),
        [(Probe(SLOT, "read", 4, 3), True), (Invalidate(SLOT), False)],
    )
    def test_the_parts_of_a_large_page_outlive_a_page_fault(
        self, follow: Follow, lines: Lines, between: Operation, permitted: bool
    ) -> None:
        """There may be an entry for each part; only INVLPG has to find them all."""
        used = Probe(SLOT + 0x1004)
        operations = (Map(SLOT, 0, LARGE), used, Unmap(SLOT, False), between, used)
        followed = follow(operations, {4: done(NUMBER[1])})
        assert ("outcome=done" in lines(followed, 4)[0]) is permitted

    def test_invalidating_another_page_does_nothing(self, follow: Follow, lines: Lines) -> None:
        operations = [*self.UNMAPPED[:3], Invalidate(SLOT + 0x1000), self.UNMAPPED[3]]
        assert "outcome=done" in lines(follow(operations, {4: done(NUMBER[1])}), 4)[0]

    def test_what_was_never_used_is_not_kept(self, perform: Perform, follow: Follow) -> None:
        operations = (self.UNMAPPED[0], *self.UNMAPPED[2:])
        assert perform(*operations).choices == ()
        assert follow(operations, {2: done(NUMBER[1])}).choices == ()

    def test_the_processor_may_change_its_mind(self, follow: Follow, lines: Lines) -> None:
        operations = (
            Map(SLOT, 1),
            Probe(SLOT + 4),
            Unmap(SLOT, False),
            Map(SLOT, 2, W, False),
            *[Probe(SLOT + 4)] * 3,
        )
        values = {4: done(NUMBER[1]), 5: done(NUMBER[2]), 6: done(NUMBER[1])}
        expectation = follow(operations, values)
        assert [line.split("value=")[1] for line in lines(expectation)[-3:]] == [
            hex(NUMBER[frame]) for frame in (1, 2, 1)
        ]
        assert [taken for _, _, taken in names(expectation.choices)] == [1, 0, 1]

    def test_old_rights(self, follow: Follow, lines: Lines, rule_of: RuleOf) -> None:
        operations = (Map(SLOT, 1), Probe(SLOT), Protect(SLOT, W, False), Probe(SLOT, "write"))
        fault = Event(
            "fault",
            {
                "vector": 14,
                "error_code": 3,
                "cr2": SLOT,
                "eip": 0xC0101050,
                "esp": 0xC0117000,
                "cpl": 0,
                "stack": 1,
                "stack_number": 0,
            },
        )
        # A write needs the dirty flag, so that the processor has to look at memory ...
        assert follow(operations, {}).choices[0].permitted == 2
        # ... but may find before that that the old rights forbid it.
        faults = [fault, Event("attempted", {"outcome": 1, "value": 0})]
        followed = follow(operations, {3: faults})
        assert "error_code=3 " in lines(followed, 3)[0]
        assert rule_of(followed, 3) == {"translation not invalidated"}

    def test_a_clean_translation_does_not_serve_a_write(self, follow: Follow) -> None:
        operations = (Map(SLOT, 1, W), Probe(SLOT), Unmap(SLOT, False), Probe(SLOT, "write"))
        assert follow(operations, {3: done()}).choices == ()
        dirty = (operations[0], Probe(SLOT, "write"), *operations[2:])
        assert names(follow(dirty, {3: done()}).choices) == [("translation not invalidated", 2, 1)]

    def test_a_large_page_is_one_translation(self, follow: Follow, lines: Lines) -> None:
        operations = (
            Map(SLOT, 0, LARGE),
            Probe(SLOT + 4),
            Unmap(SLOT, False),
            Probe(SLOT + 0x3004),
            Invalidate(SLOT + 0x5000),
            Probe(SLOT + 0x3004),
        )
        expectation = follow(operations, {3: done(NUMBER[3]), 5: done(NUMBER[3])})
        assert "outcome=done" in lines(expectation, 3)[0]
        assert "page_fault" in lines(expectation, 5)[0]

    def test_a_kept_directory_entry(self, follow: Follow, lines: Lines) -> None:
        """It was used for another page of the same table."""
        operations: list[Operation] = [
            Map(SLOT, 1),
            Map(SLOT + 0x1000, 2),
            Probe(SLOT),
            WriteEntry(SLOT, "page_directory", 1, 0, False),
            Probe(SLOT + 0x1004),
        ]
        expectation = follow(operations, {4: done(NUMBER[2])})
        assert "outcome=done" in lines(expectation, 4)[0]
        assert names(expectation.choices) == [("translation not invalidated", 2, 1)]
        # INVLPG drops all of them, whatever its address.
        operations.insert(4, Invalidate(SLOT + 0x407000))
        expectation = follow(operations, {5: done(NUMBER[2])})
        assert "page_fault" in lines(expectation, 5)[0]
        assert expectation.choices == ()

    def test_the_latest_invalidation_counts(self, follow: Follow, rule_of: RuleOf) -> None:
        operations = (
            Map(SLOT, 1),
            Probe(SLOT + 4),
            Probe(SLOT + 4, "read", 4, 3),
            Probe(SLOT + 4),
            Unmap(SLOT),
            Probe(SLOT + 4),
        )
        assert rule_of(follow(operations, {5: done(NUMBER[1])}), 5) == {"INVLPG invalidates"}


class TestWritesThroughOldTranslations:
    """Nothing shows where such a write went, until somebody looks."""

    OPERATIONS = (
        Map(SLOT, 1, W),
        Probe(SLOT + 8, "write"),
        Unmap(SLOT, False),
        Map(SLOT, 2, W, False),
        Probe(SLOT + 16, "write"),
        Map(SLOT + 0x1000, 1),
        Map(SLOT + 0x2000, 2),
        Probe(SLOT + 0x1010),
        Probe(SLOT + 0x2010),
    )
    OLD, NEW = 0xC3C3C3C3, 0xC32E2E2E

    def test_to_the_new_frame(self, follow: Follow, lines: Lines) -> None:
        expectation = follow(self.OPERATIONS, {7: done(self.OLD), 8: done(self.NEW)})
        values = [lines(expectation, number)[0].split("=")[-1] for number in (7, 8)]
        assert values == [hex(self.OLD), hex(self.NEW)]
        assert names(expectation.choices) == [("translation not invalidated", 2, 0)]

    def test_to_the_old_one(self, follow: Follow, lines: Lines) -> None:
        expectation = follow(self.OPERATIONS, {7: done(self.NEW), 8: done(self.OLD)})
        values = [lines(expectation, number)[0].split("=")[-1] for number in (7, 8)]
        assert values == [hex(self.NEW), hex(self.OLD)]
        assert names(expectation.choices) == [("translation not invalidated", 2, 1)]

    def test_not_to_both(self, follow: Follow, lines: Lines) -> None:
        expectation = follow(self.OPERATIONS, {7: done(self.NEW), 8: done(self.NEW)})
        values = [lines(expectation, number)[0].split("=")[-1] for number in (7, 8)]
        assert values == [hex(self.NEW), hex(self.OLD)]

    def test_the_final_digest_decides(self, perform: Perform) -> None:
        operations, more = self.OPERATIONS[:5], {"state": ("probe_arena",)}
        to_new = perform(*operations, **more)
        both_mapped = (Map(SLOT, 1, W), Probe(SLOT + 8, "write"), Probe(SLOT + 16, "write"))
        to_old = perform(*both_mapped, **more)
        assert to_new.state != to_old.state
        witness = (*to_new.events[:-2], to_old.events[-2], to_new.events[-1])
        followed = perform(*operations, witness=witness, **more)
        assert followed.state == to_old.state
        assert followed.events == witness
        assert perform(*operations, witness=to_new.events, **more).state == to_new.state


class TestFlags:
    def test_of_an_access_that_faults(self, follow: Follow) -> None:
        """Rights forbid it: both entries were used, and may have their flag set or not."""
        operations = (
            Map(SLOT, 1),
            Probe(SLOT, "write"),
            ReadEntry(SLOT, "page_directory"),
            ReadEntry(SLOT, "page_table"),
            ReadEntry(SLOT, "page_table"),
        )
        table, page = 0x130000 + 17 * 4096 | 7, 0x401001
        for directory_flag, page_flag in ((0, 0), (A, 0), (0, A), (A, A)):
            shown = {
                2: entry("page_directory", table | directory_flag),
                3: entry("page_table", page | page_flag),
                4: entry("page_table", page | page_flag),
            }
            expectation = follow(operations, shown)
            assert reads(expectation) == [table | directory_flag, *[page | page_flag] * 2]
            rule = "accessed flags of an access that faults"
            assert names(expectation.choices) == [
                (rule, 2, directory_flag // A),
                (rule, 2, page_flag // A),
            ]

    def test_once_seen_they_are_known(self, follow: Follow) -> None:
        operations = (Map(SLOT, 1), Probe(SLOT, "write"), *[ReadEntry(SLOT, "page_table")] * 2)
        page = 0x401001
        shown = {2: entry("page_table", page | A), 3: entry("page_table", page)}
        assert reads(follow(operations, shown)) == [page | A, page | A]

    def test_other_flags_are_not_open(self, follow: Follow) -> None:
        operations = (Map(SLOT, 1), Probe(SLOT, "write"), ReadEntry(SLOT, "page_table"))
        expectation = follow(operations, {2: entry("page_table", 0x401001 | D)})
        assert reads(expectation) == [0x401001]

    @pytest.mark.parametrize("level", ["page_directory", "page_table"])
    def test_the_entry_that_ends_a_walk_keeps_its_flag(self, follow: Follow, level: str) -> None:
        spoil = WriteEntry(SLOT, level, 0, 1 << 51)
        operations = (Map(SLOT, 1), spoil, Probe(SLOT), ReadEntry(SLOT, level))
        (value,) = reads(follow(operations, {}))
        expectation = follow(operations, {3: entry(level, value | A)})
        assert reads(expectation) == [value]
        assert expectation.choices == ()

    def test_of_the_first_page_when_the_second_faults(self, follow: Follow) -> None:
        operations = (
            Map(SLOT, 1, W),
            Probe(SLOT + 0xFFE, "write"),
            ReadEntry(SLOT, "page_table"),
        )
        for flags in (0, A, A | D):
            expectation = follow(operations, {2: entry("page_table", 0x401003 | flags)})
            assert reads(expectation) == [0x401003 | flags]
            rule = "flags of the first page when the second one faults"
            assert names(expectation.choices) == [
                (rule, 2, int(bool(flags & A))),
                (rule, 2, int(bool(flags & D))),
            ]

    def test_of_an_instruction_whose_second_page_faults(self, follow: Follow) -> None:
        operations = (Map(SLOT, 1), Probe(SLOT + 0xFFD, "execute"), ReadEntry(SLOT, "page_table"))
        for flag in (0, A):
            expectation = follow(operations, {2: entry("page_table", 0x401001 | flag)})
            assert reads(expectation) == [0x401001 | flag]

    def test_where_a_kept_translation_may_have_served(self, follow: Follow) -> None:
        operations = (
            Map(SLOT, 1, W),
            Probe(SLOT, "write"),
            WriteEntry(SLOT, "page_table", A | D, 0, False),
            Probe(SLOT, "write"),
            ReadEntry(SLOT, "page_table"),
        )
        for flags in (0, A | D):
            expectation = follow(operations, {4: entry("page_table", 0x401003 | flags)})
            assert reads(expectation) == [0x401003 | flags]
        invalidated = (*operations[:2], WriteEntry(SLOT, "page_table", A | D), *operations[3:])
        expectation = follow(invalidated, {4: entry("page_table", 0x401003)})
        assert reads(expectation) == [0x401063]

    def test_of_a_directory_entry_that_may_be_kept(self, follow: Follow) -> None:
        operations = (
            Map(SLOT, 1),
            Map(SLOT + 0x1000, 2),
            Probe(SLOT),
            WriteEntry(SLOT, "page_directory", A, 0, False),
            Probe(SLOT + 0x1000),
            ReadEntry(SLOT, "page_directory"),
        )
        table = 0x130000 + 17 * 4096 | 7
        for flag in (0, A):
            expectation = follow(operations, {5: entry("page_directory", table | flag)})
            assert reads(expectation) == [table | flag]

    @pytest.mark.parametrize(
        "change",
        [Protect(SLOT, U), WriteEntry(SLOT, "page_table", D, 4)],
        ids=lambda each: each.name,
    )
    def test_what_the_kernel_keeps_stays_open(self, follow: Follow, change: Operation) -> None:
        operations = (Map(SLOT, 1), Probe(SLOT, "write"), change, ReadEntry(SLOT, "page_table"))
        for flag in (0, A):
            expectation = follow(operations, {3: entry("page_table", 0x401005 | flag)})
            assert reads(expectation) == [0x401005 | flag]

    def test_what_the_kernel_writes_is_known(self, follow: Follow) -> None:
        operations = (
            Map(SLOT, 1),
            Probe(SLOT, "write"),
            WriteEntry(SLOT, "page_table", A),
            ReadEntry(SLOT, "page_table"),
        )
        assert reads(follow(operations, {3: entry("page_table", 0x401021)})) == [0x401001]


def reads(expectation: Expectation) -> list[int]:
    return [each.fields["value"] for each in expectation.events if each.kind == "entry_read"]


class TestCr2:
    def test_of_a_double_fault(self, perform: Perform, follow: Follow, lines: Lines) -> None:
        """The write at ESP faults, and so does the push below it."""
        operations = (StackAllocate(), Overflow(0, "array", 4100))
        canonical = perform(*operations)
        assert "vector=double_fault error_code=0 cr2=0xd0000ff8 " in lines(canonical, 1)[0]
        fault, attempted = [
            event
            for event in canonical.events
            if event.kind in ("fault", "attempted") and event.fields["operation"] == 1
        ]
        first = Event("fault", {**fault.fields, "cr2": 0xD0000FFC})
        followed = follow(operations, {1: [first, attempted]})
        assert "cr2=0xd0000ffc " in lines(followed, 1)[0]
        assert names(followed.choices) == [("CR2 of several page faults", 2, 1)]
        wrong = Event("fault", {**fault.fields, "cr2": 0x1234})
        assert "cr2=0xd0000ff8 " in lines(follow(operations, {1: [wrong, attempted]}), 1)[0]


def test_the_exception_of_an_absent_stack_segment(follow: Follow, lines: Lines) -> None:
    """Of IRET volume 2 says both: #SS and #NP."""
    operations = (Raise("return_absent_stack"),)

    def showing(vector: int) -> Expectation:
        fault = {"vector": vector, "error_code": 0x58, "cr2": 0x5A5A5A5A, "cpl": 0}
        (canonical,) = [event for event in follow(operations, {}).events if event.kind == "fault"]
        attempted = Event("attempted", {"outcome": 1, "value": 0})
        shown = Event("fault", {**canonical.fields, **fault})
        return follow(operations, {0: [shown, attempted]})

    assert "vector=stack_segment error_code=88 " in lines(showing(12))[0]
    followed = showing(11)
    assert "vector=segment_not_present error_code=88 " in lines(followed)[0]
    assert names(followed.choices) == [("IRET: absent stack segment", 2, 1)]
    # No third one is permitted.
    assert "vector=stack_segment error_code=88 " in lines(showing(13))[0]


def test_reserved_bits_of_absent_pdptes(follow: Follow, perform: Perform, lines: Lines) -> None:
    operations = (WriteEntry(SLOT, "pointer_table", 1, 1 << 6), Reload())
    assert lines(perform(*operations), 1) == ["attempted operation=1 outcome=done value=0"]
    checked = perform(WriteEntry(SLOT, "pointer_table", 0, 1 << 6), Reload())
    events = [
        event
        for event in checked.events
        if event.kind in ("fault", "attempted") and event.fields["operation"] == 1
    ]
    followed = follow(operations, {1: events})
    assert "vector=general_protection" in lines(followed, 1)[0]
    assert names(followed.choices) == [("reserved bits of absent PDPTEs", 2, 1)]


def test_a_segment_of_4_gib(follow: Follow, perform: Perform, lines: Lines) -> None:
    access = Segment("fs", 0xFFFFFFFE, SLOT + 10)
    operations = (Map(SLOT), access)
    assert "vector=general_protection" in lines(perform(*operations), 1)[0]
    followed = follow(operations, {1: done(0xC3C3C3C3)})
    assert lines(followed, 1) == ["attempted operation=1 outcome=done value=0xc3c3c3c3"]


def test_a_witness_that_ends_early_is_followed_as_far_as_it_goes(
    perform: Perform, lines: Lines
) -> None:
    whole = perform(*TestStaleTranslations.UNMAPPED)
    for length in range(len(whole.events)):
        assert (
            perform(*TestStaleTranslations.UNMAPPED, witness=whole.events[:length]).events
            == whole.events
        )


def test_its_own_expectation_is_a_witness_it_follows(perform: Perform) -> None:
    operations = (
        *TestStaleTranslations.UNMAPPED,
        *TestWritesThroughOldTranslations.OPERATIONS[:5],
        ReadEntry(SLOT, "page_table"),
    )
    whole = perform(*operations)
    assert perform(*operations, witness=whole.events) == whole
