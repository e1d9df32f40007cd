"""The kernel's record of its faults and registers against the machine's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.judge.blame import judge
from conformance.judge.compare import Account, Compared, How
from conformance.judge.machine_record import compare_control, compare_faults
from conformance.judge.verdict import Status
from conformance.observe.observation import ControlRegisters, MachineFault, Outcome
from conformance.observe.trace import Event
from conformance.oracle.expectation import Rule
from conformance.protocol import PROTOCOL

RIGHT = MachineFault(vector=14, error_code=9, cr2=0x40000000, eip=0xC0101234)
CONTROL = ControlRegisters(cr0=0xE0010011, cr2=0, cr3=0x130000, cr4=0, efer=0)
NAMES = ("bochs", "qemu", "unicorn")

WRONG = {
    "vector": (replace(RIGHT, vector=13), "fault[page_fault] instead of fault[general_protection]"),
    "error_code": (replace(RIGHT, error_code=8), "fault[page_fault].error_code bits+0x1"),
    "cr2": (replace(RIGHT, cr2=0), "fault[page_fault].cr2 higher"),
    "eip": (replace(RIGHT, eip=0xC0101235), "fault[page_fault].eip lower"),
}


def found(world, *faults, **options):
    return compare_faults(Account.observed(world.observe("x", faults=faults, **options)))


def test_a_right_record(world):
    assert found(world, RIGHT) is None
    assert found(world, MachineFault(vector=14)) is None, "what the engine does not say"
    assert compare_faults(Account.observed(world.observe("x"))) is None, "no record is kept"


@pytest.mark.parametrize("name", WRONG)
def test_each_field_is_compared(world, name):
    fault, _ = WRONG[name]
    difference = found(world, fault)
    assert (difference.compared, difference.how) == (Compared.MACHINE_RECORD, How.FIELDS)
    assert difference.index == world.index("fault")
    assert [field.name for field in difference.fields] == [name]
    assert difference.right == world.events[difference.index]


def test_cr2_is_compared_of_page_faults_only(world):
    code = PROTOCOL.code("exception", "double_fault")
    events = world.changed("fault", vector=code)
    assert found(world, MachineFault(vector=code, cr2=7), events=events) is None


def test_one_more_and_one_less(world):
    extra = found(world)
    assert (extra.how, extra.index, extra.left) == (How.EXTRA, world.index("fault"), None)
    missing = found(world, RIGHT, replace(RIGHT, vector=13))
    assert (missing.how, missing.index, missing.right) == (How.MISSING, None, None)
    assert missing.left.fields["vector"] == 13


def test_a_run_that_was_cut_short_may_have_had_more_faults(world):
    more = (RIGHT, replace(RIGHT, vector=13))
    end = world.index("attempted") + 1
    cut = world.events[:end]
    assert found(world, *more, events=cut, outcome=Outcome.TRIPLE_FAULT) is None
    full = Event("panic", {"reason": PROTOCOL.code("panic_reason", "trace_full"), "detail": 0})
    assert found(world, *more, events=(*cut, full), outcome=Outcome.PANICKED) is None
    other = Event("panic", {"reason": PROTOCOL.code("panic_reason", "bad_program"), "detail": 0})
    assert found(world, *more, events=(*cut, other), outcome=Outcome.PANICKED) is not None
    assert found(world, *more, events=cut, rest=b"?") is None
    assert found(world, *more, events=cut) is not None
    # What is there has to be right all the same.
    wrong = replace(RIGHT, cr2=0)
    assert found(world, wrong, events=cut, outcome=Outcome.TRIPLE_FAULT) is not None
    assert found(world, events=cut, outcome=Outcome.TRIPLE_FAULT) is not None
    assert found(world, events=cut, outcome=Outcome.DEADLINE) is None


@pytest.mark.parametrize(
    ("name", "value", "differs"),
    [
        ("cr0", 0xE0000011, True),  # WP
        ("cr0", 0x80010011, False),  # masked
        ("cr2", 7, False),  # ignored
        ("cr3", 0x131000, True),
        ("cr4", 0x20, True),
        ("cr4", 0x200, False),
        ("efer", 0x800, True),
        ("efer", None, False),
    ],
)
def test_the_control_registers(world, name, value, differs):
    control = replace(CONTROL, **{name: value})
    difference = compare_control(Account.observed(world.observe("x", control=control)))
    if differs:
        assert difference.index == world.index("control")
        assert [field.name for field in difference.fields] == [name]
    else:
        assert difference is None
    cut = world.observe("x", control=control, outcome=Outcome.DEADLINE)
    assert compare_control(Account.observed(cut)) is None


def summary(verdict):
    return verdict.status, verdict.culprit, verdict.signature


def records(world, *faults):
    """An observation of each backend, with its record."""
    return [
        world.observe(name, faults=None if fault is None else (fault,))
        for name, fault in zip(NAMES, faults, strict=True)
    ]


@pytest.mark.parametrize("name", WRONG)
def test_all_alike_is_the_kernels(world, name):
    fault, what = WRONG[name]
    signature = f"kernel: record of {what} after probe (legacy)".replace(
        "instead of fault", "instead of record of fault"
    )
    for third in (fault, None):
        verdict = world.judge(*records(world, fault, fault, third))
        assert summary(verdict) == (Status.DIVERGE, "kernel", signature)
        assert "the kernel's record of a fault differs from the machine's on" in verdict.reason
        assert verdict.difference.compared is Compared.MACHINE_RECORD


@pytest.mark.parametrize("name", WRONG)
def test_one_of_several_is_that_backends(world, name):
    fault, _ = WRONG[name]
    for third in (RIGHT, None):
        verdict = world.judge(*records(world, RIGHT, fault, third))
        assert summary(verdict)[:2] == (Status.DIVERGE, "qemu")
        assert verdict.signature.startswith("qemu: record of fault")
        assert [each.backends for each in verdict.departures] == [("qemu",)]


def test_the_only_record_there_is(world):
    fault, _ = WRONG["cr2"]
    verdict = world.judge(*records(world, None, fault, None))
    assert summary(verdict)[:2] == (Status.DIVERGE, "kernel or qemu")
    alone = world.observe("qemu", faults=(fault,))
    assert world.judge(alone).culprit == "kernel or qemu"
    assert world.judge(alone, oracle=False).culprit == "kernel or qemu"


def test_each_in_another_way(world):
    wrong = [WRONG[name][0] for name in ("cr2", "eip", "error_code")]
    verdict = world.judge(*records(world, *wrong))
    assert summary(verdict)[:2] == (Status.INCONCLUSIVE, "unknown")
    assert verdict.signature


def test_a_backends_wrong_trace_comes_first_and_a_wrong_record_is_said_as_well(world):
    fault, _ = WRONG["cr2"]
    bochs = world.observe("bochs", world.changed("ready", lowest=2), faults=(RIGHT,))
    _, qemu, unicorn = records(world, None, fault, RIGHT)
    verdict = world.judge(bochs, qemu, unicorn)
    assert verdict.culprit == "bochs, qemu"
    assert verdict.signature == (
        "bochs: ready.lowest higher (legacy); "
        "qemu: record of fault[page_fault].cr2 higher after probe (legacy)"
    )
    assert verdict.difference.index == world.index("ready")


def test_a_wrong_trace_of_the_kernel_says_all(world):
    fault, _ = WRONG["cr2"]
    events = world.changed("fault", cr2=0)
    observed = [world.observe(name, events, faults=(RIGHT,)) for name in NAMES]
    verdict = world.judge(*observed)
    assert summary(verdict) == (
        Status.DIVERGE,
        "kernel",
        "kernel: fault[page_fault].cr2 lower after probe (legacy)",
    )
    assert fault.cr2 == 0


def test_without_an_oracle(world):
    fault, _ = WRONG["cr2"]
    verdict = world.judge(*records(world, RIGHT, fault, RIGHT), oracle=False)
    assert (verdict.status, verdict.culprit) == (Status.DIVERGE, "qemu")
    assert world.judge(*records(world, RIGHT, RIGHT, None), oracle=False).status is Status.AGREE


def test_the_registers_are_blamed_alike(world):
    wrong = replace(CONTROL, cr4=0x20)
    controls = {"bochs": CONTROL, "qemu": wrong, "unicorn": None}
    observed = [world.observe(name, control=control) for name, control in controls.items()]
    assert world.judge(*observed).culprit == "qemu"
    everywhere = [world.observe(name, control=wrong) for name in NAMES]
    verdict = world.judge(*everywhere)
    assert verdict.signature == "kernel: record of control.cr4 bits-0x20 (legacy)"


def test_a_rule_names_the_cause(world):
    fault, _ = WRONG["error_code"]
    rules = {world.index("fault"): Rule("reserved bit set in an entry", "SDM vol. 3, 4.7")}
    expectation = replace(world.expectation, rules=rules)
    observed = records(world, RIGHT, fault, RIGHT)
    verdict = judge(world.case, lambda _: expectation, observed)
    assert verdict.signature == (
        "qemu: record of fault.error_code bits+0x1: reserved bit set in an entry"
    )
