"""The frame allocator's rules said a second time, frame by frame, and compared with the oracle.

This is as slow and as plain as it can be, on a machine of 8 MiB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.case.case import Case
from conformance.case.memory_map import MemoryMap, Region
from conformance.case.payload import encode_program
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
from conformance.observe.observation import StateDigest
from conformance.oracle.boot import Layout
from conformance.oracle.expect import expect
from conformance.protocol import PROTOCOL

FRAME = 4096
UNIVERSE = range(2048)

Line = tuple[object, ...]
"""An event's kind and its values, in the protocol's order; enumerations by name."""


def touched(start: int, end: int) -> list[int]:
    return [n for n in UNIVERSE if start < end and n * FRAME < end and (n + 1) * FRAME > start]


def naive(case: Case, image: Layout) -> tuple[list[Line], set[int], set[int]]:
    """The events from the first pass to the last operation, and what is free and owned at last."""
    assert case.memory_map is not None
    lines: list[Line] = []
    free: set[int] = set()

    def done(name: str) -> None:
        lines.append(("pass", name, len(free)))

    done("all_used")
    for region in case.memory_map.regions:
        if region.type == 1:
            for n in UNIVERSE:
                if region.base <= n * FRAME and (n + 1) * FRAME <= region.base + region.length:
                    free.add(n)
    done("available")
    for region in case.memory_map.regions:
        if region.type != 1:
            free -= set(touched(region.base, region.base + region.length))
    done("unavailable")
    boot = PROTOCOL.boot
    program = encode_program(case.program, case.state_regions)
    for name, (start, end) in {
        "first_frame": (0, FRAME),
        "kernel_image": image.bounds("kernel_image"),
        "information": (boot["information"], boot["information"] + 116),
        "memory_map": (
            boot["memory_map"],
            boot["memory_map"] + len(case.memory_map.encode()),
        ),
        "module_list": (boot["module_list"], boot["module_list"] + 16),
        "module": (boot["module"], boot["module"] + len(program)),
        "page_tables": image.bounds("page_tables"),
        "task_stacks": image.bounds("task_stacks"),
        "probe_arena": image.bounds("probe_arena"),
        "trace_buffer": image.bounds("trace_buffer"),
    }.items():
        taken = touched(start, end)
        free -= set(taken)
        first = start // FRAME
        lines.append(("reserved", name, first, taken[-1] + 1 if taken else first))
        done(name)
    owned = set(free)
    lines.append(("ready", len(free), min(free, default=PROTOCOL.constants["no_frame"])))
    if owned:
        given: dict[int, list[int]] = {}
        for number, operation in enumerate(case.program.operations):
            for kind, *rest in perform(number, operation, free, owned, given):
                lines.append((kind, number, *rest))
    else:
        lines.append(("panic", "no_usable_frame", 0))
    return lines, free, owned


def ranges(frames: Iterable[int]) -> list[list[int]]:
    """Consecutive frames, together."""
    found: list[list[int]] = []
    for n in frames:
        if found and found[-1][-1] + 1 == n:
            found[-1].append(n)
        else:
            found.append([n])
    return found


def refusal(address: int, free: set[int], owned: set[int]) -> str | None:
    if address % FRAME != 0:
        return "misaligned"
    if address >= 1 << 32:
        return "out_of_range"
    if address // FRAME not in owned:
        return "not_owned"
    return "already_free" if address // FRAME in free else None


def perform(
    number: int,
    operation: Operation,
    free: set[int],
    owned: set[int],
    given: dict[int, list[int]],
) -> Iterator[Line]:
    """One operation's events, without its number."""
    match operation:
        case Allocate() if not free:
            yield "allocation_failed", "none_free"
        case Allocate():
            given[number] = [min(free)]
            free.remove(min(free))
            yield "allocated", *given[number], 1
        case AllocateRun(count=0):
            yield "allocation_failed", "zero_count"
        case AllocateRun(alignment=alignment) if alignment not in [1 << bit for bit in range(32)]:
            yield "allocation_failed", "bad_alignment"
        case AllocateRun(count, alignment):
            for n in sorted(free):
                wanted = list(range(n, n + count))
                if n % alignment == 0 and free.issuperset(wanted):
                    given[number] = wanted
                    free.difference_update(wanted)
                    yield "allocated", n, count
                    return
            yield "allocation_failed", "no_run"
        case Free(earlier) if earlier not in given:
            yield "free_rejected", 0, "nothing_allocated"
        case Free(earlier):
            for n in given[earlier]:
                reason = refusal(n * FRAME, free, owned)
                if reason is not None:
                    yield "free_rejected", n * FRAME, reason
                    return
            free.update(given[earlier])
            yield "freed", given[earlier][0], len(given[earlier])
        case FreeAddress(address):
            reason = refusal(address, free, owned)
            if reason is not None:
                yield "free_rejected", address, reason
                return
            free.add(address // FRAME)
            yield "freed", address // FRAME, 1
        case Count():
            yield "counted", len(free)
        case Exhaust():
            taken = []
            while free:
                taken.append(min(free))
                free.remove(min(free))
            for together in ranges(taken):
                yield "exhausted_run", together[0], len(together)
            yield "exhausted", len(taken)
        case Dump():
            for together in ranges(sorted(free)):
                yield "free_range", together[0], together[-1] + 1
            yield "dumped", len(ranges(sorted(free))), len(free)


# Addresses near the edges of frames, most of them near what the kernel reserves.
addresses = st.builds(
    lambda frame, offset: max(0, frame * FRAME + offset),
    st.one_of(
        st.integers(0, 2040),
        st.sampled_from([0, 1, 0x10, 0x12, 0x20, 0x100, 0x130, 0x188, 0x400, 0x408]),
    ),
    st.sampled_from([-1, 0, 0, 0, 1, 2048]),
)
lengths = st.builds(
    lambda frames, offset: max(0, frames * FRAME + offset),
    st.one_of(st.integers(0, 6), st.integers(0, 2040)),
    st.sampled_from([-1, 0, 0, 0, 1, 2048]),
)
regions = st.builds(
    lambda base, length, kind: Region(base, min(length, len(UNIVERSE) * FRAME - base), kind),
    addresses,
    lengths,
    st.sampled_from([1, 1, 1, 2, 0, 0x80000001]),
)
maps = st.lists(regions, max_size=8).map(lambda some: MemoryMap(tuple(some)))
operations = st.one_of(
    st.just(Allocate()),
    st.builds(AllocateRun, st.integers(0, 5), st.sampled_from([0, 1, 1, 2, 3, 4, 16])),
    st.builds(Free, st.integers(0, 8)),
    st.builds(FreeAddress, addresses),
    st.just(Count()),
    st.just(Exhaust()),
    st.just(Dump()),
)
programs = st.lists(operations, max_size=12)


@settings(max_examples=100)
@given(maps, programs)
def test_the_oracle_agrees_with_the_naive_rules(
    make_case: Callable[..., Case],
    layout: Layout,
    memory_map: MemoryMap,
    program: list[Operation],
) -> None:
    case = make_case(memory_map, *program, state=("frame_bitmap", "frame_owned"))
    lines, free, owned = naive(case, layout)
    expectation = expect(case, layout)

    # Between the memory map and the end, which have their own tests.
    seen: list[Line] = []
    for event in expectation.events[3 + len(memory_map.regions) :]:
        if event.kind == "control":
            break
        if event.kind == "stacks":
            continue
        values = []
        for field in PROTOCOL.events[event.kind].layout.fields:
            value = event.fields[field.name]
            values.append(value if field.enum is None else field.enum[value])
        seen.append((event.kind, *values))
    assert seen == lines

    if owned:
        assert expectation.state == (digest("frame_bitmap", free), digest("frame_owned", owned))


def digest(region: str, frames: set[int]) -> StateDigest:
    bitmap = sum(1 << frame for frame in frames).to_bytes(1 << 17, "little")
    return StateDigest.of(PROTOCOL.state_regions[region], bitmap)
