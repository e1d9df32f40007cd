"""What a probe does: where it faults, what it reads, and by which rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conformance.case.program import (
    Control,
    Map,
    Operation,
    Probe,
    Protect,
    ReadEntry,
    Rights,
    Unmap,
    WriteEntry,
)
from conformance.observe.observation import StateDigest
from conformance.oracle.boot import Layout
from conformance.oracle.expectation import Expectation
from conformance.protocol import PROTOCOL

Perform = Callable[..., Expectation]
Lines = Callable[..., list[str]]
RuleOf = Callable[[Expectation, int], set[str]]

SLOT = 0x40000000
W, U, X, LARGE = Rights.WRITABLE, Rights.USER, Rights.NO_EXECUTE, Rights.LARGE_PAGE
NONE = Rights(0)
KERNEL = 0xC0100010


class TestFaults:
    def test_in_ring_0(self, perform: Perform, lines: Lines, rule_of: RuleOf) -> None:
        expectation = perform(Probe(SLOT + 5, "write", 2))
        assert lines(expectation) == [
            "fault operation=0 vector=page_fault error_code=2 cr2=0x40000005 eip=0xc0101040"
            " esp=0xc0117000 cpl=0 stack=probe stack_number=0",
            "attempted operation=0 outcome=faulted value=0",
        ]
        assert rule_of(expectation, 0) == {"entry not present"}

    def test_in_ring_3(self, perform: Perform, lines: Lines, rule_of: RuleOf) -> None:
        expectation = perform(Map(SLOT), Probe(SLOT, "read", 4, 3))
        assert lines(expectation, 1)[0] == (
            "fault operation=1 vector=page_fault error_code=5 cr2=0x40000000 eip=0x80000090"
            " esp=0x80002000 cpl=3 stack=user stack_number=0"
        )
        assert rule_of(expectation, 1) == {"supervisor page, user access"}

    @pytest.mark.parametrize("ring", [0, 3])
    @pytest.mark.parametrize("through", ["stack", "frame"])
    def test_through_ss(
        self, perform: Perform, lines: Lines, layout: Layout, ring: int, through: str
    ) -> None:
        operations = (Map(SLOT, 1, U), Probe(SLOT + 4, "read", 4, ring, through=through))
        (attempted,) = lines(perform(*operations), 1)
        assert attempted == "attempted operation=1 outcome=done value=0x2626262e"
        operations = (Map(SLOT, 1, U), Probe(SLOT + 4, "write", 2, 3, through=through))
        (fault, _) = lines(perform(*operations), 1)
        at = layout.symbols[f"fault_at_user_{through}_write_2"]
        at += 0x80000000 - layout.symbols["user_code_start"]
        assert f"vector=page_fault error_code=7 cr2=0x40000004 eip={at:#x} " in fault

    @pytest.mark.parametrize(
        ("operation", "reason"),
        [
            (Probe(0, "execute", 3, 1, through="stack"), "bad_value"),
            (Probe(0, "execute", 3, 1, through="frame"), "bad_value"),
            (Probe(SLOT, "read", 8), "bad_size"),
            # Only 64-bit mode has addresses that are not canonical.
            (Probe(1 << 47), "bad_address"),
            (Probe(1 << 63, "execute"), "bad_address"),
        ],
        ids=str,
    )
    def test_what_is_not_done(
        self, perform: Perform, lines: Lines, operation: Probe, reason: str
    ) -> None:
        assert lines(perform(operation)) == [f"rejected operation=0 reason={reason}"]

    @pytest.mark.parametrize(
        ("ring", "esp", "code"), [(0, "0xc0116ffc", 16), (3, "0x80001ffc", 20)]
    )
    def test_of_a_fetch_the_call_has_been_pushed(
        self, perform: Perform, lines: Lines, ring: int, esp: str, code: int
    ) -> None:
        (fault, _) = lines(perform(Probe(SLOT + 7, "execute", 1, ring)))
        assert f"error_code={code} cr2=0x40000007 eip=0x40000007 esp={esp}" in fault

    @pytest.mark.parametrize(
        ("set_up", "access", "ring", "code", "rule"),
        [
            ([], "read", 0, 0, "entry not present"),
            ([WriteEntry(SLOT, "page_directory", 1)], "read", 3, 4, "entry not present"),
            ([Map(SLOT, 0, NONE)], "write", 0, 3, "read-only page"),
            ([Map(SLOT, 0, U)], "write", 3, 7, "read-only page"),
            (
                [Map(SLOT, 0, U | W), WriteEntry(SLOT, "page_directory", 2)],
                "write",
                3,
                7,
                "read-only page",
            ),
            ([Map(SLOT, 0, U | X)], "execute", 3, 21, "execute-disable"),
            (
                [Map(SLOT, 0, U), Control("supervisor_execution", True)],
                "execute",
                0,
                17,
                "SMEP",
            ),
            ([Map(SLOT, 0, U | W), Control("supervisor_access", True)], "write", 0, 3, "SMAP"),
            (
                [Map(SLOT), WriteEntry(SLOT, "page_table", 0, 1 << 51)],
                "read",
                0,
                9,
                "reserved bit set in an entry",
            ),
            (
                [Map(SLOT, 0, LARGE), WriteEntry(SLOT, "page_directory", 0, 1 << 13)],
                "write",
                3,
                15,
                "reserved bit set in an entry",
            ),
            (
                [Map(SLOT, 0, X), Control("no_execute", False)],
                "execute",
                0,
                9,
                "reserved bit set in an entry",
            ),
            (
                [WriteEntry(SLOT, "pointer_table", 1)],
                "read",
                0,
                0,
                "PDPTE registers",
            ),
        ],
    )
    def test_rules(
        self,
        perform: Perform,
        lines: Lines,
        rule_of: RuleOf,
        set_up: list[Operation],
        access: str,
        ring: int,
        code: int,
        rule: str,
    ) -> None:
        number = len(set_up)
        expectation = perform(*set_up, Probe(SLOT, access, 1, ring))
        assert rule_of(expectation, number) == {rule}
        events = lines(expectation, number)
        if rule == "PDPTE registers":
            # Without a reload the register still holds the present entry: the PTE is absent.
            assert "error_code=0 " in events[0]
        else:
            assert f"vector=page_fault error_code={code} " in events[0]

    @pytest.mark.parametrize(
        ("set_up", "access", "check", "rule"),
        [
            ([Map(SLOT, 0, U)], "execute", False, "access permitted"),
            ([Map(SLOT), Control("write_protect", False)], "write", False, "CR0.WP clear"),
            (
                [Map(SLOT, 0, U | W), Control("supervisor_access", True)],
                "write",
                True,
                "EFLAGS.AC lifts SMAP",
            ),
            ([Map(SLOT), WriteEntry(SLOT, "pointer_table", 1)], "read", False, "PDPTE registers"),
            (
                [Map(SLOT), WriteEntry(SLOT, "pointer_table", 0, 1 << 5)],
                "read",
                False,
                "PDPTE registers",
            ),
            (
                [Map(SLOT), WriteEntry(SLOT, "pointer_table", 0, 1 << 9)],
                "read",
                False,
                "access permitted",
            ),
        ],
    )
    def test_rules_of_what_is_allowed(
        self,
        perform: Perform,
        lines: Lines,
        rule_of: RuleOf,
        set_up: list[Operation],
        access: str,
        check: bool,
        rule: str,
    ) -> None:
        number = len(set_up)
        expectation = perform(*set_up, Probe(SLOT, access, 1, 0, check))
        assert "outcome=done" in lines(expectation, number)[0]
        assert rule_of(expectation, number) == {rule}

    def test_xd_and_nxe_mean_nothing_with_32_bit_paging(
        self, perform: Perform, lines: Lines
    ) -> None:
        expectation = perform(Probe(SLOT, "execute", 1), paging="legacy")
        assert "error_code=0 " in lines(expectation)[0]


class TestTwoPages:
    """Of 4 bytes, 2 in each page."""

    ADDRESS = SLOT + 0xFFE

    @pytest.mark.parametrize(
        ("mapped", "cr2", "code"),
        [
            ([], "0x40000ffe", 2),
            ([1], "0x40000ffe", 2),
            ([0], "0x40001000", 2),
        ],
    )
    def test_the_first_byte_in_the_page_that_faults(
        self, perform: Perform, lines: Lines, mapped: list[int], cr2: str, code: int
    ) -> None:
        maps = [Map(SLOT + 4096 * page, page, W) for page in mapped]
        expectation = perform(*maps, Probe(self.ADDRESS, "write"))
        assert f"error_code={code} cr2={cr2} " in lines(expectation, len(maps))[0]

    def test_a_write_that_faults_changes_nothing(self, perform: Perform, lines: Lines) -> None:
        expectation = perform(
            Map(SLOT, 2, W), Map(SLOT + 4096, 3), Probe(self.ADDRESS, "write"), Probe(SLOT + 0xFFC)
        )
        assert "error_code=3 cr2=0x40001000 " in lines(expectation, 2)[0]
        assert "value=0x2e2e2ec3" in lines(expectation, 3)[0]

    def test_a_write_goes_to_both(self, perform: Perform, lines: Lines) -> None:
        expectation = perform(
            Map(SLOT, 2, W),
            Map(SLOT + 4096, 6, W),
            Probe(self.ADDRESS, "write"),
            Probe(SLOT + 0xFFC),
            Probe(SLOT + 0x1000),
        )
        # C3 2E 2E 2E, of which the last two are written again; 2E C3 C3 C3.
        assert "value=0x2e2e2ec3" in lines(expectation, 3)[0]
        assert "value=0xc3c3c32e" in lines(expectation, 4)[0]

    def test_a_fetch_reaches_into_the_next_page(self, perform: Perform, lines: Lines) -> None:
        fault, _ = lines(perform(Map(SLOT), Probe(SLOT + 0xFFD, "execute", 1)), 1)
        assert "error_code=16 cr2=0x40001000 eip=0x40000ffd esp=0xc0116ffc" in fault
        done = lines(perform(Map(SLOT), Map(SLOT + 4096), Probe(SLOT + 0xFFD, "execute", 1)), 2)
        assert done == ["attempted operation=2 outcome=done value=0"]
        at_the_return = lines(perform(Map(SLOT), Probe(SLOT + 0xFFC, "execute", 1)), 1)
        assert at_the_return == ["attempted operation=1 outcome=done value=0"]


class TestContent:
    @pytest.mark.parametrize(
        ("frame", "word"), [(0, 0x26262626), (1, 0x2626262E), (5, 0x26262E2E), (7, 0x26262E3E)]
    )
    def test_each_frame_has_its_number(
        self, perform: Perform, lines: Lines, frame: int, word: int
    ) -> None:
        expectation = perform(Map(SLOT + 0x2000, frame), Probe(SLOT + 0x2004))
        assert lines(expectation, 1) == [f"attempted operation=1 outcome=done value={word:#x}"]

    @pytest.mark.parametrize(("size", "value"), [(1, "195"), (2, "50115"), (4, "0xc3c3c3c3")])
    def test_a_read_is_of_its_size(
        self, perform: Perform, lines: Lines, size: int, value: str
    ) -> None:
        expectation = perform(Map(SLOT), Probe(SLOT + 8, "read", size))
        assert lines(expectation, 1)[0].endswith(f"value={value}")

    @pytest.mark.parametrize(("size", "word"), [(1, 0xC3C3C3C3), (2, 0xC3C3C32E), (4, 0xC32E2E2E)])
    def test_a_write_is_of_its_size(
        self, perform: Perform, lines: Lines, size: int, word: int
    ) -> None:
        expectation = perform(Map(SLOT, 1, W), Probe(SLOT + 8, "write", size), Probe(SLOT + 8))
        assert lines(expectation, 2)[0].endswith(f"value={word:#x}")

    def test_frames_are_the_same_wherever_they_are_mapped(
        self, perform: Perform, lines: Lines
    ) -> None:
        expectation = perform(
            Map(SLOT, 3, W), Probe(SLOT + 8, "write"), Map(0x40400000, 0, LARGE), Probe(0x40403008)
        )
        assert lines(expectation, 3)[0].endswith("value=0xc32e2e2e")

    def test_it_shows_in_the_digest(self, perform: Perform) -> None:
        content = bytearray(b"\xc3" * 0x8000)
        for number in range(8):
            digits = number % 4, number // 4, 0, 0
            content[4096 * number + 4 : 4096 * number + 8] = (
                b"\x26\x2e\x36\x3e"[d] for d in digits
            )
            if number < 7:
                content[4096 * number + 4093 : 4096 * number + 4096] = b"\x2e\x2e\x2e"
        region = PROTOCOL.state_regions["probe_arena"]
        assert perform(state=("probe_arena",)).state == (StateDigest.of(region, bytes(content)),)
        content[0x3010:0x3014] = b"\x2e\x2e\x2e\xc3"
        changed = perform(Map(SLOT, 3, W), Probe(SLOT + 16, "write"), state=("probe_arena",))
        assert changed.state == (StateDigest.of(region, bytes(content)),)

    def test_any_byte_can_be_executed(self, perform: Perform, lines: Lines) -> None:
        near_edges = [4096 * frame + offset for frame in range(1, 8) for offset in range(-5, 9)]
        offsets = [*range(9), *near_edges, *range(0x7FF8, 0x8000)]
        probes = [Probe(SLOT + offset, "execute", 1) for offset in offsets]
        events = lines(perform(Map(SLOT, 0, LARGE), *probes))[1:]
        assert all("outcome=done" in event for event in events)
        assert len(events) == len(probes)

    def test_an_instruction_has_at_most_15_bytes(
        self, perform: Perform, lines: Lines, rule_of: RuleOf
    ) -> None:
        # Each write replaces the return of the one before it by a prefix.
        writes = [Probe(SLOT + 64 + 3 * number, "write") for number in range(5)]
        expectation = perform(
            Map(SLOT, 0, W),
            *writes,
            Probe(SLOT + 64, "execute", 1),
            Probe(SLOT + 65, "execute", 1),
        )
        assert (
            "vector=general_protection error_code=0 cr2=0x5a5a5a5a eip=0x40000040"
            in (lines(expectation, 6)[0])
        )
        assert rule_of(expectation, 6) == {"instruction length"}
        assert "outcome=done" in lines(expectation, 7)[0]


class TestElsewhere:
    def test_the_user_mode_stack_of_a_call(self, perform: Perform, lines: Lines) -> None:
        """Its page has XD set, which is reserved once NXE is off; ring 0 has another stack."""
        off = Control("no_execute", False)
        fault, _ = lines(perform(Map(SLOT, 0, U), off, Probe(SLOT, "execute", 1, 3)), 2)
        assert "error_code=15 cr2=0x80001ffc eip=" in fault
        assert "esp=0x80002000" in fault
        assert "outcome=done" in lines(perform(Map(SLOT), off, Probe(SLOT, "execute", 1)), 2)[0]

    def test_stacks(self, perform: Perform, lines: Lines) -> None:
        def first(address: int, access: str, size: int, ring: int = 0) -> str:
            return lines(perform(Probe(address, access, size, ring), stacks=2))[0]

        assert "error_code=0 cr2=0xd0000ffc" in first(0xD0000FFC, "read", 4)
        assert "error_code=2 cr2=0xd0000ffe" in first(0xD0000FFE, "write", 4)
        assert "error_code=2 cr2=0xd0002000" in first(0xD0001FFE, "write", 4)
        assert "error_code=6 cr2=0xd0002000" in first(0xD0002000, "write", 4, 3)
        assert "error_code=5 cr2=0xd0001000" in first(0xD0001000, "read", 4, 3)
        # What is on a stack is not told.
        assert first(0xD0001000, "read", 4) == "attempted operation=0 outcome=done value=0"
        assert first(0xD0003FFC, "write", 4) == "attempted operation=0 outcome=done value=0"
        assert first(0xD0001000, "execute", 4) == "rejected operation=0 reason=bad_address"
        assert first(0xD0003FFD, "read", 4) == "rejected operation=0 reason=bad_address"
        assert first(0xCFFFFFFF, "read", 1) == "rejected operation=0 reason=bad_address"

    def test_the_kernel(self, perform: Perform, lines: Lines) -> None:
        def first(address: int, access: str, size: int, ring: int = 0) -> str:
            return lines(perform(Probe(address, access, size, ring)))[0]

        assert first(KERNEL, "read", 4) == "attempted operation=0 outcome=done value=0"
        assert "error_code=5 " in first(KERNEL, "read", 4, 3)
        assert "error_code=7 " in first(KERNEL + 4092, "write", 4, 3)
        assert f"error_code=21 cr2={KERNEL:#x} eip={KERNEL:#x} esp=0x80001ffc" in first(
            KERNEL, "execute", 1, 3
        )
        for address, access, size, ring in (
            (KERNEL, "write", 1, 0),
            (KERNEL, "execute", 1, 0),
            (KERNEL - 1, "read", 1, 3),
            (KERNEL + 4093, "read", 4, 3),
        ):
            assert first(address, access, size, ring) == "rejected operation=0 reason=bad_address"

    @pytest.mark.parametrize(
        ("probe", "reason"),
        [
            (Probe(0, "read", 3, 1), "bad_size"),
            (Probe(0, "read", 0), "bad_size"),
            (Probe(0, "read", 4, 1), "bad_ring"),
            (Probe(SLOT - 1, "read", 1), "bad_address"),
            (Probe(SLOT + 0x7FFD, "read", 4), "bad_address"),
            (Probe(SLOT + 0x8000, "read", 1), "bad_address"),
            (Probe(SLOT + 0x3FFFFE, "read", 4), "bad_address"),
            (Probe(SLOT + 0x800000, "read", 1), "bad_address"),
            (Probe(0x80000000, "read", 1, 3), "bad_address"),
        ],
    )
    def test_rejections(self, perform: Perform, lines: Lines, probe: Probe, reason: str) -> None:
        assert lines(perform(probe)) == [f"rejected operation=0 reason={reason}"]

    def test_the_last_byte_of_a_slot(self, perform: Perform, lines: Lines) -> None:
        assert "cr2=0x40407fff" in lines(perform(Probe(0x40407FFF, "read", 1)))[0]


class TestFlags:
    """Accessed and dirty flags, as they are read back."""

    A, D = 0x20, 0x40

    @pytest.mark.parametrize("paging", ["legacy", "pae"])
    @pytest.mark.parametrize(("access", "dirty"), [("read", 0), ("execute", 0), ("write", 0x40)])
    def test_a_small_page(self, perform: Perform, paging: str, access: str, dirty: int) -> None:
        expectation = perform(
            Map(SLOT, 1, W),
            ReadEntry(SLOT, "page_table"),
            Probe(SLOT, access, 1),
            ReadEntry(SLOT, "page_table"),
            ReadEntry(SLOT, "page_directory"),
            paging=paging,
        )
        before, after, directory = values(expectation)
        assert before == 0x401003
        assert after == before | self.A | dirty
        assert directory & 0xFFF == 0x27
        assert expectation.choices == ()

    def test_a_large_page(self, perform: Perform) -> None:
        expectation = perform(
            Map(SLOT, 0, W | U | LARGE),
            Probe(SLOT, "write", 1, 3),
            ReadEntry(SLOT, "page_directory"),
            Unmap(SLOT),
            ReadEntry(SLOT, "page_directory"),
        )
        large, table = values(expectation)
        assert large == 0x400087 | self.A | self.D
        assert table == 0x130000 + 17 * 4096 | 7

    def test_the_pointer_table_has_none(self, perform: Perform, rule_of: RuleOf) -> None:
        expectation = perform(Map(SLOT), Probe(SLOT), ReadEntry(SLOT, "pointer_table"))
        assert values(expectation) == [0x132001]
        assert rule_of(expectation, 2) == {"PDPTE has no accessed flag"}

    def test_protection_keeps_them(self, perform: Perform) -> None:
        expectation = perform(
            Map(SLOT, 1, W),
            Probe(SLOT, "write"),
            Protect(SLOT, U | X),
            ReadEntry(SLOT, "page_table"),
        )
        assert values(expectation) == [0x401005 | self.A | self.D | 1 << 63]


def values(expectation: Expectation) -> list[int]:
    return [each.fields["value"] for each in expectation.events if each.kind == "entry_read"]
