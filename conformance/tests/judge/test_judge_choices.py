"""Where the manual leaves something open: each backend is held against what it chose itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from conformance.judge.blame import judge
from conformance.judge.verdict import Status
from conformance.observe.observation import Outcome
from conformance.observe.trace import Event
from conformance.oracle.expectation import Choice, Expectation, Rule

ACCESSED = Rule("accessed flag of an entry above a fault", "SDM vol. 3, 4.8")
NAMES = ("bochs", "qemu", "unicorn")
VALUES = (0x130047, 0x130067)


class Oracle:
    """Permits both values of the entry that is read, and follows the witness."""

    def __init__(self, world):
        self.world = world
        self.index = world.index("entry_read")
        self.asked: list[tuple[Event, ...]] = []

    def __call__(self, witness: Sequence[Event]) -> Expectation:
        self.asked.append(tuple(witness))
        seen = witness[self.index] if self.index < len(witness) else None
        value = None if seen is None else seen.fields.get("value")
        taken = VALUES.index(value) if value in VALUES else 0
        return replace(
            self.world.expectation,
            events=self.world.changed("entry_read", value=VALUES[taken]),
            choices=(Choice(self.index, ACCESSED, 2, taken),),
        )


@pytest.fixture
def oracle(world):
    return Oracle(world)


@pytest.fixture
def chose(world):
    """An observation that took a choice, and may be wrong in an event before or after it."""

    def observe(name, taken, kind="", **fields):
        events = list(world.changed("entry_read", value=VALUES[taken]))
        if kind:
            index = world.index(kind)
            events[index] = Event(kind, {**events[index].fields, **fields})
        return world.observe(name, tuple(events))

    return observe


def test_two_that_chose_differently_agree(world, oracle, chose):
    observed = [chose("bochs", 0), chose("qemu", 1), chose("unicorn", 0)]
    verdict = judge(world.case, oracle, observed)
    assert (verdict.status, verdict.culprit, verdict.signature) == (Status.AGREE, "none", "")
    assert verdict.reason == (
        "bochs, unicorn / qemu agree with the oracle in different ways: the manual permits each"
    )
    assert verdict.choices == ("accessed flag of an entry above a fault (SDM vol. 3, 4.8)",)
    assert verdict.clusters == (("oracle",), ("bochs", "unicorn"), ("qemu",))


def test_what_is_not_permitted_is_no_choice(world, oracle, chose):
    wrong = world.observe("qemu", world.changed("entry_read", value=0x130065))
    verdict = judge(world.case, oracle, [chose("bochs", 0), wrong, chose("unicorn", 0)])
    assert (verdict.status, verdict.culprit) == (Status.DIVERGE, "qemu")
    assert verdict.signature == (
        "qemu: entry_read[page_table].value bits+0x20-0x2 after read_entry (legacy)"
    )


@pytest.mark.parametrize("taken", [0, 1])
def test_a_difference_is_measured_against_what_was_chosen(world, oracle, chose, taken):
    wrong = chose("qemu", 1, "completed", operations=9)
    verdict = judge(world.case, oracle, [chose("bochs", taken), wrong, chose("unicorn", taken)])
    assert (verdict.status, verdict.culprit) == (Status.DIVERGE, "qemu")
    assert verdict.signature == "qemu: completed.operations higher (legacy)"
    assert verdict.difference.index == len(world.events) - 1, "not where they chose"
    assert verdict.expectation.events[oracle.index].fields["value"] == VALUES[1]
    if taken:
        assert verdict.clusters == (("oracle", "bochs", "unicorn"), ("qemu",))
        assert verdict.difference.names == ("bochs", "qemu")
    else:
        assert verdict.clusters == (("oracle",), ("bochs", "unicorn"), ("qemu",))
        assert verdict.difference.names == ("oracle", "qemu")


def test_all_chose_and_the_kernel_is_wrong(world, oracle, chose):
    """Backends agree with each other as far as the manual decides."""
    wrong = {"kind": "ready", "lowest": 2}
    verdict = judge(world.case, oracle, [chose("bochs", 0, **wrong), chose("qemu", 1, **wrong)])
    assert (verdict.status, verdict.culprit) == (Status.DIVERGE, "kernel")
    assert verdict.signature == "kernel: ready.lowest higher (legacy)"
    late = {"kind": "completed", "operations": 9}
    verdict = judge(world.case, oracle, [chose("bochs", 0, **late), chose("qemu", 1, **late)])
    assert verdict.signature == "kernel: completed.operations higher (legacy)"


def test_two_that_chose_alike_and_differ_are_not_predicted(world, chose):
    oracle = Oracle(world)
    index = world.index("paging")
    fields = {name: each for name, each in world.events[index].fields.items() if name != "cr3"}
    partial = Event("paging", fields)

    def omitting(witness):
        expectation = oracle(witness)
        events = (*expectation.events[:index], partial, *expectation.events[index + 1 :])
        return replace(expectation, events=events)

    other = chose("unicorn", 0, "paging", cr3=0x140000)
    verdict = judge(world.case, omitting, [chose("bochs", 0), chose("qemu", 1), other])
    assert (verdict.status, verdict.culprit) == (Status.INCONCLUSIVE, "unknown")
    assert "does not predict what they differ in" in verdict.reason
    assert verdict.difference.index == index
    assert set(verdict.difference.names) == {"bochs", "unicorn"}


def test_the_oracle_is_asked_once_where_nothing_is_open(world):
    asked = []

    def predict(witness):
        asked.append(witness)
        return world.expectation

    judge(world.case, predict, [world.observe(name) for name in NAMES])
    assert len(asked) == 1


def test_who_departs_is_always_a_witness(world):
    """What it shows may tell which rule it breaks, where nothing was left open."""
    asked = []

    def predict(witness):
        asked.append(witness)
        return world.expectation

    right = world.observe("bochs")
    wrong = [
        world.observe(name, world.changed("ready", lowest=0x1000 + index))
        for index, name in enumerate(("qemu", "unicorn"))
    ]
    judge(world.case, predict, [right, *wrong])
    assert len(asked) == 3


def test_each_cluster_is_asked_for_where_something_is(world, oracle, chose):
    judge(world.case, oracle, [chose("bochs", 0), chose("qemu", 1), chose("unicorn", 0)])
    assert [events[oracle.index].fields["value"] for events in oracle.asked] == [*VALUES]


def test_a_witness_holds_events_only(world, oracle, chose):
    judge(world.case, oracle, [replace(chose("qemu", 1), trace=b"\xff" * 9)])
    assert oracle.asked == [()]


def test_a_run_that_was_cut_short_chose_nothing_and_leaves_the_others_alone(world, oracle, chose):
    cut = world.observe("bochs", world.events[:3], outcome=Outcome.DEADLINE, state=())
    verdict = judge(world.case, oracle, [cut, chose("qemu", 1)])
    assert (verdict.status, verdict.culprit) == (Status.DIVERGE, "bochs")
    assert verdict.signature == "bochs: outcome:deadline (legacy)"
