"""Signatures: one for each cause, the same for each of its instances."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from conformance.case.program import Allocate, AllocateRun, Free, Program
from conformance.judge.blame import judge
from conformance.judge.compare import Compared, Difference, How, compare_events
from conformance.judge.signature import signature
from conformance.observe.observation import Outcome
from conformance.observe.trace import Event
from conformance.oracle.expectation import Expectation, Rule
from conformance.protocol import PROTOCOL, Comparison


def named(world, left, right):
    return signature("kernel", compare_events(left, right), world.case)


def test_fields_that_differ(world):
    wrong = world.changed("pass", 3, free_frames=159)
    assert named(world, world.events, wrong) == (
        "kernel: pass[first_frame].free_frames higher (legacy)"
    )
    wrong = world.changed("allocated", frame=0, count=2)
    assert named(world, world.events, wrong) == (
        "kernel: allocated.frame lower, count higher after allocate (legacy)"
    )


def test_another_kind(world):
    index = world.index("allocation_failed")
    wrong = world.replaced(index, Event("allocated", {"operation": 1, "frame": 7, "count": 1}))
    assert named(world, world.events, wrong) == (
        "kernel: allocated instead of allocation_failed after allocate_run (legacy)"
    )


def test_another_key_is_another_event(world):
    code = PROTOCOL.code("allocator_pass", "module")
    wrong = world.changed("reserved", **{"pass": code, "first": 9})
    assert named(world, world.events, wrong) == (
        "kernel: reserved[module] instead of reserved[first_frame] (legacy)"
    )


def test_an_event_that_is_missing_or_extra(world):
    index = world.index("reserved")
    without = world.events[:index] + world.events[index + 1 :]
    assert named(world, world.events, without) == (
        "kernel: pass[first_frame] instead of reserved[first_frame] (legacy)"
    )
    assert named(world, world.events, world.events[:11]) == (
        "kernel: allocation_failed missing after allocate_run (legacy)"
    )
    assert named(world, world.events[:13], world.events) == (
        "kernel: free_range extra after dump (legacy)"
    )


def test_a_value_without_a_name_is_not_its_number(world):
    wrong = world.changed("reserved", **{"pass": 201})
    assert named(world, world.events, wrong) == (
        "kernel: reserved[unknown] instead of reserved[first_frame] (legacy)"
    )


def test_an_operation_that_is_not_in_the_program(world):
    wrong = world.changed("allocated", operation=900)
    named_left = named(world, world.events, wrong)
    assert named_left == "kernel: allocated.operation higher after allocate (legacy)"
    assert named(world, wrong, world.events) == (
        "kernel: allocated.operation lower after allocate (legacy)"
    ), "of the two events, the one whose operation there is"


@pytest.mark.parametrize("name", ["qemü\n", "qemu"])
def test_printable_ascii(world, name):
    difference = Difference(Compared.OUTCOME, How.FIELDS, outcomes=(Outcome.COMPLETED,) * 2)
    text = signature(name, difference, world.case)
    assert text.isascii() and text.isprintable()


@given(data=st.data())
def test_two_instances_of_one_cause_have_one_signature(world, data):
    """The same defect, elsewhere in the program and with other numbers."""

    def instance():
        before = data.draw(st.integers(0, 3))
        frame = data.draw(st.integers(1, 1 << 19))
        count = data.draw(st.integers(1, 1 << 10))
        shift = data.draw(st.integers(1, 1 << 10))
        operations = [Allocate()] * before + [AllocateRun(count), Free(before)]
        right = [
            Event("allocated", {"operation": number, "frame": number, "count": 1})
            for number in range(before)
        ]
        run = Event("allocated", {"operation": before, "frame": frame, "count": count})
        wrong = replace(run, fields={**run.fields, "frame": frame + shift})
        case = replace(world.case, program=Program(tuple(operations)))
        expectation = Expectation(Outcome.COMPLETED, (*right, run))
        backends = ("bochs", "qemu")
        observed = [world.observe(name, (*right, wrong), state=()) for name in backends]
        return judge(case, lambda _: expectation, observed).signature

    assert instance() == instance() == "kernel: allocated.frame higher after allocate_run (legacy)"


@given(data=st.data())
def test_a_signature_holds_no_number_of_the_instance(world, data):
    """Whatever an unkeyed, unmasked number is changed by, in one direction: one signature."""
    index = data.draw(st.integers(0, len(world.events) - 1))
    event = world.events[index]
    fields = [
        each
        for each in PROTOCOL.events[event.kind].layout.fields
        if each.mask is None
        and each.enum is None
        and not each.as_bits
        and each.comparison is not Comparison.IGNORED
    ]
    assume(fields)
    field = data.draw(st.sampled_from(fields))
    value = event.fields[field.name]
    top = (1 << field.bits) - 1
    values = st.integers(0, value - 1) if value == top else st.integers(value + 1, top)
    found = {
        named(
            world,
            world.events,
            world.replaced(
                index, replace(event, fields={**event.fields, field.name: data.draw(values)})
            ),
        )
        for _ in range(2)
    }
    assert len(found) == 1


RESERVED = Rule("reserved bit set in an entry", "SDM vol. 3, 4.7")


def ruled(world, right, wrong, rule=RESERVED, culprits=("qemu",), case=None):
    """The signature where a rule decides the first event that differs."""
    index = compare_events(right, wrong).index
    expectation = replace(world.expectation, events=right, rules={index: rule})
    others = [world.observe(name, right) for name in ("bochs", "unicorn")]
    observed = [world.observe(name, wrong) for name in culprits]
    return judge(case or world.case, lambda _: expectation, [*observed, *others]).signature


FAULT_FIELDS = {
    "error_code": (8, "error_code bits-0x1"),
    "cr2": (0, "cr2"),
    "eip": (0xC0101230, "eip"),
    "esp": (1, "esp"),
    "cpl": (3, "cpl"),
    "stack": (0, "stack"),
}


@pytest.mark.parametrize("name", FAULT_FIELDS)
def test_a_rule_takes_the_place_of_operation_and_paging(world, name):
    value, words = FAULT_FIELDS[name]
    wrong = world.changed("fault", **{name: value})
    expected = f"qemu: fault.{words}: reserved bit set in an entry"
    assert ruled(world, world.events, wrong) == expected


def test_of_a_fault_the_first_field_names_the_cause(world):
    wrong = world.changed("fault", error_code=8, cr2=0, esp=1, stack=0)
    assert ruled(world, world.events, wrong) == (
        "qemu: fault.error_code bits-0x1: reserved bit set in an entry"
    )


def test_another_vector_is_another_cause(world):
    limit = Rule("segment limit", "SDM vol. 3, 5.3")
    right = world.changed("fault", vector=12, error_code=0, cr2=0)
    wrong = world.changed("fault", vector=13, error_code=0, cr2=0)
    assert ruled(world, right, wrong, limit) == (
        "qemu: fault[general_protection] instead of fault[stack_segment]: segment limit"
    )


def test_a_page_fault_in_the_place_of_another_is_a_check_that_was_not_made(world):
    """The same cause whether or not there is a page behind the limit."""
    limit = Rule("segment limit", "SDM vol. 3, 5.3")
    right = world.changed("fault", vector=13, error_code=0, cr2=0)
    index = world.index("fault")
    without = right[:index] + right[index + 1 :]
    for wrong in (world.events, without):
        assert ruled(world, right, wrong, limit) == "qemu: fault or none: segment limit"


def test_a_fault_or_none_is_one_cause_in_both_directions(world):
    index = world.index("fault")
    without = world.events[:index] + world.events[index + 1 :]
    for right, wrong in ((world.events, without), (without, world.events)):
        assert ruled(world, right, wrong) == "qemu: fault or none: reserved bit set in an entry"


@pytest.mark.parametrize("fields", [{"outcome": 0}, {"value": 7}, {"outcome": 0, "value": 7}])
def test_what_an_attempt_gave_is_one_cause(world, fields):
    wrong = world.changed("attempted", **fields)
    assert ruled(world, world.events, wrong) == (
        "qemu: attempted.value: reserved bit set in an entry"
    )


def test_an_entry_keeps_its_level_and_its_bits(world):
    level = PROTOCOL.code("paging_level", "pointer_table")
    right = world.changed("entry_read", level=level)
    value = right[world.index("entry_read")].fields["value"]
    index = world.index("entry_read")
    wrong = list(right)
    wrong[index] = Event("entry_read", {**right[index].fields, "value": value ^ 0x40})
    rule = Rule("accessed flag", "SDM vol. 3, 4.8")
    assert ruled(world, right, tuple(wrong), rule) == (
        "qemu: entry_read[pointer_table].value bits-0x40: accessed flag"
    )


def test_a_sweeping_rule_is_one_cause_whatever_differs(world):
    rule = Rule("PDPTE registers", "SDM vol. 3, 4.4.1", sweeping=True)
    index = world.index("fault")
    without = world.events[:index] + world.events[index + 1 :]
    for wrong in (world.changed("fault", error_code=8), without):
        assert ruled(world, world.events, wrong, rule) == "qemu: PDPTE registers"
    panicked = (*world.events[:index], Event("panic", {"reason": 5, "detail": 0}))
    assert "panic" in ruled(world, world.events, panicked, rule)


def test_a_run_that_was_cut_short_names_the_rule_it_did_not_come_to(world):
    index = world.index("fault")
    expectation = replace(world.expectation, rules={index: RESERVED})
    cut = [
        world.observe("qemu", world.events[:shown], outcome=Outcome.DEADLINE, state=())
        for shown in (index, index - 1)
    ]
    right = [world.observe(name) for name in ("bochs", "unicorn")]
    found = [judge(world.case, lambda _: expectation, [each, *right]).signature for each in cut]
    assert found[0] == "qemu: outcome:deadline: reserved bit set in an entry"
    assert found[1] == "qemu: outcome:deadline (legacy)"


def test_another_event_and_none_keep_their_words(world):
    index = world.index("fault")
    panic = Event("panic", {"reason": 5, "detail": 0})
    wrong = (*world.events[:index], panic)
    assert ruled(world, world.events, wrong) == (
        "qemu: panic[unexpected_fault] instead of fault[page_fault]: reserved bit set in an entry"
    )
    assert ruled(world, world.events, world.events[:index]) == (
        "qemu: fault[page_fault] missing: reserved bit set in an entry"
    )


def test_a_kernels_cause_keeps_operation_and_paging(world):
    wrong = world.changed("fault", error_code=8)
    expectation = replace(world.expectation, rules={world.index("fault"): RESERVED})
    observed = [world.observe(name, wrong) for name in ("bochs", "qemu")]
    verdict = judge(world.case, lambda _: expectation, observed)
    assert verdict.signature == (
        "kernel: fault[page_fault].error_code bits-0x1 after probe (legacy)"
    )
    alone = judge(world.case, lambda _: expectation, observed[:1])
    assert alone.signature.startswith("kernel or bochs: fault[page_fault].error_code")
    (departure,) = alone.departures
    assert departure.cause == "fault.error_code bits-0x1: reserved bit set in an entry"


def test_one_flaw_is_one_signature_whatever_was_accessed_how(world):
    """A reserved-bit fault that lacks the P bit: read, write or fetch, ring 0 or 3, any mode."""
    found = set()
    for code in (0x9, 0xB, 0xD, 0xF, 0x19, 0x1D):
        for paging in ("legacy", "pae"):
            case = replace(world.case, machine=replace(world.case.machine, paging=paging))
            right = world.changed("fault", error_code=code, cpl=3 if code & 4 else 0)
            wrong = world.changed("fault", error_code=code & ~1, cpl=3 if code & 4 else 0)
            found.add(ruled(world, right, wrong, case=case))
    assert found == {"qemu: fault.error_code bits-0x1: reserved bit set in an entry"}
