"""The operations on entries: what is rejected, in which order, and what is written."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conformance.case.program import (
    Control,
    Invalidate,
    Map,
    Operation,
    Probe,
    Protect,
    ReadEntry,
    Reload,
    Rights,
    Unmap,
    WriteEntry,
)
from conformance.oracle.expectation import Expectation

Perform = Callable[..., Expectation]
Lines = Callable[..., list[str]]
RuleOf = Callable[[Expectation, int], set[str]]

SLOT, OTHER = 0x40000000, 0x40400000
OUTSIDE = (0x3FFFFFFF, SLOT + 0x8000, OTHER - 1, OTHER + 0x8000, 0x40800000, 0)
W, U, X, LARGE = Rights.WRITABLE, Rights.USER, Rights.NO_EXECUTE, Rights.LARGE_PAGE
NONE = Rights(0)
XD = 1 << 63


def last(lines: list[str]) -> str:
    """What the last operation showed, without its number."""
    kind, _, *rest = lines[-1].split(" ")
    return " ".join([kind, *rest]) if rest else kind


def values(expectation: Expectation) -> list[int]:
    return [each.fields["value"] for each in expectation.events if each.kind == "entry_read"]


# Operations; the last one is rejected, for the first of the reasons that apply.
REJECTED = [
    # map
    ("legacy", "broadwell", [Map(0, 99, X | LARGE)], "bad_value"),
    ("pae", "pentium3", [Map(0, 99, X)], "bad_value"),
    ("pae", "broadwell", [Map(0, 99, X)], "bad_address"),
    *(("pae", "broadwell", [Map(address)], "bad_address") for address in OUTSIDE),
    ("pae", "broadwell", [Map(SLOT), Map(SLOT, 8)], "bad_frame"),
    ("pae", "broadwell", [Map(SLOT + 1, 1, LARGE)], "bad_frame"),
    ("legacy", "broadwell", [Map(SLOT + 1, 0, LARGE)], "bad_address"),
    ("legacy", "broadwell", [Map(SLOT, 0, LARGE)], "no_feature"),
    ("pae", "broadwell", [Map(SLOT), Map(SLOT + 0xFFF, 1)], "already_mapped"),
    ("pae", "broadwell", [Map(SLOT, 0, LARGE), Map(SLOT, 0, LARGE)], "already_mapped"),
    ("pae", "broadwell", [Map(SLOT, 0, LARGE), Map(SLOT + 0x7000)], "already_mapped"),
    # unmap
    *(("pae", "broadwell", [Unmap(address)], "bad_address") for address in OUTSIDE),
    ("pae", "broadwell", [Map(SLOT), Unmap(SLOT + 0x1000)], "not_mapped"),
    ("pae", "broadwell", [Map(SLOT), Unmap(SLOT), Unmap(SLOT)], "not_mapped"),
    (
        "pae",
        "broadwell",
        [Map(SLOT, 0, LARGE), WriteEntry(SLOT, "page_directory", 1), Unmap(SLOT)],
        "not_mapped",
    ),
    # protect
    ("pae", "broadwell", [Protect(0, LARGE)], "bad_value"),
    ("legacy", "broadwell", [Protect(0, X)], "bad_value"),
    ("pae", "broadwell", [Protect(0, NONE)], "bad_address"),
    ("pae", "broadwell", [Protect(SLOT, NONE)], "not_mapped"),
    # invalidate
    *(("pae", "broadwell", [Invalidate(address)], "bad_address") for address in OUTSIDE),
    # write_entry
    ("legacy", "broadwell", [WriteEntry(0, "pointer_table", 0x80)], "bad_address"),
    ("legacy", "broadwell", [WriteEntry(SLOT, "pointer_table", 0x80)], "bad_level"),
    (
        "pae",
        "broadwell",
        [Map(SLOT, 0, LARGE), WriteEntry(SLOT + 0x1000, "page_table", 0x80)],
        "bad_level",
    ),
    *(
        ("legacy", "broadwell", [WriteEntry(SLOT, level, 0, 1 << bit)], "bad_bits")
        for level in ("page_table", "page_directory")
        for bit in (7, 12, 21, 31, 32, 63)
    ),
    *(
        ("pae", "broadwell", [WriteEntry(SLOT, level, 1 << bit)], "bad_bits")
        for level in ("page_table", "page_directory")
        for bit in (7, 12, 13, 20, 21, 39)
    ),
    *(
        ("pae", "broadwell", [WriteEntry(SLOT, "pointer_table", 1 << bit)], "bad_bits")
        for bit in (12, 39)
    ),
    *(
        (
            "pae",
            "broadwell",
            [Map(SLOT, 0, LARGE), WriteEntry(SLOT, "page_directory", 1 << bit)],
            "bad_bits",
        )
        for bit in (7, 12, 21, 39)
    ),
    # read_entry
    ("legacy", "broadwell", [ReadEntry(SLOT - 1, "pointer_table")], "bad_address"),
    ("legacy", "broadwell", [ReadEntry(SLOT, "pointer_table")], "bad_level"),
    ("pae", "broadwell", [Map(SLOT, 0, LARGE), ReadEntry(SLOT, "page_table")], "bad_level"),
    # control
    ("legacy", "broadwell", [Control("no_execute", True)], "no_feature"),
    ("pae", "pentium3", [Control("no_execute", False)], "no_feature"),
    ("pae", "core2duo", [Control("supervisor_execution", False)], "no_feature"),
    ("pae", "core2duo", [Control("supervisor_access", True)], "no_feature"),
    (
        "legacy",
        "broadwell",
        [
            Control("page_size_extensions", True),
            Map(OTHER, 0, LARGE),
            WriteEntry(OTHER, "page_directory", 1),
            Control("page_size_extensions", False),
        ],
        "large_page_mapped",
    ),
]


@pytest.mark.parametrize(("paging", "cpu", "operations", "reason"), REJECTED)
def test_rejections(
    perform: Perform,
    lines: Lines,
    paging: str,
    cpu: str,
    operations: list[Operation],
    reason: str,
) -> None:
    shown = lines(perform(*operations, paging=paging, cpu=cpu))
    assert last(shown) == f"rejected reason={reason}"
    assert not any("rejected" in line for line in shown[:-1])


class TestMap:
    @pytest.mark.parametrize(
        ("rights", "flags"),
        [(NONE, 1), (W, 3), (U, 5), (X, 1 | XD), (W | U | X, 7 | XD)],
    )
    def test_a_page(self, perform: Perform, rights: Rights, flags: int) -> None:
        expectation = perform(
            Map(OTHER + 0x7ABC, 5, rights), ReadEntry(OTHER + 0x7000, "page_table")
        )
        assert values(expectation) == [0x405000 | flags]

    @pytest.mark.parametrize("paging", ["legacy", "pae"])
    def test_a_large_page_over_a_table(self, perform: Perform, lines: Lines, paging: str) -> None:
        expectation = perform(
            Control("page_size_extensions", True),
            Map(SLOT, 3),
            Map(SLOT, 0, LARGE | W),
            ReadEntry(SLOT + 0x7000, "page_directory"),
            Probe(SLOT + 0x7004, "read", 1),
            Unmap(SLOT + 0x5000),
            ReadEntry(SLOT, "page_table"),
            Probe(SLOT + 4, "read", 1),
            paging=paging,
        )
        assert values(expectation) == [0x400083, 0x403001]
        assert lines(expectation, 4) == ["attempted operation=4 outcome=done value=62"]
        assert lines(expectation, 7) == ["attempted operation=7 outcome=done value=62"]

    def test_under_an_absent_large_page(self, perform: Perform, lines: Lines) -> None:
        expectation = perform(
            Map(SLOT, 0, LARGE),
            WriteEntry(SLOT, "page_directory", 1),
            Map(SLOT, 3),
            ReadEntry(SLOT, "page_table"),
            Probe(SLOT),
            Map(SLOT, 0, LARGE),
            Probe(SLOT + 4, "read", 1),
        )
        assert values(expectation) == [0x403001]
        assert "error_code=0 " in lines(expectation, 4)[0]
        assert last(lines(expectation)) == "attempted outcome=done value=38"


class TestOthers:
    def test_unmap(self, perform: Perform) -> None:
        expectation = perform(Map(SLOT, 3, W), Unmap(SLOT + 1), ReadEntry(SLOT, "page_table"))
        assert values(expectation) == [0]

    def test_protect_keeps_the_rest(self, perform: Perform) -> None:
        expectation = perform(
            Map(SLOT, 3, W | X),
            WriteEntry(SLOT, "page_table", 0, 0xE18 | 1 << 50),
            Protect(SLOT, U),
            ReadEntry(SLOT, "page_table"),
            Map(OTHER, 0, LARGE | W),
            Protect(OTHER + 0x6000, U | X),
            ReadEntry(OTHER, "page_directory"),
        )
        assert values(expectation) == [0x403005 | 0xE18 | 1 << 50, 0x400085 | XD]

    def test_write_entry(self, perform: Perform) -> None:
        flags, upper = 0xF7F, (1 << 64) - (1 << 40)
        expectation = perform(
            WriteEntry(SLOT, "page_table", 0, flags | upper),
            ReadEntry(SLOT, "page_table"),
            WriteEntry(SLOT, "page_table", flags | upper, 0x60),
            ReadEntry(SLOT, "page_table"),
            # A bit that is both cleared and set is set.
            WriteEntry(SLOT, "page_table", 0x20, 0x20),
            ReadEntry(SLOT, "page_table"),
            Map(OTHER, 0, LARGE),
            WriteEntry(OTHER, "page_directory", 0, flags | upper | 0x1FE000),
            ReadEntry(OTHER, "page_directory"),
            WriteEntry(SLOT, "pointer_table", 0, 0xFFF | upper),
            ReadEntry(OTHER, "pointer_table"),
        )
        assert values(expectation) == [
            flags | upper,
            0x60,
            0x60,
            0x400000 | 0xFFF | upper | 0x1FE000,
            0x132000 | 0xFFF | upper,
        ]

    def test_write_entry_with_32_bit_paging(self, perform: Perform) -> None:
        expectation = perform(
            Control("page_size_extensions", True),
            Map(SLOT, 0, LARGE),
            WriteEntry(SLOT, "page_directory", 0, 1 << 21),
            ReadEntry(SLOT, "page_directory"),
            paging="legacy",
        )
        assert values(expectation) == [0x400081 | 1 << 21]

    def test_pae_has_large_pages_without_pse(self, perform: Perform, lines: Lines) -> None:
        operations = (Control("page_size_extensions", False), Map(SLOT, 0, LARGE), Probe(SLOT))
        assert last(lines(perform(*operations))) == "attempted outcome=done value=0xc3c3c3c3"

    def test_a_changed_entry_is_walked_from_its_place(self, perform: Perform, lines: Lines) -> None:
        """A PDE that is not present hides its table; the PTE is still the one of the address."""
        expectation = perform(
            WriteEntry(SLOT, "page_directory", 1),
            Map(SLOT, 2),
            ReadEntry(SLOT, "page_table"),
            Probe(SLOT),
            WriteEntry(SLOT, "page_directory", 0, 1),
            Probe(SLOT + 4, "read", 1),
        )
        assert values(expectation) == [0x402001]
        assert "error_code=0 " in lines(expectation, 3)[0]
        assert last(lines(expectation)) == "attempted outcome=done value=54"


class TestControl:
    @pytest.mark.parametrize(
        ("bit", "paging", "register", "value"),
        [
            ("write_protect", "legacy", "cr0", 0x80000001),
            ("page_size_extensions", "legacy", "cr4", 0x10),
            ("page_size_extensions", "pae", "cr4", 0x30),
            ("no_execute", "pae", "efer", 0),
            ("supervisor_execution", "legacy", "cr4", 0x100000),
            ("supervisor_access", "pae", "cr4", 0x200020),
        ],
    )
    def test_it_shows_in_the_last_event(
        self, perform: Perform, lines: Lines, bit: str, paging: str, register: str, value: int
    ) -> None:
        before = {"cr0": 0x80010001, "cr2": 0, "cr3": 0x130000, "cr4": 0x20, "efer": 0x800}
        if paging == "legacy":
            before |= {"cr4": 0, "efer": 0}
        changed = bit not in ("write_protect", "no_execute")
        expectation = perform(Control(bit, changed), paging=paging)
        assert lines(expectation) == ["attempted operation=0 outcome=done value=0"]
        assert dict(expectation.events[-2].fields) == before | {register: value}
        back = perform(Control(bit, changed), Control(bit, not changed), paging=paging)
        assert dict(back.events[-2].fields) == before

    BAD = WriteEntry(SLOT, "pointer_table", 0, 1 << 5)

    @pytest.mark.parametrize("bit", [1, 2, 5, 6, 7, 8, 40, 63])
    def test_reserved_bits_of_pdptes(
        self, perform: Perform, lines: Lines, rule_of: RuleOf, bit: int
    ) -> None:
        expectation = perform(WriteEntry(SLOT, "pointer_table", 0, 1 << bit), Reload())
        assert lines(expectation, 1) == [
            "fault operation=1 vector=general_protection error_code=0 cr2=0x5a5a5a5a eip=0xc01012c0"
            " esp=0xc0117000 cpl=0 stack=probe stack_number=0",
            "attempted operation=1 outcome=faulted value=0",
        ]
        assert rule_of(expectation, 1) == {"reserved bits are checked when PDPTEs are loaded"}

    @pytest.mark.parametrize("bit", [3, 4, 9, 10, 11])
    def test_bits_of_pdptes_that_mean_nothing_here(
        self, perform: Perform, lines: Lines, bit: int
    ) -> None:
        expectation = perform(WriteEntry(SLOT, "pointer_table", 0, 1 << bit), Reload())
        assert last(lines(expectation)) == "attempted outcome=done value=0"

    @pytest.mark.parametrize(
        ("operation", "symbol", "changes"),
        [
            # 4.4.1: MOV to CR4 loads the PDPTEs if it changes PSE or SMEP.
            (Control("page_size_extensions", True), "control_cr4", False),
            (Control("supervisor_execution", True), "control_cr4", False),
            (Control("page_size_extensions", False), "reload", False),
            (Control("supervisor_access", True), "reload", True),
            (Control("write_protect", False), "reload", True),
            (Control("no_execute", False), "reload", True),
        ],
    )
    def test_which_instruction_loads_them(
        self,
        perform: Perform,
        lines: Lines,
        layout: object,
        operation: Control,
        symbol: str,
        changes: bool,
    ) -> None:
        unchanged = perform().events[-2]
        expectation = perform(self.BAD, operation)
        eip = layout.symbols[f"fault_at_{symbol}"]  # type: ignore[attr-defined]
        assert f"eip={eip:#x} " in lines(expectation, 1)[0]
        assert (expectation.events[-2] != unchanged) == changes

    def test_loading_makes_them_count(self, perform: Perform, lines: Lines) -> None:
        expectation = perform(
            Map(SLOT),
            WriteEntry(SLOT, "pointer_table", 1),
            Probe(SLOT),
            Reload(),
            Probe(SLOT),
            WriteEntry(SLOT, "pointer_table", 0, 1),
            Probe(SLOT),
            Control("page_size_extensions", True),
            Probe(SLOT),
        )
        outcomes = ["outcome=done" in lines(expectation, number)[-1] for number in (2, 4, 6, 8)]
        assert outcomes == [True, False, False, True]
        assert "error_code=0 " in lines(expectation, 4)[0]

    def test_nothing_to_load_with_32_bit_paging(self, perform: Perform, rule_of: RuleOf) -> None:
        expectation = perform(Reload(), paging="legacy")
        assert rule_of(expectation, 0) == {"control register loaded"}
