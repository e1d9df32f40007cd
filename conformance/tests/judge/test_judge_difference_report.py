"""The first difference as people and programs get to see it."""

from __future__ import annotations

import json
import textwrap
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from conformance.judge.blame import judge
from conformance.observe.observation import MachineFault, Outcome
from conformance.observe.trace import Event
from conformance.oracle.expectation import Choice, Expectation, Rule
from conformance.report.difference import as_json, show
from conformance.report.symbols import Symbols


def shown(world, *observations, expectation=None, **options):
    expected = expectation or world.expectation
    verdict = judge(world.case, lambda _: expected, observations)
    return show(verdict, observations, **options)


def data(world, *observations, **options):
    verdict = judge(world.case, lambda _: world.expectation, observations)
    return as_json(verdict, observations, **options)


def text(block):
    return textwrap.dedent(block).lstrip("\n")


def test_a_field_that_differs(world):
    wrong = world.observe("unicorn", world.changed("pass", 3, free_frames=159))
    assert shown(world, wrong, world.observe("qemu"), world.observe("bochs")) == text("""
        first difference: event 8 of the trace
             3  map_end entries=1 problem=none
             4  pass pass=all_used free_frames=0
             5  pass pass=available free_frames=159
             6  pass pass=unavailable free_frames=159
             7  reserved pass=first_frame first=0 end=1

              oracle, bochs, qemu            unicorn
              -------------------            -------
                pass                           pass
                  pass         first_frame       pass         first_frame
              >   free_frames  158           >   free_frames  159
        """)


def test_another_event_and_none_at_all(world):
    index = world.index("allocated")
    other = Event("allocation_failed", {"operation": 0, "reason": 0})
    wrong = world.observe("bochs", world.replaced(index, other))
    cut = world.observe("qemu", world.events[:index], outcome=Outcome.TRIPLE_FAULT, state=())
    assert shown(world, wrong, cut, world.observe("unicorn"), context=1) == text("""
        first difference: event 10 of the trace
             9  ready free_frames=158 lowest=1

              oracle, unicorn    bochs                      qemu
              ---------------    -----                      ----
              > allocated        > allocation_failed        > (nothing: the trace ends here)
                  operation  0       operation  0               outcome  triple-fault
                  frame      1       reason     none_free
                  count      1
        """)


def test_an_outcome(world):
    late = world.observe(
        "bochs", world.events[:5], outcome=Outcome.DEADLINE, state=(), detail="no end after 10 s"
    )
    assert shown(world, late, world.observe("qemu"), context=2) == text("""
        first difference: how the run ended
        the last events of bochs:
             3  map_end entries=1 problem=none
             4  pass pass=all_used free_frames=0

              oracle, qemu   bochs
              ------------   -----
              > completed    > deadline
                                 detail  no end after 10 s
        """)


def test_memory(world):
    wrong = world.observe("qemu", state=world.corrupted("frame_owned"))
    assert shown(world, wrong, context=0) == text("""
        first difference: memory at the end, frame_owned, read from outside

              oracle                             qemu
              ------                             ----
                state                              state
                  region    frame_owned              region    frame_owned
                  words     16                       words     16
              >   checksum  0x1111111020202020   >   checksum  0x1111111020202120
                  sha256    f83b332be4e6a5a4         sha256    f83b332be4e6a5a4
        """)
    unread = shown(world, world.observe("qemu", state=()), context=0)
    assert "> (not read)" in unread


def test_the_kernels_own_record(world):
    expectation = replace(world.expectation, state=())
    wrong = world.observe("qemu", state=world.corrupted("frame_owned"))
    assert shown(world, wrong, expectation=expectation, context=0) == text("""
        first difference: event 20, the kernel's own record of its memory

              qemu: memory, read from outside    qemu: what the kernel says
              -------------------------------    --------------------------
                state                              state
                  region    frame_owned              region    frame_owned
                  words     16                       words     16
              >   checksum  0x1111111020202120   >   checksum  0x1111111020202020
        """)


def test_the_machines_own_record(world):
    machine = MachineFault(vector=14, error_code=0xB, eip=0xC0101234)
    wrong = world.observe("qemu", faults=(machine,))
    right = replace(wrong, backend="bochs", faults=(replace(machine, error_code=9),))
    symbols = Symbols({"fault_at_read_4": 0xC0101234, "kernel_image_end": 0xC0110000})
    assert shown(world, wrong, right, symbols=symbols, context=0) == text("""
        first difference: event 15, the kernel's record of what the machine recorded too

              qemu: the machine's own record                 qemu: what the kernel recorded
              ------------------------------                 ------------------------------
                fault                                          fault
                  vector      page_fault                         operation     4
              >   error_code  11                                 vector        page_fault
                  eip         fault_at_read_4 (0xc0101234)   >   error_code    9
                                                                 cr2           0x40000000
                                                                 eip           fault_at_read_4
                                                                               (0xc0101234)
                                                                 esp           0xc0150000
                                                                 cpl           0
                                                                 stack         probe
                                                                 stack_number  0
        """)
    missing = world.observe("qemu", faults=(machine, machine))
    found = data(world, missing, replace(right, faults=(replace(machine, error_code=9),)))
    assert (found["compared"], found["how"], found["index"]) == ("machine-record", "fields", 15)


