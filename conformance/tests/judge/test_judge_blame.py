"""The table of blame, row by row, and what holds for every verdict."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.errors import InvalidArgument
from conformance.judge.blame import judge
from conformance.judge.compare import Compared
from conformance.judge.verdict import Status, Verdict
from conformance.observe.observation import Observation, Outcome
from conformance.protocol import PROTOCOL, Comparison

NAMES = ("bochs", "qemu", "unicorn")


def summary(verdict):
    return verdict.status, verdict.culprit


def test_all_agree_and_with_the_oracle(world):
    verdict = world.judge(*map(world.observe, NAMES))
    assert summary(verdict) == (Status.AGREE, "none")
    assert verdict.clusters == (("oracle", *NAMES),)
    assert verdict.signature == "" and verdict.difference is None


def test_all_agree_but_not_with_the_oracle(world):
    wrong = world.changed("pass", 1, free_frames=160)
    verdict = world.judge(*(world.observe(name, wrong) for name in NAMES))
    assert summary(verdict) == (Status.DIVERGE, "kernel")
    assert verdict.signature == "kernel: pass[available].free_frames higher (legacy)"
    assert verdict.clusters == (("oracle",), NAMES)


def test_one_backend_alone_cannot_be_told_from_the_kernel(world):
    verdict = world.judge(world.observe("qemu", world.changed("ready", lowest=0)))
    assert summary(verdict) == (Status.DIVERGE, "kernel or qemu")
    assert verdict.signature == "kernel or qemu: ready.lowest lower (legacy)"


def test_one_backend_alone_agrees_with_the_oracle(world):
    assert summary(world.judge(world.observe("qemu"))) == (Status.AGREE, "none")


def test_one_differs_and_the_others_agree_with_the_oracle(world):
    wrong = world.observe("bochs", world.changed("entry", a20=0))
    verdict = world.judge(world.observe("qemu"), wrong, world.observe("unicorn"))
    assert summary(verdict) == (Status.DIVERGE, "bochs")
    assert verdict.clusters == (("oracle", "qemu", "unicorn"), ("bochs",))
    assert verdict.difference.names == ("qemu", "bochs")


def test_one_agrees_with_the_oracle_against_a_majority(world):
    wrong = world.changed("counted", free_frames=0)
    verdict = world.judge(
        world.observe("bochs", wrong), world.observe("unicorn", wrong), world.observe("qemu")
    )
    assert summary(verdict) == (Status.DIVERGE, "bochs, unicorn")
    assert verdict.signature == "bochs, unicorn: counted.free_frames lower after count (legacy)"


def test_two_culprits_with_a_cause_each(world):
    verdict = world.judge(
        world.observe("qemu"),
        world.observe("bochs", world.changed("dumped", frames=1)),
        world.observe("unicorn", world.changed("ready", lowest=2)),
    )
    assert verdict.culprit == "bochs, unicorn"
    assert verdict.signature == (
        "bochs: dumped.frames lower after dump (legacy); unicorn: ready.lowest higher (legacy)"
    )
    assert verdict.difference.index == world.index("ready"), "the earlier of the two"


def test_no_cluster_has_the_oracle_in_it(world):
    verdict = world.judge(
        world.observe("bochs", world.changed("ready", lowest=2)),
        world.observe("qemu", world.changed("ready", lowest=3)),
        world.observe("unicorn", world.changed("ready", lowest=3)),
    )
    assert summary(verdict) == (Status.INCONCLUSIVE, "unknown")
    assert verdict.clusters == (("oracle",), ("bochs",), ("qemu", "unicorn"))
    assert "none of them agrees with the oracle" in verdict.reason


def test_who_leaves_the_oracle_together_follows_the_kernel(world):
    """What they do after that, and differ in, may all come from it."""
    early = world.changed("pass", 1, free_frames=1)
    late = (*early[:-1], replace(early[-1], fields={"operations": 9}))
    verdict = world.judge(world.observe("bochs", early), world.observe("qemu", late))
    assert summary(verdict) == (Status.DIVERGE, "kernel")
    assert verdict.signature == "kernel: pass[available].free_frames lower (legacy)"
    assert verdict.difference.index == world.index("pass", 1)
    assert f"left the oracle together at event {world.index('pass', 1)}" in verdict.reason
    assert verdict.clusters == (("oracle",), ("bochs",), ("qemu",))
    ended = {"outcome": Outcome.PANICKED}
    memory = world.observe("qemu", state=world.corrupted("frame_owned"), **ended)
    verdict = world.judge(world.observe("bochs", **ended), memory)
    assert verdict.signature == "kernel: outcome:panicked instead of completed (legacy)"
    assert "bochs, qemu left the oracle together;" in verdict.reason


def test_who_leaves_the_oracle_at_one_place_in_two_ways_does_not_follow_the_kernel(world):
    for one, other in (({"free_frames": 1}, {"free_frames": 2}), ({"free_frames": 1}, {"pass": 6})):
        verdict = world.judge(
            world.observe("bochs", world.changed("pass", 1, **one)),
            world.observe("qemu", world.changed("pass", 1, **other)),
        )
        assert summary(verdict) == (Status.INCONCLUSIVE, "unknown")
    cut = world.observe("qemu", (), outcome=Outcome.DEADLINE, state=())
    verdict = world.judge(world.observe("bochs", world.changed("ready", lowest=2)), cut)
    assert verdict.status is Status.INCONCLUSIVE, "how far it came, nobody knows"


def test_without_an_oracle(world):
    verdict = world.judge(*map(world.observe, NAMES), oracle=False)
    assert summary(verdict) == (Status.AGREE, "none")
    assert "no oracle" in verdict.reason
    wrong = world.observe("bochs", world.changed("entry", a20=0))
    verdict = world.judge(wrong, world.observe("qemu"), world.observe("kvm"), oracle=False)
    assert summary(verdict) == (Status.INCONCLUSIVE, "unknown"), "a majority is no oracle"
    verdict = world.judge(world.observe("qemu"), oracle=False)
    assert summary(verdict) == (Status.INCONCLUSIVE, "unknown"), "compared with nothing"


@pytest.mark.parametrize("outcome", [Outcome.DEADLINE, Outcome.BACKEND_CRASHED, Outcome.GARBLED])
def test_an_outcome_of_its_own_class_is_the_difference(world, outcome):
    cut = world.observe("bochs", world.events[:3], outcome=outcome, state=())
    verdict = world.judge(cut, world.observe("qemu"))
    assert summary(verdict) == (Status.DIVERGE, "bochs")
    assert verdict.signature == f"bochs: outcome:{outcome} (legacy)"
    assert verdict.difference.compared is Compared.OUTCOME


def test_where_a_deadline_cuts_the_trace_is_not_compared(world):
    hang = {"outcome": Outcome.DEADLINE, "state": ()}
    verdict = world.judge(
        world.observe("bochs", world.events[:3], **hang),
        world.observe("qemu", world.events[:7], **hang),
    )
    assert summary(verdict) == (Status.DIVERGE, "kernel")
    assert verdict.signature == "kernel: outcome:deadline (legacy)"
    alone = world.observe("bochs", (), **hang), world.observe("qemu", (), **hang)
    assert world.judge(*alone, oracle=False).status is Status.INCONCLUSIVE


@pytest.mark.parametrize("oracle", [True, False])
@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.BACKEND_CRASHED])
def test_nobody_took_part(world, outcome, oracle):
    lost = [world.observe(name, (), outcome=outcome, detail="no such file") for name in NAMES]
    verdict = world.judge(*lost, oracle=oracle)
    assert summary(verdict) == (Status.INCONCLUSIVE, "unknown")
    assert verdict.signature
    assert summary(world.judge(oracle=oracle)) == (Status.INCONCLUSIVE, "unknown")


def test_who_refuses_does_not_take_part(world):
    refused = world.observe("kvm", (), outcome=Outcome.REFUSED, detail="no /dev/kvm", state=())
    verdict = world.judge(refused, world.observe("qemu"), world.observe("bochs"))
    assert summary(verdict) == (Status.AGREE, "none")
    assert verdict.clusters == (("oracle", "bochs", "qemu"),)
    assert "kvm: no /dev/kvm" in verdict.reason
    wrong = world.observe("qemu", world.changed("ready", lowest=0))
    assert world.judge(refused, wrong).culprit == "kernel or qemu", "it alone took part"


def test_triple_fault_is_where_the_trace_ends(world):
    cut = world.observe("qemu", world.events[:5], outcome=Outcome.TRIPLE_FAULT, state=())
    verdict = world.judge(cut, world.observe("bochs"))
    assert verdict.culprit == "qemu"
    assert verdict.signature == "qemu: pass[available] missing: triple-fault (legacy)"


def test_the_outcome_is_compared_after_the_trace(world):
    reset = world.observe("qemu", outcome=Outcome.TRIPLE_FAULT)
    verdict = world.judge(reset, world.observe("bochs"))
    assert verdict.signature == "qemu: outcome:triple-fault instead of completed (legacy)"


def test_memory_that_differs(world):
    wrong = world.observe("qemu", state=world.corrupted("page_tables"))
    verdict = world.judge(wrong, world.observe("bochs"))
    assert verdict.culprit == "qemu"
    assert verdict.signature == "qemu: memory[page_tables].checksum differs (legacy)"
    unread = world.observe("qemu", state=world.state[:1])
    verdict = world.judge(unread, world.observe("bochs"))
    assert verdict.signature == "qemu: memory[frame_owned] missing (legacy)"


def test_the_kernels_claim_against_the_memory(world):
    """Nobody predicts the memory: the kernel's own record of it is what it is held against."""
    expectation = replace(world.expectation, state=())
    wrong = world.corrupted("frame_owned")
    everywhere = [world.observe(name, state=wrong) for name in NAMES]
    for oracle in (lambda _: expectation, None):
        verdict = judge(world.case, oracle, everywhere)
        assert summary(verdict) == (Status.DIVERGE, "kernel")
        assert verdict.signature == "kernel: kernel trace[frame_owned].checksum differs (legacy)"
        assert verdict.difference.compared is Compared.KERNEL_TRACE
        assert verdict.difference.index == world.index("state", 1)
        verdict = judge(world.case, oracle, everywhere[:1])
        assert verdict.culprit == "kernel or bochs"
        mixed = [everywhere[0], world.observe("qemu"), world.observe("unicorn")]
        assert summary(judge(world.case, oracle, mixed)) == (Status.DIVERGE, "bochs")


