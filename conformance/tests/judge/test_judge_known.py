"""Known divergences: recognised by kind, version and cause, and then out of the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conformance.judge.known import (
    Engine,
    KnownDivergence,
    KnownDivergences,
    Recognised,
    judge_with_known,
)
from conformance.judge.verdict import Departure, Status
from conformance.observe.observation import Outcome

NAMES = ("bochs", "qemu-7", "unicorn")
ENGINES = {
    "bochs": Engine("bochs", "2.7"),
    "qemu-7": Engine("qemu", "7.2.22"),
    "unicorn": Engine("unicorn", "2.1.4"),
}


def entry(cause, kind="qemu", versions=">=7.0,<9", name="case"):
    return KnownDivergence(
        f"{kind}: {cause}", kind, versions, "a section", "a sentence", "", Path(f"{name}.json")
    )


LOWEST = entry("ready.lowest higher (legacy)")


@pytest.fixture
def judged(world):
    def judged(*observations, entries=(LOWEST,), engines=ENGINES):
        known = KnownDivergences(entries, engines)
        return judge_with_known(world.case, lambda _: world.expectation, observations, known)

    return judged


def wrong(world, name, lowest=2, **fields):
    return world.observe(name, world.changed("ready", lowest=lowest, **fields))


@pytest.mark.parametrize(
    ("kind", "version", "applies"),
    [
        ("qemu", "7.0", True),
        ("qemu", "7.2.22", True),
        ("qemu", "7.2.22 (Debian 1:7.2+dfsg-7)", True),
        ("qemu", "8.99", True),
        ("qemu", "9", False),
        ("qemu", "9.0.0", False),
        ("qemu", "6.2", False),
        ("qemu", "", False),
        ("qemu", "unknown", False),
        ("bochs", "7.2", False),
    ],
)
def test_an_entry_is_of_a_kind_and_of_versions(kind, version, applies):
    assert LOWEST.applies_to(Engine(kind, version)) is applies
    known = KnownDivergences([LOWEST], {"x": Engine(kind, version)})
    assert known.applicable(LOWEST) == (("x",) if applies else ())


def test_a_known_divergence_is_known(world, judged):
    verdict, known = judged(world.observe("bochs"), wrong(world, "qemu-7"))
    assert (verdict.status, verdict.culprit) == (Status.KNOWN, "qemu-7")
    assert verdict.signature == "qemu-7: ready.lowest higher (legacy)"
    assert verdict.reason == "known of qemu-7: a sentence"
    assert verdict.difference is not None
    assert known == (Recognised("qemu-7", LOWEST),)


def test_another_cause_version_or_kind_is_new(world, judged):
    bochs = world.observe("bochs")
    for observation, options in (
        (wrong(world, "qemu-7", 0), {}),
        (wrong(world, "qemu-7"), {"entries": ()}),
        (wrong(world, "qemu-7"), {"entries": [entry("ready.lowest higher (pae)")]}),
        (wrong(world, "qemu-7"), {"engines": {**ENGINES, "qemu-7": Engine("qemu", "9.1")}}),
        (wrong(world, "qemu-7"), {"engines": {**ENGINES, "qemu-7": Engine("bochs", "7.2")}}),
        (wrong(world, "qemu-7"), {"engines": {}}),
        (wrong(world, "unicorn"), {}),
    ):
        verdict, known = judged(bochs, observation, **options)
        assert (verdict.status, known) == (Status.DIVERGE, ())


def test_two_instances_of_a_kind_are_known_each(world, judged):
    engines = {**ENGINES, "qemu-8": Engine("qemu", "8.0")}
    both = wrong(world, "qemu-7"), wrong(world, "qemu-8")
    verdict, known = judged(world.observe("bochs"), *both, engines=engines)
    assert verdict.status is Status.KNOWN
    assert {each.backend for each in known} == {"qemu-7", "qemu-8"}
    engines = {**ENGINES, "qemu-8": Engine("qemu", "9.0")}
    verdict, known = judged(world.observe("bochs"), *both, engines=engines)
    assert (verdict.status, known) == (Status.DIVERGE, ())
    assert verdict.culprit == "qemu-7, qemu-8", "in the newer one it is new"


def test_each_part_of_a_composite_signature_is_known_by_itself(world, judged):
    dumped = entry("dumped.frames lower after dump (legacy)", "bochs", ">=2")
    observed = (
        world.observe("bochs", world.changed("dumped", frames=1)),
        wrong(world, "qemu-7"),
        world.observe("unicorn"),
    )
    verdict, known = judged(*observed, entries=[LOWEST, dumped])
    assert verdict.status is Status.KNOWN
    assert verdict.signature == (
        "bochs: dumped.frames lower after dump (legacy); qemu-7: ready.lowest higher (legacy)"
    )
    assert {each.divergence for each in known} == {LOWEST, dumped}
    verdict, known = judged(*observed)
    assert (verdict.status, verdict.culprit) == (Status.DIVERGE, "bochs")
    assert verdict.signature == "bochs: dumped.frames lower after dump (legacy)"
    assert "(left out for a known divergence: qemu-7)" in verdict.reason
    assert [each.divergence for each in known] == [LOWEST]


def test_what_is_known_does_not_hide_the_kernel(world, judged):
    """The kernel is wrong after the place where an engine is, and before it."""
    events = world.changed("completed", operations=9)
    early = wrong(world, "qemu-7")
    others = [world.observe(name, events) for name in ("bochs", "unicorn")]
    verdict, known = judged(early, *others)
    assert (verdict.status, verdict.culprit) == (Status.DIVERGE, "kernel")
    assert verdict.signature == "kernel: completed.operations higher (legacy)"
    assert known
    counted = entry("counted.free_frames lower after count (legacy)")
    kernel = world.changed("map_end", entries=2)
    index = world.index("counted")
    late = list(kernel)
    late[index] = replace(late[index], fields={**late[index].fields, "free_frames": 0})
    verdict, known = judged(
        world.observe("qemu-7", tuple(late)),
        *(world.observe(name, kernel) for name in ("bochs", "unicorn")),
        entries=[counted],
    )
    assert (verdict.culprit, verdict.signature) == (
        "kernel",
        "kernel: map_end.entries higher (legacy)",
    )
    assert known == ()


def test_an_engine_that_ran_alone_is_recognised(world, judged):
    verdict, known = judged(wrong(world, "qemu-7"))
    assert (verdict.status, verdict.culprit) == (Status.KNOWN, "kernel or qemu-7")
    assert [each.backend for each in known] == ["qemu-7"]


def test_all_backends_together_are_known_only_if_it_is_known_of_all(world, judged):
    observed = [wrong(world, name) for name in NAMES]
    assert judged(*observed)[0].culprit == "kernel"
    everywhere = [
        entry("ready.lowest higher (legacy)", kind, ">=1") for kind in ("bochs", "qemu", "unicorn")
    ]
    assert judged(*observed, entries=everywhere[:2])[0].culprit == "kernel"
    assert judged(*observed, entries=everywhere)[0].status is Status.KNOWN


def test_what_nobody_can_tell_can_be_known(world, judged):
    """No backend agrees with the oracle, but why is known of one of them."""
    observed = [wrong(world, "qemu-7"), wrong(world, "bochs", 0), wrong(world, "unicorn", 0)]
    verdict, _ = judged(*observed, entries=())
    assert verdict.status is Status.INCONCLUSIVE
    verdict, _ = judged(*observed)
    assert (verdict.culprit, verdict.signature) == ("kernel", "kernel: ready.lowest lower (legacy)")


def test_who_refused_is_no_rest_to_judge(world, judged):
    refused = world.observe("bochs", (), outcome=Outcome.REFUSED, state=())
    assert judged(wrong(world, "qemu-7"), refused)[0].status is Status.KNOWN
    crashed = world.observe("bochs", (), outcome=Outcome.BACKEND_CRASHED, state=())
    verdict, known = judged(wrong(world, "qemu-7"), crashed, world.observe("unicorn"))
    assert (verdict.status, verdict.culprit) == (Status.DIVERGE, "bochs")
    assert known


def test_agreement_is_not_touched(world, judged):
    verdict, known = judged(*map(world.observe, NAMES))
    assert (verdict.status, known) == (Status.AGREE, ())


def test_a_departure_is_known_of_all_its_backends_or_of_none():
    known = KnownDivergences([LOWEST], ENGINES)
    cause = "ready.lowest higher (legacy)"
    assert known.recognise(Departure(("qemu-7",), cause))
    assert known.recognise(Departure(("bochs", "qemu-7"), cause)) == ()
    assert known.recognise(Departure(("stranger",), cause)) == ()
