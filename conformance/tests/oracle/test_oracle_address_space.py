"""The paging structures at start-up, against a walk as the processor does it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import pytest

from conformance.case.case import Case
from conformance.case.memory_map import MemoryMap, Region
from conformance.case.program import Map, Rights
from conformance.observe.observation import StateDigest
from conformance.oracle.address_space import PagingStructures
from conformance.oracle.boot import Layout
from conformance.oracle.expect import expect
from conformance.oracle.expectation import Expectation
from conformance.oracle.setting import Setting
from conformance.protocol import PROTOCOL

MIB = 1 << 20
PAGE = 4096
START = 0x130000
P, W, U = 1, 2, 4
XD = 1 << 63
MODES = [
    pytest.param("legacy", "broadwell", 0, id="legacy"),
    pytest.param("pae", "pentium3", 0, id="pae without NX"),
    pytest.param("pae", "broadwell", XD, id="pae"),
]
MakeCase = Callable[..., Case]


@pytest.fixture
def tables(make_case: MakeCase, layout: Layout) -> Callable[..., bytes]:
    def build(paging: str, cpu: str, stacks: int = 3) -> bytes:
        case = make_case(None, cpu=cpu, paging=paging, stacks=stacks)
        return PagingStructures(Setting.of(case, layout)).content()

    return build


def mapped(content: bytes, paging: str) -> Iterator[tuple[int, int, int, int]]:
    """Linear page, frame, flags of the leaf and of the entry above, of all that is mapped."""

    def entries(frame: int) -> list[int]:
        assert frame % PAGE == 0 and START <= frame < START + len(content)
        table = content[frame - START : frame - START + PAGE]
        return list(struct.unpack("<512Q" if paging == "pae" else "<1024I", table))

    if paging == "pae":
        pointers = entries(START)
        assert [entry & 0xFFF for entry in pointers] == [P] * 4 + [0] * 508
        upper = [entry for pointer in pointers[:4] for entry in entries(pointer & ~0xFFF)]
        reach = 2 * MIB
    else:
        upper, reach = entries(START), 4 * MIB
    address = ~(XD | 0xFFF)
    for index, above in enumerate(upper):
        if above & P:
            for number, leaf in enumerate(entries(above & address)):
                if leaf & P:
                    linear = index * reach + number * PAGE
                    yield linear, leaf & address, leaf & ~address, above & ~address
                else:
                    assert leaf == 0
        else:
            assert above == 0


@pytest.mark.parametrize(("paging", "cpu", "data_only"), MODES)
def test_what_is_mapped_and_no_more(
    tables: Callable[..., bytes], paging: str, cpu: str, data_only: int
) -> None:
    expected = [
        (0x80000000, 0x110000, P | U, P | W | U),
        (0x80001000, 0x112000, P | W | U | data_only, P | W | U),
        *((0xC0000000 + page, page, P | W, P | W) for page in range(0, 16 * MIB, PAGE)),
        *(
            (0xD0001000 + 8192 * number, 0x409000 + 8192 * number, P | W | data_only, P | W)
            for number in range(3)
        ),
    ]
    assert list(mapped(tables(paging, cpu), paging)) == expected


@pytest.mark.parametrize(
    ("paging", "frames"),
    [
        ("legacy", {0x40000000: 7, 0x40400000: 8, 0x80000000: 9, 0xC0000000: 1, 0xD0000000: 5}),
        ("pae", {0x40000000: 17, 0x40200000: 18, 0x40600000: 20, 0x80000000: 21, 0xD0600000: 16}),
    ],
)
def test_which_frame_is_which_table(
    tables: Callable[..., bytes], paging: str, frames: dict[int, int]
) -> None:
    content = tables(paging, "broadwell")
    for linear, frame in frames.items():
        flags = P | W | (U if linear < 0xC0000000 else 0)
        if paging == "pae":
            (entry,) = struct.unpack_from("<Q", content, PAGE + (linear >> 21) * 8)
        else:
            (entry,) = struct.unpack_from("<I", content, (linear >> 22) * 4)
        assert entry == START + frame * PAGE | flags


def test_every_stack_has_its_guard_page(tables: Callable[..., bytes]) -> None:
    pages = {page for page, *_ in mapped(tables("pae", "core2duo", 1024), "pae")}
    assert {0xD0001000 + 8192 * number for number in range(1024)} <= pages
    assert not {0xD0000000 + 8192 * number for number in range(1025)} & pages


@pytest.mark.parametrize(("paging", "words"), [("legacy", 22 * 1024), ("pae", 22 * 1024)])
def test_the_digest_is_of_all_frames(
    make_case: MakeCase,
    layout: Layout,
    tables: Callable[..., bytes],
    paging: str,
    words: int,
) -> None:
    case = make_case(
        MemoryMap((Region(0x1000000, 0x1000),)),
        cpu="core2duo",
        paging=paging,
        stacks=3,
        state=("page_tables",),
    )
    region = PROTOCOL.state_regions["page_tables"]
    digest = StateDigest.of(region, tables(paging, "core2duo"))
    assert digest.words == words
    assert expect(case, layout).state == (digest,)


def test_a_mapping_shows_in_the_digest(perform: Callable[..., Expectation]) -> None:
    def digest(*operations: Map) -> int:
        (state,) = perform(*operations, state=("page_tables",)).state
        return state.checksum

    # The PTE of 0x40401000 is entry 1 of frame 19: 2 words an entry, in 22 * 1024 words.
    index = 19 * 1024 + 2
    value = 0x405000 | P | W
    before, after = digest(), digest(Map(0x40401000, 5, Rights.WRITABLE))
    low, high = (after - before) % (1 << 32), ((after >> 32) - (before >> 32)) % (1 << 32)
    assert low == value
    assert high == value * (22 * 1024 - index) % (1 << 32)