def test_a_crash_is_no_witness_for_sound_memory(world):
    wrong = world.observe("qemu", state=world.corrupted("frame_owned"))
    crashed = world.observe("bochs", (), outcome=Outcome.BACKEND_CRASHED, state=())
    assert world.judge(wrong, crashed, oracle=False).status is Status.INCONCLUSIVE


def test_what_the_oracle_omits_is_not_predicted(world):
    expectation = world.omitting("paging", "cr3")
    other = world.changed("paging", cr3=0x140000)
    assert (
        judge(world.case, lambda _: expectation, [world.observe("qemu", other)]).status
        is Status.AGREE
    )
    both = [world.observe("bochs"), world.observe("qemu", other)]
    verdict = judge(world.case, lambda _: expectation, both)
    assert summary(verdict) == (Status.INCONCLUSIVE, "unknown")
    assert "does not predict" in verdict.reason
    wrong = world.observe("unicorn", world.changed("ready", lowest=0))
    verdict = judge(world.case, lambda _: expectation, [*both, wrong])
    assert summary(verdict) == (Status.DIVERGE, "unicorn")
    assert verdict.clusters == (("oracle",), ("bochs",), ("qemu",), ("unicorn",))
    assert verdict.signature == "unicorn: ready.lowest lower (legacy)"