def test_a_fault_that_the_kernel_did_not_record(world):
    machine = MachineFault(vector=14)
    wrong = world.observe("qemu", faults=(machine, MachineFault(vector=13)))
    found = shown(world, wrong, world.observe("bochs", faults=(machine,)), context=0)
    assert found.startswith("first difference: after the last fault that the kernel recorded\n")
    assert "vector  general_protection" in found
    assert "> (nothing)" in found


def test_an_instruction_pointer_has_a_name(world):
    symbols = Symbols({"fault_at_write_4": 0xC0101200, "kernel_image_end": 0xC0110000})
    wrong = world.observe("unicorn", world.changed("attempted", value=1))
    observations = wrong, world.observe("qemu")
    words = shown(world, *observations, symbols=symbols, context=1).split()
    assert "eip=fault_at_write_4+0x34 (0xc0101234)" in " ".join(words)
    assert "eip=0xc0101234" in shown(world, *observations, context=1)
    found = data(world, *observations, symbols=symbols, context=1)
    assert "eip=fault_at_write_4+0x34 (0xc0101234)" in found["context"][0]


def test_the_oracles_column_is_what_it_was_measured_against(world):
    """The expectation that follows the choice of whoever is shown, not somebody else's."""
    index = world.index("entry_read")
    rule = Rule("accessed flag", "SDM vol. 3, 4.8")

    def predict(witness):
        value = witness[index].fields["value"]
        choice = Choice(index, rule, 2, int(value == 7))
        return Expectation(
            Outcome.COMPLETED,
            world.changed("entry_read", value=value),
            world.state,
            choices=(choice,),
        )

    chose = list(world.changed("entry_read", value=7))
    chose[-1] = Event("completed", {"operations": 9})
    wrong = world.observe("qemu", tuple(chose))
    observations = wrong, world.observe("bochs")
    verdict = judge(world.case, predict, observations)
    assert verdict.difference.names == ("oracle", "qemu")
    assert verdict.expectation.events[index].fields["value"] == 7
    found = show(verdict, observations)
    (row,) = [line.split() for line in found.splitlines() if "operations" in line]
    assert row == [">", "operations", "6", ">", "operations", "6", ">", "operations", "9"]


def test_without_a_difference_there_is_the_reason(world):
    assert shown(world, world.observe("qemu")) == "qemu agrees with the oracle\n"
    assert data(world, world.observe("qemu")) is None


def test_plain_data(world):
    index = world.index("ready")
    wrong = world.observe("bochs", world.changed("ready", lowest=2, free_frames=157))
    cut = world.observe("unicorn", world.events[:index])
    found = data(world, wrong, cut, world.observe("qemu"), context=2)
    assert found == {
        "index": index,
        "compared": "trace",
        "how": "fields",
        "context": [str(event) for event in world.events[index - 2 : index]],
        "sides": {
            "oracle, qemu": "ready free_frames=158 lowest=1",
            "bochs": "ready free_frames=157 lowest=2",
            "unicorn": None,
        },
        "fields": {"free_frames": "lower", "lowest": "higher"},
    }
    assert json.loads(json.dumps(found)) == found


def test_a_column_shows_what_a_backend_saw_where_the_oracle_leaves_it_open(world):
    expectation = world.omitting("paging", "cr3")
    wrong = world.observe("bochs", world.changed("paging", cr0=0))
    found = shown(world, wrong, world.observe("qemu"), expectation=expectation)
    assert "oracle, qemu" in found
    assert found.count("cr3       0x130000") == 2


def test_every_side_that_differs_is_marked(world):
    """Also where it differs in another field than the pair that the verdict is about."""
    one = world.observe("bochs", world.changed("ready", lowest=2))
    other = world.observe("unicorn", world.changed("ready", free_frames=1))
    lines = shown(world, one, other, world.observe("qemu")).splitlines()
    assert any(line.endswith(">   free_frames  1") for line in lines)
    assert any(">   lowest       2" in line for line in lines)


@given(data=st.data())
def test_it_fits_and_is_printable_whatever_a_backend_says(world, data):
    strange = st.text(min_size=1, max_size=150)
    names = data.draw(st.lists(strange, min_size=1, max_size=4, unique=True))
    kinds = st.sampled_from(("right", "field", "cut", "deadline", "memory", "kind"))

    def observe(name):
        match data.draw(kinds):
            case "field":
                return world.observe(name, world.changed("entry", a20=data.draw(st.integers(2, 9))))
            case "cut":
                return world.observe(name, world.events[: data.draw(st.integers(0, 9))])
            case "deadline":
                return world.observe(name, outcome=Outcome.DEADLINE, detail=data.draw(strange))
            case "memory":
                return world.observe(name, state=world.state[data.draw(st.integers(0, 3)) :])
            case "kind":
                return world.observe(name, world.replaced(4, world.events[3]))
        return world.observe(name)

    observations = [observe(name) for name in names if name != "oracle"]
    for line in shown(world, *observations).splitlines():
        assert len(line) <= 100
        assert line.isprintable()
