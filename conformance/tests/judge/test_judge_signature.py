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
from conformance.oracle.expectation import Expectation
from conformance.protocol import PROTOCOL


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
        return judge(case, expectation, observed).signature

    assert instance() == instance() == "kernel: allocated.frame higher after allocate_run (legacy)"


@given(data=st.data())
def test_a_signature_holds_no_number_of_the_instance(world, data):
    """Whatever an unkeyed, unmasked number is changed by, in one direction: one signature."""
    index = data.draw(st.integers(0, len(world.events) - 1))
    event = world.events[index]
    fields = [
        each
        for each in PROTOCOL.events[event.kind].layout.fields
        if each.mask is None and each.enum is None
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