def test_rubbish_after_a_trace(world):
    rubbish = world.observe("qemu", rest=b"\xff" * 9)
    verdict = world.judge(rubbish, world.observe("bochs"))
    assert verdict.signature == "qemu: undecodable extra (legacy)"
    same = world.judge(rubbish, world.observe("bochs", rest=b"\xff" * 9))
    assert summary(same) == (Status.DIVERGE, "kernel")
    other = world.judge(rubbish, world.observe("bochs", rest=b"\xfe" * 9))
    assert other.status is Status.INCONCLUSIVE
    assert other.signature == "unknown (bochs / qemu): undecodable.bytes differs (legacy)"


@pytest.mark.parametrize("names", [("qemu", "qemu"), ("oracle",)])
def test_a_name_stands_for_one_account(world, names):
    with pytest.raises(InvalidArgument, match=names[0]):
        world.judge(*map(world.observe, names))


def test_a_verdict_has_a_reason():
    with pytest.raises(InvalidArgument, match="reason"):
        Verdict(Status.AGREE, " ")


def variants(world) -> list[Observation]:
    """Observations that differ, and some that look different and are not."""
    cut = {"state": ()}
    return [
        world.observe("x"),
        world.observe("x", detail="not compared"),
        world.observe("x", world.changed("entry", cr0=0x11)),
        world.observe("x", world.changed("ready", lowest=2)),
        world.observe("x", world.changed("pass", 1, free_frames=158)),
        world.observe("x", world.events[:-1]),
        world.observe("x", world.events[:9], outcome=Outcome.TRIPLE_FAULT, **cut),
        world.observe("x", world.events[:4], outcome=Outcome.DEADLINE, **cut),
        world.observe("x", world.events[:5], outcome=Outcome.DEADLINE, **cut),
        world.observe("x", (), outcome=Outcome.BACKEND_CRASHED, **cut),
        world.observe("x", (), outcome=Outcome.REFUSED, **cut),
        world.observe("x", (), outcome=Outcome.GARBLED, rest=b"?", **cut),
        world.observe("x", rest=b"\0" * 8),
        world.observe("x", rest=b"\1" * 8),
        world.observe("x", state=world.corrupted("frame_bitmap")),
        world.observe("x", state=world.state[1:]),
        world.observe("x", state=world.state[::-1]),
    ]


