"""Exceptions on purpose, software interrupts, segments, and the end of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from conformance.case.case import Case
from conformance.case.memory_map import MemoryMap, Region
from conformance.case.program import (
    Control,
    Count,
    Interrupt,
    Map,
    Operation,
    Probe,
    Raise,
    Reload,
    Rights,
    Segment,
    TripleFault,
)
from conformance.errors import ImageError
from conformance.observe.observation import Outcome
from conformance.observe.trace import Event, encode
from conformance.oracle.boot import Layout
from conformance.oracle.expect import expect
from conformance.oracle.expectation import Expectation
from conformance.protocol import PROTOCOL

Perform = Callable[..., Expectation]
Lines = Callable[..., list[str]]
MakeCase = Callable[..., Case]
RuleOf = Callable[[Expectation, int], set[str]]

SLOT = 0x40000000
ARENA = 0xC0400000
END = 0xC0117000

# Cause, vector, error code, rule: SDM vol. 3, 6.13 and 6.15. Selectors and vectors by the protocol.
RAISED = [
    ("divide_error", 0, 0, "divide error"),
    ("debug", 1, 0, "trap flag"),
    ("breakpoint", 3, 0, "breakpoint"),
    ("overflow", 4, 0, "overflow trap"),
    ("bound_range", 5, 0, "bound range"),
    ("invalid_opcode", 6, 0, "invalid opcode"),
    ("device_not_available", 7, 0, "device not available"),
    ("double_fault", 8, 0, "double fault: contributory exceptions"),
    ("short_task", 10, 0x38, "gate to a task with a short segment"),
    ("absent_gate", 11, 0x19A, "gate not present"),
    ("gate_beyond_limit", 13, 0x202, "gate beyond the IDT's limit"),
    ("absent_segment", 11, 0x40, "selector of an absent segment"),
    ("absent_stack", 12, 0x40, "selector of an absent stack segment"),
    ("selector_beyond_limit", 13, 0x60, "selector beyond the GDT's limit"),
    ("reserved_control_bit", 13, 0, "reserved bit of a control register"),
    ("privileged_instruction", 13, 0, "privileged instruction"),
    ("privileged_gate", 13, 0x6A, "gate privilege"),
    ("alignment_check", 17, 0, "alignment check"),
]
# The same of the causes that are an IRET.
RETURNS = [
    ("return_null_code", 13, 0, "IRET: null code segment"),
    ("return_code_beyond", 13, 0x60, "IRET: code selector beyond the GDT's limit"),
    ("return_data_as_code", 13, 0x10, "IRET: data segment as code segment"),
    ("return_absent_code", 11, 0x50, "IRET: absent code segment"),
    ("return_code_privilege", 13, 0x08, "IRET: privilege of the code segment"),
    ("return_null_stack", 13, 0, "IRET: null stack segment"),
    ("return_stack_privilege", 13, 0x10, "IRET: privilege of the stack segment"),
    ("return_code_as_stack", 13, 0x18, "IRET: code segment as stack segment"),
    ("return_absent_stack", 12, 0x58, "IRET: absent stack segment"),
    ("return_nested_task", 10, 0, "IRET: nested task that is none"),
]
OTHERS = ["return_inward", "return_unmapped"]
LONG = ["return_nowhere", "return_user_nowhere", "push_nowhere"]
"""What only 64-bit mode has."""


def fields(expectation: Expectation, kind: str) -> dict[str, int]:
    (event,) = (event for event in expectation.events if event.kind == kind)
    return dict(event.fields)


class TestRaise:
    def test_every_cause_is_here(self) -> None:
        rows = [row[0] for row in (*RAISED, *RETURNS)]
        assert sorted([*rows, *OTHERS, *LONG]) == sorted(PROTOCOL.enums["raise_cause"].values())

    @pytest.mark.parametrize(("cause", "vector", "error_code", "rule"), RAISED)
    def test_causes(
        self,
        perform: Perform,
        rule_of: RuleOf,
        layout: Layout,
        cause: str,
        vector: int,
        error_code: int,
        rule: str,
    ) -> None:
        user = cause in ("privileged_instruction", "privileged_gate", "alignment_check")
        expectation = perform(Raise(cause))
        symbols = layout.symbols
        eip = symbols[f"fault_at_{'user' if user else 'raise'}_{cause}"]
        if user:
            eip += 0x80000000 - symbols["user_code_start"]
        assert fields(expectation, "fault") == {
            "operation": 0,
            "vector": vector,
            "error_code": error_code,
            "cr2": 0x5A5A5A5A,
            "eip": eip,
            "esp": 0x80002000 if user else END,
            "cpl": 3 if user else 0,
            "stack": 2 if user else 1,
            "stack_number": 0,
        }
        assert fields(expectation, "attempted") == {"operation": 0, "outcome": 1, "value": 0}
        assert rule_of(expectation, 0) == {rule}

    @pytest.mark.parametrize(("cause", "vector", "error_code", "rule"), RETURNS)
    def test_returns(
        self,
        perform: Perform,
        rule_of: RuleOf,
        layout: Layout,
        cause: str,
        vector: int,
        error_code: int,
        rule: str,
    ) -> None:
        expectation = perform(Raise(cause))
        fault = fields(expectation, "fault")
        assert (fault["vector"], fault["error_code"]) == (vector, error_code)
        assert fault["eip"] == layout.symbols[f"fault_at_raise_{cause}"]
        assert (fault["esp"], fault["cpl"], fault["stack"]) == (END - 20, 0, 1)
        assert rule_of(expectation, 0) == {rule}

    def test_a_return_inward(self, perform: Perform, lines: Lines, layout: Layout) -> None:
        place = 0x80000000 - layout.symbols["user_code_start"]
        at = layout.symbols["fault_at_user_return_inward"] + place
        assert lines(perform(Raise("return_inward"))) == [
            f"fault operation=0 vector=general_protection error_code=8 cr2=0x5a5a5a5a eip={at:#x}"
            " esp=0x80001fec cpl=3 stack=user stack_number=0",
            "attempted operation=0 outcome=faulted value=0",
        ]
        # The user-mode stack has XD, which is a reserved bit now.
        expectation = perform(Control("no_execute", False), Raise("return_inward"))
        at = layout.symbols["fault_at_user_return_frame"] + place
        assert lines(expectation, 1)[0] == (
            f"fault operation=1 vector=page_fault error_code=15 cr2=0x80001ffc eip={at:#x}"
            " esp=0x80002000 cpl=3 stack=user stack_number=0"
        )

    @pytest.mark.parametrize(("paging", "code"), [("pae", 20), ("legacy", 4)])
    def test_a_return_to_no_page(
        self, perform: Perform, lines: Lines, rule_of: RuleOf, paging: str, code: int
    ) -> None:
        expectation = perform(Raise("return_unmapped"), paging=paging)
        assert lines(expectation)[0] == (
            f"fault operation=0 vector=page_fault error_code={code} cr2=0x80002000 eip=0x80002000"
            " esp=0x80002000 cpl=3 stack=user stack_number=0"
        )
        assert rule_of(expectation, 0) == {"entry not present"}

    @pytest.mark.parametrize("cause", LONG)
    def test_what_only_64_bit_mode_has(self, perform: Perform, lines: Lines, cause: str) -> None:
        assert lines(perform(Raise(cause))) == ["rejected operation=0 reason=no_feature"]

    def test_only_page_faults_change_cr2(self, perform: Perform, lines: Lines) -> None:
        expectation = perform(
            Probe(SLOT + 5, "read", 1),
            Raise("divide_error"),
            Raise("double_fault"),
        )
        assert "cr2=0x40000005 " in lines(expectation, 0)[0]
        assert "cr2=0x5a5a5a5a " in lines(expectation, 1)[0]
        assert "cr2=0x5a5a5a5a " in lines(expectation, 2)[0]


class TestInterrupt:
    @pytest.mark.parametrize(
        "vector", [n for n in range(32) if n not in (8, *range(10, 15), 17, 21)]
    )
    def test_vectors(self, perform: Perform, rule_of: RuleOf, layout: Layout, vector: int) -> None:
        expectation = perform(Interrupt(vector))
        assert fields(expectation, "fault") == {
            "operation": 0,
            "vector": vector,
            "error_code": 0,
            "cr2": 0x5A5A5A5A,
            "eip": layout.symbols[f"fault_at_interrupt_{vector}"],
            "esp": END,
            "cpl": 0,
            "stack": 1,
            "stack_number": 0,
        }
        assert rule_of(expectation, 0) == {"software interrupt"}

    @pytest.mark.parametrize("vector", [8, 10, 11, 12, 13, 14, 17, 21, 32, 255])
    def test_rejections(self, perform: Perform, lines: Lines, vector: int) -> None:
        assert lines(perform(Interrupt(vector))) == ["rejected operation=0 reason=bad_vector"]


def inside(limit: int, offset: int, size: int, expand_down: bool) -> bool:
    """Byte by byte: an expand-down segment is what lies above its limit (5.3)."""
    offsets = range(offset, offset + size)
    return all((each > limit) if expand_down else (each <= limit) for each in offsets)


class TestSegment:
    @pytest.mark.parametrize("expand_down", [False, True])
    @pytest.mark.parametrize("size", [1, 2, 4])
    @pytest.mark.parametrize("limit", [0, 0x0FFE, 0x0FFF, 0x1000, 0x1001, 0x1002, 0x1003, 0xFFFFF])
    def test_limits(
        self,
        perform: Perform,
        lines: Lines,
        rule_of: RuleOf,
        limit: int,
        size: int,
        expand_down: bool,
    ) -> None:
        offset = 0x1000
        operation = Segment("fs", offset, ARENA, limit, "write", size, expand_down)
        expectation = perform(operation)
        if inside(limit, offset, size, expand_down):
            assert lines(expectation) == ["attempted operation=0 outcome=done value=0"]
            assert rule_of(expectation, 0) == {"access permitted"}
        else:
            assert "vector=general_protection error_code=0 cr2=0x5a5a5a5a " in lines(expectation)[0]
            assert f"esp={END:#x} cpl=0 stack=probe" in lines(expectation)[0]
            assert rule_of(expectation, 0) == {"segment limit"}

    def test_the_limit_comes_before_the_page(self, perform: Perform, lines: Lines) -> None:
        assert "general_protection" in lines(perform(Segment("fs", 8, SLOT, 4)))[0]
        fault = lines(perform(Segment("fs", 8, SLOT, 0xFFF, "write", 2)))[0]
        assert "vector=page_fault error_code=2 cr2=0x40000008 " in fault

    def test_it_reads_and_writes_the_arena(self, perform: Perform, lines: Lines) -> None:
        expectation = perform(
            Map(SLOT, 1),
            Segment("fs", 0x1008, ARENA, 0xFFFFF, "write", 4),
            Probe(SLOT + 8),
            Segment("ss", ARENA + 0x100A, 0, 0xFFFFFFFF, "read", 2),
            Segment("fs", 0x10, SLOT - 8, 0xFF, "read", 1),
        )
        assert [each.split("value=")[1] for each in lines(expectation)[1:]] == [
            "0",
            "0xc32e2e2e",
            str(0xC32E),
            str(0x2E),
        ]

    @pytest.mark.parametrize(
        ("operation", "reason"),
        [
            (Segment("fs", 0, 0, 1 << 20, "execute", 3), "bad_value"),
            (Segment("fs", 0, 0, 1 << 20, "read", 3), "bad_size"),
            (Segment("fs", 0, 0, 1 << 20), "bad_segment"),
            (Segment("fs", 0, 0, 0x100FFE), "bad_segment"),
            (Segment("ss", 0, 1), "bad_segment"),
            (Segment("ss", 0, 0, 0xC03FFFFF), "bad_segment"),
            (Segment("ss", 0, 0, 0xFFFFFFFF, "read", 4, True), "bad_segment"),
            (Segment("fs", 0, 0, 0x100FFF), "bad_address"),
            (Segment("ss", 0, 0, 0xD0000FFF), "bad_address"),
            (Segment("fs", 0x7FFD, ARENA), "bad_address"),
            (Segment("fs", 0x7FFD, SLOT), "bad_address"),
            (Segment("fs", 0, ARENA - 1), "bad_address"),
            (Segment("fs", 0, 0xD0001000), "bad_address"),
        ],
    )
    def test_rejections(
        self, perform: Perform, lines: Lines, operation: Segment, reason: str
    ) -> None:
        assert lines(perform(operation)) == [f"rejected operation=0 reason={reason}"]

    def test_base_and_offset_wrap(self, perform: Perform, lines: Lines) -> None:
        expectation = perform(Map(SLOT), Segment("fs", 0xF0000000, SLOT + 0x10000008, 0xFFFFFFFF))
        assert lines(expectation, 1)[0].endswith("value=0xc3c3c3c3")

    def test_supervisor_access_prevention_counts(
        self, perform: Perform, lines: Lines, rule_of: RuleOf
    ) -> None:
        operations = (
            Map(SLOT, 0, Rights.USER),
            Control("supervisor_access", True),
            Segment("fs", 0, SLOT),
        )
        expectation = perform(*operations)
        assert rule_of(expectation, 2) == {"SMAP"}


class TestTheEnd:
    def test_a_triple_fault(self, perform: Perform, lines: Lines) -> None:
        expectation = perform(Reload(), TripleFault(), Count(), state=("page_tables",))
        assert expectation.outcome is Outcome.TRIPLE_FAULT
        assert lines(expectation) == ["attempted operation=0 outcome=done value=0"]
        assert expectation.events[-1].kind == "attempted"
        assert expectation.state == ()

    def test_rules_are_of_the_events_at_their_index(self, perform: Perform) -> None:
        operations: list[Operation] = [Probe(SLOT), Map(SLOT), Probe(SLOT), Count(), Reload()]
        expectation = perform(*operations)
        ruled = [index for index, _ in sorted(expectation.rules.items())]
        kinds = ("fault", "attempted", "entry_read")
        assert ruled == [
            index for index, event in enumerate(expectation.events) if event.kind in kinds
        ]
        assert all(rule.source.startswith("SDM vol. 3, ") for rule in expectation.rules.values())
        assert not any(set(rule.name) & set("0456789") for rule in expectation.rules.values())

    def test_the_trace_buffer_can_be_full_between_fault_and_attempted(
        self, perform: Perform, make_case: MakeCase, layout_with_trace: Callable[[int], Layout]
    ) -> None:
        operations = (Probe(SLOT), TripleFault())
        whole = perform(*operations)
        panic = Event("panic", {"reason": PROTOCOL.code("panic_reason", "trace_full"), "detail": 0})
        room = len(encode((*whole.events[:-1], panic)))
        memory_map = MemoryMap((Region(0x1000000, 0x10000),))
        case = make_case(memory_map, *operations, cpu="broadwell", paging="pae", stacks=4)
        expectation = expect(case, layout_with_trace(PROTOCOL.trace_header.size + room))
        assert expectation.outcome is Outcome.PANICKED
        assert [event.kind for event in expectation.events[-2:]] == ["fault", "panic"]
        assert max(expectation.rules) == len(expectation.events) - 2


def test_an_image_without_the_symbols_is_refused(make_case: MakeCase, layout: Layout) -> None:
    symbols = {name: place for name, place in layout.symbols.items() if name != "probe_stack_end"}
    old = replace(layout, symbols=symbols)  # type: ignore[type-var]
    with pytest.raises(ImageError, match="no symbol 'probe_stack_end'"):
        expect(make_case(None), old)
