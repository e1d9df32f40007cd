"""Operations that the kernel rejects, by its reason (kernel/TRACE.md, "Operations on paging")."""

from __future__ import annotations

from conformance import (
    Control,
    Interrupt,
    Invalidate,
    Machine,
    Map,
    Operation,
    Probe,
    Protect,
    Raise,
    ReadEntry,
    Rights,
    Segment,
    Unmap,
    WriteEntry,
)
from conformance.protocol import PROTOCOL
from conformance.suites.directed import PAGE, slots_of, values_of
from conformance.suites.entries import HUGE

__all__ = ["REASONS", "rejected_operations"]

_FRAMES = PROTOCOL.constants["arena_frames"]


def rejected_operations(machine: Machine, reason: str) -> tuple[Operation, ...]:
    """Operations that are rejected for a reason; on some machines they are done instead."""
    return _operations(machine)[reason]


def _operations(machine: Machine) -> dict[str, tuple[Operation, ...]]:
    values = values_of(machine)
    probe, second = slots_of(machine)
    behind = 2 * second - probe
    end = probe + _FRAMES * PAGE
    kernel = values.boot["kernel_window"] + (1 << 20)
    stacks = values.area["stacks"]
    return {
        "bad_address": (
            *(Map(address) for address in (0, probe - 1, end, second - 1, behind)),
            Control("page_size_extensions", value=True),
            Map(probe + PAGE, rights=Rights.LARGE_PAGE),
            Unmap(end),
            Protect(end, Rights(0)),
            Invalidate(end),
            WriteEntry(end, "page_table"),
            ReadEntry(end, "page_table"),
            Probe(end - 3),
            Probe(probe - 1, size=2),
            Probe(second - 1),
            Probe(kernel, "write"),
            Probe(kernel, "execute"),
            Probe(kernel + PAGE - 3),
            Probe(values.area["user"]),
            Probe(stacks),
            Probe(0xFFFF_FFFF),
            # What a kernel that keeps 32 bits of an address would do.
            Map(probe + (1 << 32)),
            Invalidate(probe + (1 << 32)),
            Probe(probe + (1 << 32)),
            Probe(stacks + PAGE ^ (1 << 32)),
            # The last canonical address of the lower half, whatever follows it, and the first that
            # is not: only 64-bit mode has those.
            Probe((1 << 47) - 1, size=4),
            Probe(1 << 47),
            Segment("fs", 0, base=end - 2),
            Segment("fs", kernel & 0xFFFF_FFFF),
            Map(probe + PAGE, rights=HUGE),
        ),
        "bad_frame": (
            Map(probe, _FRAMES),
            Control("page_size_extensions", value=True),
            Map(probe, 1, Rights.LARGE_PAGE),
            Map(probe, 1, HUGE),
        ),
        "bad_level": (
            *(ReadEntry(probe, level) for level in ("pointer_table", "root_table")),
            *(WriteEntry(probe, level) for level in ("pointer_table", "root_table")),
        ),
        "bad_level_under_a_large_page": (
            Control("page_size_extensions", value=True),
            Map(probe, rights=Rights.LARGE_PAGE),
            ReadEntry(probe, "page_table"),
            WriteEntry(probe, "page_table"),
            Map(second, rights=HUGE),
            *(ReadEntry(second, level) for level in ("page_table", "page_directory")),
            *(WriteEntry(second, level) for level in ("page_table", "page_directory")),
            WriteEntry(second, "pointer_table", clear=1),
            ReadEntry(second, "page_directory"),
        ),
        "bad_bits": tuple(
            WriteEntry(probe, level, clear, changed)
            for level in PROTOCOL.enums["paging_level"].values()
            for bit in (7, 12, 21, 36, 40)
            for clear, changed in ((1 << bit, 0), (0, 1 << bit))
        ),
        "bad_size": (
            *(Probe(probe, size=size) for size in (3, 0, 8, 16)),
            Segment("fs", probe, size=8),
        ),
        "bad_ring": (Probe(probe, ring=1), Probe(probe, ring=255)),
        "bad_value": (
            Map(probe, rights=Rights.NO_EXECUTE),
            Map(probe, rights=Rights.LARGE_PAGE | HUGE),
            Protect(probe, Rights.LARGE_PAGE),
            Protect(probe, HUGE),
            Segment("fs", probe, access="execute"),
            Probe(probe, "execute", through="stack"),
            Probe(probe, "execute", through="frame"),
        ),
        "bad_vector": (*(Interrupt(vector) for vector in (8, *range(10, 15), 17, 21, 32, 255)),),
        "bad_segment": (
            Segment("fs", probe, limit=1 << 20),
            Segment("ss", probe, limit=0xCFFF_FFFF),
            Segment("ss", probe - 1, base=1),
            Segment("ss", probe, expand_down=True),
        ),
        "no_feature": (
            Map(probe, rights=Rights.LARGE_PAGE),
            Map(second, rights=HUGE),
            *(Control(bit, value=True) for bit in PROTOCOL.enums["control_bit"].values()),
            Raise("return_nowhere"),
            Raise("return_user_nowhere"),
            Raise("push_nowhere"),
        ),
        "already_mapped": (
            Map(probe),
            Map(probe),
            Control("page_size_extensions", value=True),
            Map(probe, rights=Rights.LARGE_PAGE),
            Map(probe + PAGE),
            Map(probe, rights=Rights.LARGE_PAGE),
            Map(probe, rights=HUGE),
            Map(probe + PAGE),
            Map(probe, rights=Rights.LARGE_PAGE),
            Map(probe, rights=HUGE),
            Unmap(probe),
            Map(probe, rights=Rights.LARGE_PAGE),
            Unmap(probe),
            Map(probe),
        ),
        "not_mapped": (
            Unmap(probe),
            Protect(probe, Rights(0)),
            Map(probe),
            Unmap(probe),
            Unmap(probe),
        ),
        "large_page_mapped": (
            Control("page_size_extensions", value=True),
            Map(probe, rights=Rights.LARGE_PAGE),
            Control("page_size_extensions", value=False),
            WriteEntry(probe, "page_directory", clear=1),
            Control("page_size_extensions", value=False),
            Unmap(probe),
            WriteEntry(probe, "page_directory", set=1),
            Unmap(probe),
            Control("page_size_extensions", value=False),
        ),
    }


REASONS = tuple(_operations(Machine()))