@given(data=st.data(), oracle=st.booleans())
def test_the_order_of_observations_makes_no_difference(world, data, oracle):
    chosen = data.draw(st.lists(st.sampled_from(variants(world)), max_size=4))
    named = [replace(each, backend=f"backend-{i}") for i, each in enumerate(chosen)]
    shuffled = data.draw(st.permutations(named))
    verdict = world.judge(*named, oracle=oracle)
    assert world.judge(*shuffled, oracle=oracle) == verdict
    assert verdict.reason.isprintable()
    assert (verdict.signature == "") == (verdict.status is Status.AGREE)
    assert (verdict.culprit == "none") == (verdict.status is Status.AGREE)
    members = list(itertools.chain.from_iterable(verdict.clusters))
    assert len(members) == len(set(members))
    present = {each.backend for each in named if each.outcome is not Outcome.REFUSED}
    assert set(members) == present | ({"oracle"} if oracle else set())


@given(data=st.data(), names=st.lists(st.sampled_from("abcdef"), min_size=2, unique=True))
def test_identical_observations_agree_with_each_other(world, data, names):
    one = data.draw(st.sampled_from(variants(world)))
    verdict = world.judge(*(replace(one, backend=name) for name in names))
    if one.outcome in (Outcome.REFUSED, Outcome.BACKEND_CRASHED):
        assert verdict.status is Status.INCONCLUSIVE
    else:
        assert verdict.culprit in ("none", "kernel")
    right = world.judge(*map(world.observe, names))
    assert right.status is Status.AGREE


def flipped(event, name, bit):
    return replace(event, fields={**event.fields, name: event.fields[name] ^ 1 << bit})


@given(data=st.data(), backend=st.sampled_from(NAMES))
def test_one_flipped_bit_is_that_backends_if_it_is_compared(world, data, backend):
    index = data.draw(st.integers(0, len(world.events) - 1))
    event = world.events[index]
    field = data.draw(st.sampled_from(PROTOCOL.events[event.kind].layout.fields))
    bit = data.draw(st.integers(0, field.bits - 1))
    events = world.replaced(index, flipped(event, field.name, bit))
    others = [world.observe(name) for name in NAMES if name != backend]
    verdict = world.judge(world.observe(backend, events), *others)
    masked = field.mask is not None and not field.mask >> bit & 1
    if masked or field.comparison is Comparison.IGNORED:
        assert summary(verdict) == (Status.AGREE, "none")
    else:
        assert summary(verdict) == (Status.DIVERGE, backend)
        assert verdict.difference.index == index
        assert [each.name for each in verdict.difference.fields] == [field.name]


@given(data=st.data())
def test_one_flipped_bit_of_a_records_header_is_that_backends(world, data):
    right = world.observe("qemu")
    starts, offset = [], 0
    for event in world.events:
        starts.append(offset)
        offset += PROTOCOL.trace_record.size + PROTOCOL.events[event.kind].layout.size
    bit = data.draw(st.integers(0, PROTOCOL.trace_record.size * 8 - 1))
    trace = bytearray(right.trace)
    trace[data.draw(st.sampled_from(starts)) + bit // 8] ^= 1 << bit % 8
    verdict = world.judge(right, Observation("bochs", right.outcome, "", bytes(trace), right.state))
    assert summary(verdict) == (Status.DIVERGE, "bochs")


@given(data=st.data())
def test_a_missing_tail_is_found_on_either_side(world, data):
    index = data.draw(st.integers(0, len(world.events) - 1))
    short = world.observe("bochs", world.events[:index])
    verdict = world.judge(short, world.observe("qemu"))
    assert (verdict.culprit, verdict.difference.how) == ("bochs", "missing")
    assert verdict.difference.index == index
    expectation = replace(world.expectation, events=world.events[:index])
    verdict = judge(world.case, lambda _: expectation, [short, world.observe("qemu")])
    assert (verdict.culprit, verdict.difference.how) == ("qemu", "extra")
    assert verdict.difference.index == index
