"""The oracle of 4-level paging: entries at all levels, huge pages, what may be kept of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.unicorn_model.access_rights import Access as ModelAccess
from backends.unicorn_model.access_rights import Privilege
from backends.unicorn_model.control_state import ControlState
from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.faults import PageFault
from backends.unicorn_model.mmu import Mmu
from conformance.case.case import Case
from conformance.case.image import Image, default_image
from conformance.case.machine import Machine
from conformance.case.memory_map import PLAIN_MAP
from conformance.case.operation import Operation, Rights
from conformance.case.processor import Feature
from conformance.case.program import (
    Invalidate,
    Map,
    Probe,
    Program,
    Protect,
    ReadEntry,
    Reload,
    Unmap,
    WriteEntry,
)
from conformance.observe.trace import Event
from conformance.oracle.address_space import PagingStructures, entry_address
from conformance.oracle.control import ControlRegisters
from conformance.oracle.expect import expect
from conformance.oracle.expectation import Expectation
from conformance.oracle.setting import Setting
from conformance.oracle.translation import Access, error_code, right, walk
from conformance.protocol import PROTOCOL

BROADWELL = Machine(cpu_profile="broadwell", paging="4-level")
CORE2DUO = Machine(cpu_profile="core2duo", paging="4-level")
VALUES = PROTOCOL.images["x86_64"]
SLOT = VALUES.area["probe"]
OTHER = SLOT + VALUES.constants["probe_slot_size"]
LEVELS = ("page_table", "page_directory", "pointer_table", "root_table")
W, U, X = Rights.WRITABLE, Rights.USER, Rights.NO_EXECUTE
LARGE, HUGE = Rights.LARGE_PAGE, Rights.HUGE_PAGE
ALL = W | U
XD = 1 << 63
DONE, NOT_PRESENT, READ_ONLY = "done", 0x2, 0x3


@pytest.fixture(scope="module")
def image() -> Image:
    return default_image("x86_64")


def ask(
    image: Image,
    *operations: Operation,
    machine: Machine = BROADWELL,
    witness: tuple[Event, ...] = (),
) -> Expectation:
    return expect(Case(image.id, machine, PLAIN_MAP, Program(operations)), image, witness)


def shown(expectation: Expectation) -> list[str | int]:
    """What each operation came to: a reason, an error code, an entry, or that it was done."""
    found: dict[int, str | int] = {}
    for event in expectation.events:
        number = event.fields.get("operation", -1)
        if event.kind == "rejected":
            found[number] = PROTOCOL.enums["rejection"][event.fields["reason"]]
        elif event.kind == "fault":
            found[number] = event.fields["error_code"]
        elif event.kind == "entry_read":
            found[number] = event.fields["value"]
        elif event.kind in ("changed", "attempted"):
            found.setdefault(number, DONE)
    return [found[number] for number in sorted(found)]


REJECTED: list[tuple[Machine, list[Operation], str]] = [
    (BROADWELL, [Map(0, 9, LARGE | HUGE)], "bad_value"),
    (BROADWELL, [Map(SLOT - 1, 9, HUGE)], "bad_address"),
    (BROADWELL, [Map(OTHER + 0x8000)], "bad_address"),
    (BROADWELL, [Map(SLOT + 1, 1, HUGE)], "bad_frame"),
    (CORE2DUO, [Map(SLOT + 0x1000, 0, HUGE)], "bad_address"),
    (CORE2DUO, [Map(SLOT, 0, HUGE)], "no_feature"),
    (BROADWELL, [Map(SLOT, 0, HUGE), Map(SLOT, 0, HUGE)], "already_mapped"),
    (BROADWELL, [Map(SLOT, 0, HUGE), Map(SLOT, 0, LARGE)], "already_mapped"),
    (BROADWELL, [Map(SLOT, 0, HUGE), Map(SLOT + 0x7FFF)], "already_mapped"),
    (BROADWELL, [Protect(0, HUGE)], "bad_value"),
    (
        BROADWELL,
        [Map(SLOT, 0, HUGE), WriteEntry(SLOT, "pointer_table", 1), Unmap(SLOT)],
        "not_mapped",
    ),
    *(
        (BROADWELL, [Map(SLOT, 0, HUGE), WriteEntry(SLOT + 0x5000, level, 1 << 12)], "bad_level")
        for level in LEVELS[:2]
    ),
    (BROADWELL, [Map(SLOT, 0, LARGE), ReadEntry(SLOT, "page_table")], "bad_level"),
    *(
        (machine, [WriteEntry(SLOT, level, 0, 1 << bit)], "bad_bits")
        for machine in (BROADWELL, CORE2DUO)
        for level in LEVELS
        for bit in (12, 13, 29, 39)
    ),
    *((BROADWELL, [WriteEntry(SLOT, level, 0, 1 << 7)], "bad_bits") for level in LEVELS[:3]),
    *(
        (
            BROADWELL,
            [Map(SLOT, 0, HUGE), WriteEntry(SLOT, "pointer_table", 0, 1 << bit)],
            "bad_bits",
        )
        for bit in (7, 12, 30, 39)
    ),
    # What PS is there decides, and not what it will be.
    (
        CORE2DUO,
        [
            WriteEntry(SLOT, "pointer_table", 0, 1 << 7),
            WriteEntry(SLOT, "pointer_table", 0, 1 << 13),
        ],
        "bad_bits",
    ),
]


@pytest.mark.parametrize(("machine", "operations", "reason"), REJECTED)
def test_rejections(
    image: Image, machine: Machine, operations: list[Operation], reason: str
) -> None:
    found = shown(ask(image, *operations, machine=machine))
    assert found == [DONE] * (len(operations) - 1) + [reason]


def test_a_huge_page_over_tables(image: Image) -> None:
    pointers = PROTOCOL.images["x86_64"]
    assert pointers.area["probe"] % (1 << 30) == image.bounds("probe_arena")[0]
    expectation = ask(
        image,
        Map(SLOT, 3),
        Map(SLOT, 0, LARGE | W),
        Map(SLOT, 0, HUGE | U | X),
        ReadEntry(SLOT + 0x7000, "pointer_table"),
        Probe(SLOT + 0x7004, "read", 1),
        Protect(SLOT + 0x2000, W),
        ReadEntry(SLOT, "pointer_table"),
        Unmap(SLOT + 0x5000),
        ReadEntry(SLOT, "page_directory"),
        Unmap(SLOT),
        ReadEntry(SLOT, "page_table"),
        Probe(SLOT + 4, "read", 1),
    )
    arena = image.bounds("probe_arena")[0]
    read = [each for each in shown(expectation) if isinstance(each, int)]
    # The probe left its mark in the huge page's entry.
    assert read == [0x85 | XD, 0x83 | 0x20, arena | 0x83, arena + 0x3000 | 1]
    values = [each.fields["value"] for each in expectation.events if each.kind == "attempted"]
    assert values == [0x3E, 0x3E]


@pytest.mark.parametrize("level", LEVELS)
def test_bits_of_each_level(image: Image, level: str) -> None:
    flags = 0xF7F | (1 << 7 if level == "root_table" else 0)
    bits = flags | (1 << 64) - (1 << 40)
    before, after, last = shown(
        ask(
            image,
            ReadEntry(SLOT, level),
            WriteEntry(SLOT, level, 0, bits),
            ReadEntry(SLOT, level),
            WriteEntry(SLOT, level, bits),
            ReadEntry(SLOT, level),
        )
    )[::2]
    assert isinstance(before, int)
    assert (after, last) == (before | bits, before & ~bits)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("clear", "set_bits", "codes"),
    [
        (1 << 0, 0, [2, 6, 20]),
        (1 << 1, 0, [3, 7, DONE]),
        (1 << 2, 0, [DONE, 7, 21]),
        (0, XD, [DONE, DONE, 21]),
        (0, 1 << 40, [11, 15, 29]),
        (0, 1 << 51, [11, 15, 29]),
        (0, 1 << 52, [DONE, DONE, DONE]),
    ],
    ids=["P", "W", "U", "XD", "40", "51", "52"],
)
def test_one_entry_decides(
    image: Image, level: str, clear: int, set_bits: int, codes: list[int | str]
) -> None:
    expectation = ask(
        image,
        Map(SLOT, rights=ALL),
        WriteEntry(SLOT, level, clear, set_bits),
        Probe(SLOT, "write"),
        Probe(SLOT, "write", ring=3),
        Probe(SLOT, "execute", 1, ring=3),
    )
    assert shown(expectation)[2:] == codes


@pytest.mark.parametrize(
    ("machine", "level", "size", "bit", "reserved"),
    [
        (BROADWELL, "root_table", Rights(0), 7, True),
        (CORE2DUO, "pointer_table", Rights(0), 7, True),
        (BROADWELL, "pointer_table", HUGE, 13, True),
        (BROADWELL, "pointer_table", HUGE, 29, True),
        (BROADWELL, "pointer_table", HUGE, 40, True),
        (BROADWELL, "pointer_table", HUGE, 62, False),
        (BROADWELL, "page_directory", LARGE, 20, True),
        (BROADWELL, "page_directory", Rights(0), 8, False),
    ],
)
def test_bits_reserved_where_others_are_not(
    image: Image, machine: Machine, level: str, size: Rights, bit: int, reserved: bool
) -> None:
    operations = (
        Map(SLOT, rights=ALL | size),
        WriteEntry(SLOT, level, 0, 1 << bit),
        Probe(SLOT, "write"),
    )
    assert shown(ask(image, *operations, machine=machine))[-1] == (0xB if reserved else DONE)


@pytest.mark.parametrize("level", LEVELS[1:])
class TestKept:
    """An upper entry that was used, and then loses a flag unseen (4.10.3)."""

    CHANGES = ((1 << 0, NOT_PRESENT), (1 << 1, READ_ONLY))

    def outcomes(self, image: Image, flag: int, level: str, *between: Operation) -> set[str | int]:
        """What a write to a neighbour of the page that was used may come to."""
        operations = (
            Map(SLOT, 0, ALL),
            Map(SLOT + 0x1000, 1, ALL),
            Probe(SLOT, "write"),
            WriteEntry(SLOT, level, flag, 0, False),
            *between,
            Probe(SLOT + 0x1000, "write"),
        )
        plain = ask(image, *operations)
        allowed: set[str | int] = set()
        for code in (DONE, NOT_PRESENT, READ_ONLY):
            witness = self._with_last(plain, len(operations) - 1, code)
            found = ask(image, *operations, witness=witness)
            if shown(found)[-1] == code:
                allowed.add(code)
        return allowed

    def _with_last(self, expectation: Expectation, last: int, code: str | int) -> tuple[Event, ...]:
        """The trace, with another outcome of the last operation."""
        events = list(expectation.events)
        start = next(n for n, each in enumerate(events) if each.fields.get("operation") == last)
        end = next(n for n, each in enumerate(events) if each.kind == "control")
        fault = next((each for each in events[start:end] if each.kind == "fault"), None)
        changed = []
        if code != DONE:
            assert fault is not None
            changed = [Event("fault", {**fault.fields, "error_code": int(code)})]
        outcome = PROTOCOL.code("attempt", "done" if code == DONE else "faulted")
        changed.append(Event("attempted", {"operation": last, "outcome": outcome, "value": 0}))
        return (*events[:start], *changed, *events[end:])

    def test_it_may_be_used_or_not(self, image: Image, level: str) -> None:
        for flag, fault in self.CHANGES:
            assert self.outcomes(image, flag, level) == {DONE, fault}

    @pytest.mark.parametrize(
        "told",
        [Invalidate(SLOT), Invalidate(SLOT + 0x1000), Invalidate(OTHER), Reload()],
        ids=["its page", "a neighbour", "elsewhere", "cr3"],
    )
    def test_it_is_not_used_after_an_invalidation(
        self, image: Image, level: str, told: Operation
    ) -> None:
        """INVLPG drops the paging-structure caches for all addresses (4.10.4.1)."""
        for flag, fault in self.CHANGES:
            assert self.outcomes(image, flag, level, told) == {fault}

    def test_a_page_fault_drops_it(self, image: Image, level: str) -> None:
        faults = Probe(SLOT + 0x2000)
        for flag, fault in self.CHANGES:
            assert self.outcomes(image, flag, level, faults) == {fault}

    def test_a_page_fault_elsewhere_drops_what_it_shares(self, image: Image, level: str) -> None:
        """Only the entry of the root table is that of the other slot too."""
        faults = Probe(OTHER)
        for flag, fault in self.CHANGES:
            found = self.outcomes(image, flag, level, faults)
            # Below the root table, entries for this slot are kept, with what was above them.
            assert found == {DONE, fault}


entry_flags = st.builds(
    lambda flags, high, reserved: flags | high | reserved,
    st.integers(0, 0xFFF).map(lambda flags: flags & ~0x80 | 1)
    | st.integers(0, 0xFFF).map(lambda flags: flags & ~0x80),
    st.sampled_from([0, 0, 0, XD]),
    st.sampled_from([0, 0, 0, 0, 1 << 40, 1 << 51, 1 << 62]),
)


class Memory:
    """The model's view of the oracle's paging structures."""

    def __init__(self, structures: PagingStructures) -> None:
        self.structures = structures

    def read(self, address: int, size: int) -> int:
        return self.structures.read(address)

    def set_bits(self, address: int, size: int, flags: int) -> None:
        """The flags are not compared."""


@settings(max_examples=300)
@given(
    data=st.data(),
    bits=st.tuples(*[st.booleans()] * 4),
    huge_pages=st.booleans(),
    size=st.sampled_from([Rights(0), LARGE, HUGE]),
    linear=st.integers(SLOT, SLOT + 0x7FFF),
    kind=st.sampled_from(["read", "write", "execute"]),
    user=st.booleans(),
    check=st.booleans(),
)
def test_the_walk_agrees_with_the_model(
    image: Image,
    data: st.DataObject,
    bits: tuple[bool, ...],
    huge_pages: bool,
    size: Rights,
    linear: int,
    kind: str,
    user: bool,
    check: bool,
) -> None:
    """Two statements of one manual, by different hands."""
    protect, no_execute, smep, smap = bits
    setting = Setting.of(Case(image.id, BROADWELL, PLAIN_MAP), image)
    if not huge_pages:
        setting = replace(setting, features=setting.features & ~Feature.HUGE_PAGES)
    structures = PagingStructures(setting)
    pages = {
        "root_table": (Rights(0), 0),
        "pointer_table": (HUGE, 0),
        "page_directory": (LARGE, setting.arena),
        "page_table": (Rights(0), 0),
    }
    for level, (own, frame) in pages.items():
        address = entry_address(setting, level, linear)
        entry = structures.read(address) & ~0xFFF
        if level == "page_table":
            entry = setting.arena + 0x3000
        elif size is own and (own or data.draw(st.integers(0, 9)) == 0):
            entry = frame if own else entry
            entry |= 1 << 7 | data.draw(st.sampled_from([0, 0, 1 << 13, 1 << 20] if own else [0]))
        structures.write(address, entry | data.draw(entry_flags))

    control = ControlRegisters(protect, False, no_execute, smep, smap)
    access = Access(kind, user, check)
    walked = walk(setting, structures, control, linear)
    ours: tuple[str, int]
    if walked.translation is not None and right(access, control, walked.translation)[0]:
        page = walked.translation
        ours = "physical", page.physical + linear - page.start
    else:
        obstacle = walked.obstacle if walked.translation is None else None
        ours = "error code", error_code(setting, control, access, obstacle)

    state = ControlState(
        cr0=1 << 31 | protect << 16 | 1,
        cr3=setting.tables[0],
        cr4=1 << 5 | smep << 20 | smap << 21,
        efer=no_execute << 11 | 1 << 8 | 1 << 10,
        alignment_check=check,
    )
    profile = CpuProfile(maxphyaddr=40, has_1gib_pages=huge_pages)
    mmu = Mmu(Memory(structures), profile)  # type: ignore[arg-type]
    accesses = {"read": ModelAccess.READ, "write": ModelAccess.WRITE, "execute": ModelAccess.FETCH}
    privilege = Privilege.USER if user else Privilege.SUPERVISOR
    theirs: tuple[str, int]
    try:
        theirs = "physical", mmu.translate(state, linear, accesses[kind], privilege).physical
    except PageFault as fault:
        theirs = "error code", fault.error_code
        used = fault.left_open
    else:
        used = walked.used
    assert used == walked.used
    assert ours == theirs
