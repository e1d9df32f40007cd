"""Judging tasks: what the kernel promises is named, and single steps are not faults."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.case.program import Program
from conformance.judge.blame import judge
from conformance.judge.compare import Account, compare_events
from conformance.judge.machine_record import compare_faults
from conformance.judge.signature import backend_cause, signature
from conformance.judge.verdict import Status
from conformance.observe.observation import MachineFault, Observation, Outcome
from conformance.observe.trace import Event, encode
from conformance.oracle import task_rules
from conformance.oracle.expectation import Choice, Expectation
from conformance.protocol import PROTOCOL

NAMES = ("bochs", "qemu", "unicorn")
PAGE_FAULT = MachineFault(vector=14, error_code=9, cr2=0x40000000, eip=0xC0101234)
STEP = MachineFault(vector=1)
SWITCHED = Event("switched", {"from": 0, "to": 1, "reason": 0})
STEPPED = Event("stepped", {"task": 0, "eip": 0xC0102E5C, "registers": 5})
COMPUTED = Event("computed", {"operation": 0, "task": 0, "registers": 5})


def differing(event, other, rule):
    """The difference of two events, and an expectation in which a rule decides."""
    expectation = Expectation(Outcome.COMPLETED, (event,), rules={0: rule})
    return compare_events([event], [other]), expectation


def changed(event, **fields):
    return Event(event.kind, {**event.fields, **fields})


@pytest.fixture
def stepped_case(world):
    return replace(world.case, program=replace(world.case.program, schedule="stepped"))


@pytest.mark.parametrize(
    ("left", "right", "rule", "words"),
    [
        (
            SWITCHED,
            changed(SWITCHED, to=2),
            task_rules.TURN,
            "switched[yield].to: ready tasks run in turn",
        ),
        (
            SWITCHED,
            changed(SWITCHED, to=0),
            task_rules.TURN,
            "switched[yield].to: ready tasks run in turn",
        ),
        (
            Event("resumed", {"task": 0, "stack": 3, "damaged": 0}),
            Event("resumed", {"task": 0, "stack": 3, "damaged": 17}),
            task_rules.PRESERVED,
            "resumed.damaged bits+0x11: a switch preserves registers",
        ),
        (
            Event("wake_kept", {"operation": 0, "task": 1}),
            Event("ticked", {"now": 1}),
            task_rules.WINDOW,
            "ticked instead of wake_kept: a tick comes while interrupts are enabled only",
        ),
        (
            STEPPED,
            changed(STEPPED, registers=6),
            task_rules.STEPS["arithmetic"],
            "stepped.registers: a time slice is over after its quantum",
        ),
    ],
)
def test_a_kernels_signature_names_what_it_promised(world, left, right, rule, words):
    difference, expectation = differing(left, right, rule)
    assert signature("kernel", difference, world.case, expectation) == f"kernel: {words} (legacy)"
    silent = replace(rule, promise="")
    difference, expectation = differing(left, right, silent)
    assert rule.name not in signature("kernel", difference, world.case, expectation)


def test_the_verdict_on_a_kernel_names_it(world):
    expectation = replace(world.expectation, rules={5: task_rules.SLICE})
    wrong = world.replaced(5, changed(world.events[5], free_frames=7))
    observations = [world.observe(name, wrong) for name in NAMES]
    verdict = judge(world.case, lambda _: expectation, observations)
    assert verdict.culprit == "kernel"
    assert verdict.signature.endswith(": a time slice is over after its quantum (legacy)")


@pytest.mark.parametrize("kind", PROTOCOL.enums["compute_kind"].values())
@pytest.mark.parametrize(
    ("left", "right"),
    [
        (STEPPED, changed(STEPPED, eip=0xC0102E5E)),
        (STEPPED, changed(STEPPED, registers=8)),
        (STEPPED, COMPUTED),
        (COMPUTED, STEPPED),
    ],
)
def test_an_engine_that_counts_other_steps_has_one_cause(world, kind, left, right):
    difference, expectation = differing(left, right, task_rules.STEPS[kind])
    cause = backend_cause(difference, world.case, expectation)
    assert cause == task_rules.STEPS[kind].name


def test_a_run_that_goes_elsewhere_is_another_cause(world):
    difference, expectation = differing(STEPPED, SWITCHED, task_rules.STEPS["flags"])
    cause = backend_cause(difference, world.case, expectation)
    assert cause == "switched[yield] instead of stepped: single step over POPF"


class TestTheMachinesRecord:
    def found(self, world, case, *faults, events=None):
        return compare_faults(Account.observed(world.observe("x", events, faults=faults)), case)

    def test_steps_are_left_out(self, world, stepped_case):
        steps = (STEP,) * 3
        assert self.found(world, stepped_case, *steps, PAGE_FAULT, *steps) is None
        assert self.found(world, world.case, *steps, PAGE_FAULT) is not None
        assert self.found(world, None, *steps, PAGE_FAULT) is not None

    def test_so_are_those_that_the_kernel_lists(self, world, stepped_case):
        index = world.index("fault")
        debug = changed(world.events[index], vector=1, error_code=0, cr2=0)
        events = (*world.events[:index], debug, *world.events[index:])
        assert self.found(world, stepped_case, STEP, PAGE_FAULT, events=events) is None
        assert self.found(world, stepped_case, PAGE_FAULT, events=events) is None
        assert self.found(world, world.case, PAGE_FAULT, events=events) is not None

    def test_the_rest_is_compared(self, world, stepped_case):
        wrong = replace(PAGE_FAULT, error_code=8)
        assert self.found(world, stepped_case, STEP, wrong) is not None
        assert self.found(world, stepped_case, STEP) is not None
        assert self.found(world, stepped_case, PAGE_FAULT, MachineFault(6)) is not None

    def test_of_a_verdict(self, world, stepped_case):
        faults = (STEP, PAGE_FAULT, STEP)
        observations = [world.observe(name, faults=faults) for name in NAMES]
        verdict = judge(stepped_case, lambda _: world.expectation, observations)
        assert verdict.status is Status.AGREE
        assert judge(world.case, lambda _: world.expectation, observations).culprit == "kernel"


def test_each_backend_at_its_own_pace(world):
    """Two that tick at different moments, and each as the oracle expects it of that pace, agree."""
    case = replace(world.case, program=Program((), 0, "timer"))
    ticked = Event("ticked", {"now": 1})
    paces = {"bochs": 10, "qemu": 12, "unicorn": 10}
    traces = {name: (*world.events[:at], ticked, *world.events[at:]) for name, at in paces.items()}

    def predict(events):
        at = next((i for i, one in enumerate(events) if one.kind == "ticked"), 12)
        expected = (*world.events[:at], ticked, *world.events[at:])
        choice = Choice(at, task_rules.TICKS, 2, 1)
        return Expectation(Outcome.COMPLETED, expected, world.state, choices=(choice,))

    def observed(name, events):
        return Observation(name, Outcome.COMPLETED, "", encode(events), world.state)

    verdict = judge(case, predict, [observed(*each) for each in traces.items()])
    assert verdict.status is Status.AGREE
    assert verdict.choices == ('when ticks come (TASKS.md, "Pre-emption")',)
    # What follows from a pace is predicted: one that shows less is wrong, whoever ticks alike.
    traces["unicorn"] = traces["unicorn"][:-1]
    verdict = judge(case, predict, [observed(*each) for each in traces.items()])
    assert (verdict.status, verdict.culprit) == (Status.DIVERGE, "unicorn")
