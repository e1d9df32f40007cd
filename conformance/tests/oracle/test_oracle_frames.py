"""The oracle's answers, one for each rule of kernel/TRACE.md."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conformance.case.case import Case
from conformance.case.memory_map import MemoryMap, Region
from conformance.case.program import (
    Allocate,
    AllocateRun,
    Count,
    Dump,
    Exhaust,
    Free,
    FreeAddress,
    Operation,
)
from conformance.errors import ImageError, InvalidArgument
from conformance.observe.observation import Outcome
from conformance.observe.trace import Event, decode, encode
from conformance.oracle.allocator import FrameAllocator
from conformance.oracle.boot import Layout
from conformance.oracle.expect import expect
from conformance.oracle.expectation import Expectation
from conformance.protocol import PROTOCOL

Run = Callable[..., Expectation]
MakeCase = Callable[..., Case]
LayoutWithTrace = Callable[[int], Layout]

FRAME = 4096
GIB_4 = 1 << 32
# Frames [0x200, 0x210): away from everything that the kernel reserves.
SMALL = MemoryMap((Region(0x200 * FRAME, 0x10 * FRAME),))


def tail(expectation: Expectation) -> list[str]:
    """The events of the operations, as text without their numbers."""
    events = list(expectation.events)
    kinds = [event.kind for event in events]
    return [str(event) for event in events[kinds.index("stacks") + 1 : kinds.index("control")]]


def free_ranges(expectation: Expectation) -> list[tuple[int, int]]:
    """What `dump` listed."""
    return [
        (event.fields["first"], event.fields["end"])
        for event in expectation.events
        if event.kind == "free_range"
    ]


def only(expectation: Expectation, kind: str) -> Event:
    """The one event of a kind."""
    (event,) = (event for event in expectation.events if event.kind == kind)
    return event


class TestBoot:
    def test_entry_and_paging_come_first(self, run: Run) -> None:
        entry, paging = run(SMALL).events[:2]
        assert str(entry) == (
            "entry magic=0x2badb002 information=0x10000 cr0=1 eflags=0 a20=1"
            " code_limit=0xffffffff data_limit=0xffffffff stack_limit=0xffffffff"
        )
        assert str(paging) == "paging cr0=0x80010001 cr3=0x130000 cr4=0 efer=0 features=3"

    def test_regions_are_reported_as_read_and_in_order(self, run: Run) -> None:
        backwards = MemoryMap((Region(GIB_4, 0x1000, 0xFFFF, 24), Region(0x1, 0x2, 3)))
        events = [str(event) for event in run(backwards).events[2:5]]
        assert events == [
            "region index=0 base=0x100000000 length=4096 type=65535 entry_size=24",
            "region index=1 base=1 length=2 type=3 entry_size=20",
            "map_end entries=2 problem=none",
        ]

    def test_passes_in_order_with_what_each_takes_back(self, run: Run) -> None:
        memory_map = MemoryMap((Region(0, 0x200 * FRAME), Region(0x1FF000, 1, 2)))
        events = [str(event) for event in run(memory_map, Allocate()).events[5:-4]]
        assert events == [
            "pass pass=all_used free_frames=0",
            "pass pass=available free_frames=512",
            "pass pass=unavailable free_frames=511",
            "reserved pass=first_frame first=0 end=1",
            "pass pass=first_frame free_frames=510",
            "reserved pass=kernel_image first=256 end=304",
            "pass pass=kernel_image free_frames=462",
            "reserved pass=information first=16 end=17",
            "pass pass=information free_frames=461",
            "reserved pass=memory_map first=17 end=18",
            "pass pass=memory_map free_frames=460",
            # In the frame of the information: taken back already.
            "reserved pass=module_list first=16 end=17",
            "pass pass=module_list free_frames=460",
            "reserved pass=module first=32 end=33",
            "pass pass=module free_frames=459",
            "reserved pass=page_tables first=304 end=326",
            "pass pass=page_tables free_frames=437",
            "reserved pass=task_stacks first=1032 end=1048",
            "pass pass=task_stacks free_frames=437",
            "reserved pass=probe_arena first=1024 end=1032",
            "pass pass=probe_arena free_frames=437",
            "reserved pass=trace_buffer first=328 end=392",
            "pass pass=trace_buffer free_frames=373",
            "ready free_frames=373 lowest=1",
        ]

    def test_map_and_module_of_more_than_a_frame(self, run: Run) -> None:
        memory_map = MemoryMap((*SMALL.regions, *[Region(0, 0, 2)] * 170))  # 171 * 24 = 4104
        events = [str(event) for event in run(memory_map, *[Count()] * 1021).events]  # 4100
        assert "reserved pass=memory_map first=17 end=19" in events
        assert "reserved pass=module first=32 end=34" in events

    def test_an_empty_map_takes_nothing_back(self, run: Run) -> None:
        events = [str(event) for event in run(MemoryMap()).events]
        assert "map_end entries=0 problem=none" in events
        assert "reserved pass=memory_map first=17 end=17" in events

    def test_without_a_map_its_pass_is_left_out(self, run: Run) -> None:
        expectation = run(None, Allocate())
        passes = [str(event) for event in expectation.events if event.kind == "pass"]
        assert str(expectation.events[2]) == "map_end entries=0 problem=absent"
        assert len(passes) == 12
        assert "pass pass=memory_map free_frames=0" not in passes

    @pytest.mark.parametrize(
        "memory_map",
        [
            None,
            MemoryMap(),
            MemoryMap((Region(0, FRAME),)),
            MemoryMap((Region(GIB_4, GIB_4),)),
            MemoryMap((Region(0, GIB_4, 2),)),
        ],
    )
    def test_no_usable_frame(self, run: Run, memory_map: MemoryMap | None) -> None:
        expectation = run(memory_map, Allocate())
        assert expectation.outcome is Outcome.PANICKED
        assert [str(event) for event in expectation.events[-2:]] == [
            "ready free_frames=0 lowest=0xffffffff",
            "panic reason=no_usable_frame detail=0",
        ]
        assert expectation.state == ()

    @pytest.mark.parametrize(
        ("second", "problem", "entries"),
        [
            (Region(0x300000, FRAME, 1, 24), "none", 2),
            (Region(0x300000, FRAME, 1, 19), "small_entry", 1),
            (Region(0x300000, FRAME, 1, 0), "small_entry", 1),
            (Region(0x300000, FRAME, 1, 0xFFFFFFFF), "truncated_entry", 1),
        ],
    )
    def test_entries_before_a_problem_count(
        self, run: Run, second: Region, problem: str, entries: int
    ) -> None:
        expectation = run(MemoryMap((*SMALL.regions, second)), Dump())
        assert str(only(expectation, "map_end")) == f"map_end entries={entries} problem={problem}"
        expected = [(0x200, 0x210), (0x300, 0x301)]
        assert free_ranges(expectation) == expected[:entries]

    def test_a_cut_map(self, run: Run) -> None:
        expectation = run(MemoryMap((*SMALL.regions, Region(0x300000, FRAME)), cut=1), Dump())
        assert str(only(expectation, "map_end")) == "map_end entries=1 problem=truncated_entry"
        assert free_ranges(expectation) == [(0x200, 0x210)]


A = 0x200000  # frame 0x200
TYPE_1, TYPE_2 = 1, 2


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        pytest.param([(A, 3 * FRAME)], [(0x200, 0x203)], id="whole frames"),
        pytest.param([(A + 1, 3 * FRAME)], [(0x201, 0x203)], id="partial first and last frame"),
        pytest.param([(A + 1, 3 * FRAME - 1)], [(0x201, 0x203)], id="partial first frame"),
        pytest.param([(A, 3 * FRAME - 1)], [(0x200, 0x202)], id="partial last frame"),
        pytest.param([(A + 1, 2 * FRAME - 2)], [], id="no whole frame"),
        pytest.param([(A, 0)], [], id="empty"),
        pytest.param([(A, FRAME), (A + FRAME, FRAME)], [(0x200, 0x202)], id="adjacent merge"),
        pytest.param([(A, 2048), (A + 2048, 2048)], [], id="two halves make no frame"),
        pytest.param([(A, FRAME), (A, FRAME)], [(0x200, 0x201)], id="duplicate"),
        pytest.param([(A, 4 * FRAME), (A + FRAME, 8192)], [(0x200, 0x204)], id="nested"),
        pytest.param(
            [(A, 4 * FRAME), (A + FRAME + 4095, 1, 2)],
            [(0x200, 0x201), (0x202, 0x204)],
            id="one unavailable byte",
        ),
        pytest.param(
            [(A + FRAME + 4095, 2, 2), (A, 4 * FRAME)],
            [(0x200, 0x201), (0x203, 0x204)],
            id="unavailable wins, whatever the order",
        ),
        pytest.param([(A, FRAME), (A, FRAME, 0)], [], id="type 0"),
        pytest.param([(A, FRAME), (A, FRAME, 0xFFFFFFFF)], [], id="unknown type"),
        pytest.param([(A, FRAME), (A + 8, 0, 2)], [(0x200, 0x201)], id="empty unavailable"),
        pytest.param([(GIB_4 - FRAME, 3 * FRAME)], [(0xFFFFF, 0x100000)], id="straddling 4 GiB"),
        pytest.param([(GIB_4 - 1, FRAME + 1), (A, FRAME)], [(0x200, 0x201)], id="last byte below"),
        pytest.param([(GIB_4 + A, FRAME)], [], id="above 4 GiB is not low memory"),
        pytest.param(
            [(A, GIB_4 + FRAME)], [(0x200, 0x400), (0x418, 0x100000)], id="length above 4 GiB"
        ),
        pytest.param(
            [(A, FRAME), (GIB_4 + A, FRAME, 2)], [(0x200, 0x201)], id="unavailable above 4 GiB"
        ),
        pytest.param(
            [((1 << 64) - FRAME, A + 2 * FRAME), (A, FRAME)], [(0x200, 0x201)], id="wrapping"
        ),
        pytest.param(
            [(A, (1 << 64) - 1)],
            [(0x200, 0x400), (0x418, 0x100000)],
            id="wrapping from low memory on",
        ),
        pytest.param(
            [(A, 4 * FRAME), (A + FRAME, (1 << 64) - 1, 2)],
            [(0x200, 0x201)],
            id="unavailable and wrapping",
        ),
        pytest.param(
            [(A, FRAME), ((1 << 64) - FRAME, A + 2 * FRAME, 2)],
            [(0x200, 0x201)],
            id="unavailable does not wrap to 0",
        ),
    ],
)
def test_what_a_map_makes_free(
    run: Run, regions: list[tuple[int, ...]], expected: list[tuple[int, int]]
) -> None:
    # A frame out of the way, so that no map is without a usable one.
    memory_map = MemoryMap((Region(0x80 * FRAME, FRAME), *(Region(*region) for region in regions)))
    assert free_ranges(run(memory_map, Dump())) == [(0x80, 0x81), *expected]


class TestAllocate:
    def test_lowest_first_until_there_is_none(self, run: Run) -> None:
        two = MemoryMap((Region(0x300000, FRAME), Region(0x200000, FRAME)))
        assert tail(run(two, Allocate(), Allocate(), Allocate(), Count())) == [
            "allocated operation=0 frame=512 count=1",
            "allocated operation=1 frame=768 count=1",
            "allocation_failed operation=2 reason=none_free",
            "counted operation=3 free_frames=0",
        ]

    @pytest.mark.parametrize(
        ("count", "alignment", "expected"),
        [
            (1, 1, "allocated operation=0 frame=513 count=1"),
            (1, 2, "allocated operation=0 frame=514 count=1"),
            (7, 1, "allocated operation=0 frame=513 count=7"),
            (8, 1, "allocated operation=0 frame=768 count=8"),
            (2, 8, "allocated operation=0 frame=768 count=2"),
            (8, 256, "allocated operation=0 frame=768 count=8"),
            (8, 512, "allocation_failed operation=0 reason=no_run"),
            (9, 1, "allocation_failed operation=0 reason=no_run"),
            (0xFFFFFFFF, 1 << 31, "allocation_failed operation=0 reason=no_run"),
            (1, 0, "allocation_failed operation=0 reason=bad_alignment"),
            (1, 3, "allocation_failed operation=0 reason=bad_alignment"),
            (1, 0xFFFFFFFF, "allocation_failed operation=0 reason=bad_alignment"),
            (0, 1, "allocation_failed operation=0 reason=zero_count"),
            (0, 3, "allocation_failed operation=0 reason=zero_count"),
        ],
    )
    def test_run(self, run: Run, count: int, alignment: int, expected: str) -> None:
        # Frames [513, 520) and [768, 776).
        holes = MemoryMap((Region(513 * FRAME, 7 * FRAME), Region(768 * FRAME, 8 * FRAME)))
        assert tail(run(holes, AllocateRun(count, alignment))) == [expected]

    def test_run_up_to_the_last_frame(self, run: Run) -> None:
        top = MemoryMap((Region(0xFFFF0000, 0x1_0000),))
        assert tail(run(top, AllocateRun(16, 16))) == [
            "allocated operation=0 frame=0xffff0 count=16"
        ]

    def test_exhaust_then_dump(self, run: Run) -> None:
        parts = MemoryMap((Region(0x300000, 3 * FRAME), Region(0x200000, 2 * FRAME)))
        assert tail(run(parts, Exhaust(), Dump(), Exhaust(), Count(), Free(0))) == [
            "exhausted_run operation=0 first=512 count=2",
            "exhausted_run operation=0 first=768 count=3",
            "exhausted operation=0 frames=5",
            "dumped operation=1 ranges=0 frames=0",
            "exhausted operation=2 frames=0",
            "counted operation=3 free_frames=0",
            # What exhaust took did not come from `allocated`.
            "free_rejected operation=4 address=0 reason=nothing_allocated",
        ]

    def test_dump_changes_nothing(self, run: Run) -> None:
        parts = MemoryMap((Region(0x300000, 3 * FRAME), Region(0x200000, 2 * FRAME)))
        assert tail(run(parts, Allocate(), Dump(), Count())) == [
            "allocated operation=0 frame=512 count=1",
            "free_range operation=1 first=513 end=514",
            "free_range operation=1 first=768 end=771",
            "dumped operation=1 ranges=2 frames=4",
            "counted operation=2 free_frames=4",
        ]


class TestFree:
    def test_address(self, run: Run) -> None:
        assert tail(run(SMALL, Exhaust(), FreeAddress(0x20F000), Allocate()))[-2:] == [
            "freed operation=1 frame=527 count=1",
            "allocated operation=2 frame=527 count=1",
        ]

    @pytest.mark.parametrize(
        ("address", "reason"),
        [
            (0x200001, "misaligned"),
            (GIB_4 + 1, "misaligned"),
            ((1 << 64) - 1, "misaligned"),
            (GIB_4, "out_of_range"),
            (GIB_4 + 0x200000, "out_of_range"),
            ((1 << 64) - FRAME, "out_of_range"),
            (GIB_4 - FRAME, "not_owned"),
            (0, "not_owned"),
            (0x1FF000, "not_owned"),
            (0x210000, "not_owned"),
            (0x200000, "already_free"),
            (0x20F000, "already_free"),
        ],
    )
    def test_wrong_address(self, run: Run, address: int, reason: str) -> None:
        rejected, counted = tail(run(SMALL, FreeAddress(address), Count()))
        shown = hex(address) if address > 0xFFFF else address
        assert rejected == f"free_rejected operation=0 address={shown} reason={reason}"
        assert counted == "counted operation=1 free_frames=16"

    @pytest.mark.parametrize(
        "address", [0x10000, 0x11000, 0x20000, 0x100000, 0x130000, 0x148000, 0x400000, 0x408000]
    )
    def test_what_is_reserved_is_not_owned(self, run: Run, address: int) -> None:
        low = MemoryMap((Region(0, 0x800000),))
        assert tail(run(low, FreeAddress(address)))[0].endswith("reason=not_owned")

    @pytest.mark.parametrize("earlier", [1, 2, 3, 4, 1000, 0xFFFFFFFF])
    def test_of_an_operation_that_was_given_nothing(self, run: Run, earlier: int) -> None:
        operations: list[Operation] = [
            Allocate(),
            AllocateRun(99),
            Count(),
            Free(earlier),
            Allocate(),
        ]
        assert tail(run(SMALL, *operations))[3] == (
            "free_rejected operation=3 address=0 reason=nothing_allocated"
        )

    def test_twice(self, run: Run) -> None:
        assert tail(run(SMALL, Allocate(), Free(0), Free(0), Free(1)))[1:] == [
            "freed operation=1 frame=512 count=1",
            "free_rejected operation=2 address=0x200000 reason=already_free",
            "free_rejected operation=3 address=0 reason=nothing_allocated",
        ]

    def test_run_is_all_or_nothing(self, run: Run) -> None:
        program = (
            AllocateRun(4), FreeAddress(0x203000), FreeAddress(0x202000), Free(0), Count(),
            Allocate(), Allocate(), Free(0), Count(),
        )  # fmt: skip
        assert tail(run(SMALL, *program))[3:] == [
            # The lowest of the two that are free already is named; nothing was taken back.
            "free_rejected operation=3 address=0x202000 reason=already_free",
            "counted operation=4 free_frames=14",
            "allocated operation=5 frame=514 count=1",
            "allocated operation=6 frame=515 count=1",
            # They are somebody else's by now, and are taken back all the same.
            "freed operation=7 frame=512 count=4",
            "counted operation=8 free_frames=16",
        ]


class TestState:
    def test_in_the_order_of_their_codes(self, make_case: MakeCase, layout: Layout) -> None:
        names = ("page_tables", "frame_bitmap")
        expectation = expect(make_case(SMALL, state=names), layout)
        assert expectation.outcome is Outcome.COMPLETED
        assert [digest.region for digest in expectation.state] == ["frame_bitmap", "page_tables"]
        assert [dict(event.fields) for event in expectation.events[-3:-1]] == [
            {"region": code, "words": digest.words, "checksum": digest.checksum}
            for code, digest in zip((0, 2), expectation.state, strict=True)
        ]
        assert str(expectation.events[-1]) == "completed operations=0"

    def test_the_bitmap_is_what_is_free_and_owned_stays(
        self, make_case: MakeCase, layout: Layout
    ) -> None:
        names = ("frame_bitmap", "frame_owned")
        untouched = expect(make_case(SMALL, state=names), layout).state
        exhausted = expect(make_case(SMALL, Exhaust(), state=names), layout).state
        assert untouched[0].checksum == untouched[1].checksum == exhausted[1].checksum
        # 16 frames from 0x200 on: the low half of word 16 of 2^15 words.
        weight = (1 << 15) - 16
        assert untouched[0].checksum == (0xFFFF * weight % GIB_4) << 32 | 0xFFFF
        assert (exhausted[0].checksum, exhausted[0].words) == (0, 1 << 15)


class TestTraceBuffer:
    """A record that does not fit gives way to a panic, for which there is always room."""

    PANIC = PROTOCOL.trace_record.size + PROTOCOL.events["panic"].layout.size

    def whole(self, run: Run) -> tuple[Event, ...]:
        return run(SMALL, Allocate(), Dump(), Count()).events

    def cut_at(
        self,
        run: Run,
        make_case: MakeCase,
        layout_with_trace: LayoutWithTrace,
        records: int,
        short: int,
    ) -> Expectation:
        """With room for so many records and a panic, less `short` bytes."""
        room = len(encode(self.whole(run)[:records])) + self.PANIC - short
        layout = layout_with_trace(PROTOCOL.trace_header.size + room)
        expectation = expect(make_case(SMALL, Allocate(), Dump(), Count()), layout)
        assert len(encode(expectation.events)) <= room
        return expectation

    @pytest.mark.parametrize("short", [0, 1])
    def test_completed_leaves_the_room_for_a_panic_too(
        self, run: Run, make_case: MakeCase, layout_with_trace: LayoutWithTrace, short: int
    ) -> None:
        records = len(self.whole(run))
        expectation = self.cut_at(run, make_case, layout_with_trace, records, short)
        kinds = [event.kind for event in expectation.events]
        assert len(kinds) == records
        assert kinds[-1] == ("panic" if short else "completed")
        assert expectation.outcome is (Outcome.PANICKED if short else Outcome.COMPLETED)

    @pytest.mark.parametrize(
        ("records", "short", "fit"),
        [
            (0, 0, 0),
            (1, 1, 0),
            (1, 0, 1),
            (2, 1, 1),
            (2, 0, 2),
            (5, 0, 5),
            (20, 1, 19),
            (20, 0, 20),
        ],
    )
    def test_full_anywhere(
        self,
        run: Run,
        make_case: MakeCase,
        layout_with_trace: LayoutWithTrace,
        records: int,
        short: int,
        fit: int,
    ) -> None:
        expectation = self.cut_at(run, make_case, layout_with_trace, records, short)
        *before, last = expectation.events
        # Kinds only: the buffer's size shows in its own `reserved`.
        kinds = [event.kind for event in before]
        assert kinds == [event.kind for event in self.whole(run)[:fit]]
        assert str(last) == "panic reason=trace_full detail=0"
        assert (expectation.outcome, expectation.state) == (Outcome.PANICKED, ())

    def test_a_panic_takes_the_room_that_was_kept_for_it(
        self, run: Run, make_case: MakeCase, layout_with_trace: LayoutWithTrace
    ) -> None:
        room = len(encode(run(MemoryMap()).events))
        layout = layout_with_trace(PROTOCOL.trace_header.size + room)
        last = expect(make_case(MemoryMap()), layout).events[-1]
        assert str(last) == "panic reason=no_usable_frame detail=0"

    def test_a_buffer_for_nothing_is_refused(
        self, make_case: MakeCase, layout_with_trace: LayoutWithTrace
    ) -> None:
        layout = layout_with_trace(PROTOCOL.trace_header.size + self.PANIC - 1)
        with pytest.raises(ImageError, match="no room for a single panic record"):
            expect(make_case(SMALL), layout)


def test_what_is_predicted_is_a_trace(run: Run) -> None:
    events = run(SMALL, Allocate(), AllocateRun(0), Free(0), Free(0), Exhaust(), Dump()).events
    assert decode(encode(events)) == events


def test_an_operation_without_a_rule_is_refused() -> None:
    class Unheard(Operation):
        name = "count"

    with pytest.raises(InvalidArgument, match="no rule for operation 'count'"):
        list(FrameAllocator(1 << 20).perform(0, Unheard()))


def test_a_map_of_500_regions(run: Run) -> None:
    regions = tuple(Region(0x500000 + 2 * FRAME * index, FRAME) for index in range(500))
    ranges = [(0x500 + 2 * index, 0x501 + 2 * index) for index in range(500)]
    assert free_ranges(run(MemoryMap(regions), Dump())) == ranges
