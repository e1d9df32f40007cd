"""Operations that the kernel rejects, by its reason (kernel/TRACE.md, "Operations on paging")."""

from __future__ import annotations

from conformance import (
    Control,
    Interrupt,
    Invalidate,
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
from conformance.suites.directed import PAGE, PROBE, SLOT

__all__ = ["REJECTED"]

_FRAMES = PROTOCOL.constants["arena_frames"]
_END = PROBE + _FRAMES * PAGE
_KERNEL = PROTOCOL.boot["kernel_window"] + (1 << 20)

REJECTED: dict[str, tuple[Operation, ...]] = {
    "bad_address": (
        *(Map(address) for address in (0, PROBE - 1, _END, PROBE + SLOT - 1, PROBE + 2 * SLOT)),
        Control("page_size_extensions", value=True),
        Map(PROBE + PAGE, rights=Rights.LARGE_PAGE),
        Unmap(_END),
        Protect(_END, Rights(0)),
        Invalidate(_END),
        WriteEntry(_END, "page_table"),
        ReadEntry(_END, "page_table"),
        Probe(_END - 3),
        Probe(PROBE - 1, size=2),
        Probe(PROBE + SLOT - 1),
        Probe(_KERNEL, "write"),
        Probe(_KERNEL, "execute"),
        Probe(_KERNEL + PAGE - 3),
        Probe(PROTOCOL.area["user"]),
        Probe(PROTOCOL.area["stacks"]),
        Probe(0xFFFF_FFFF),
        # What a kernel that keeps 32 bits of an address would do.
        Map(PROBE + (1 << 32)),
        Invalidate(PROBE + (1 << 32)),
        Probe(PROBE + (1 << 32)),
        Probe(PROTOCOL.area["stacks"] + PAGE + (1 << 32)),
        # The last canonical address of the lower half, whatever follows it, and the first that is
        # not: only 64-bit mode has those.
        Probe((1 << 47) - 1, size=4),
        Probe(1 << 47),
        Segment("fs", 0, base=_END - 2),
        Segment("fs", _KERNEL),
    ),
    "bad_frame": (
        Map(PROBE, _FRAMES),
        Control("page_size_extensions", value=True),
        Map(PROBE, 1, Rights.LARGE_PAGE),
    ),
    "bad_level": (ReadEntry(PROBE, "pointer_table"), WriteEntry(PROBE, "pointer_table")),
    "bad_level_under_a_large_page": (
        Control("page_size_extensions", value=True),
        Map(PROBE, rights=Rights.LARGE_PAGE),
        ReadEntry(PROBE, "page_table"),
        WriteEntry(PROBE, "page_table"),
    ),
    "bad_bits": tuple(
        WriteEntry(PROBE, level, clear, changed)
        for level in ("page_table", "page_directory", "pointer_table")
        for bit in (7, 12, 21, 36, 40)
        for clear, changed in ((1 << bit, 0), (0, 1 << bit))
    ),
    "bad_size": (
        *(Probe(PROBE, size=size) for size in (3, 0, 8, 16)),
        Segment("fs", PROBE, size=8),
    ),
    "bad_ring": (Probe(PROBE, ring=1), Probe(PROBE, ring=255)),
    "bad_value": (
        Map(PROBE, rights=Rights.NO_EXECUTE),
        Protect(PROBE, Rights.LARGE_PAGE),
        Segment("fs", PROBE, access="execute"),
        Probe(PROBE, "execute", through="stack"),
        Probe(PROBE, "execute", through="frame"),
    ),
    "bad_vector": (*(Interrupt(vector) for vector in (8, *range(10, 15), 17, 21, 32, 255)),),
    "bad_segment": (
        Segment("fs", PROBE, limit=1 << 20),
        Segment("ss", PROBE, limit=0xCFFF_FFFF),
        Segment("ss", PROBE - 1, base=1),
        Segment("ss", PROBE, expand_down=True),
    ),
    "no_feature": (
        Map(PROBE, rights=Rights.LARGE_PAGE),
        *(Control(bit, value=True) for bit in PROTOCOL.enums["control_bit"].values()),
        Raise("return_nowhere"),
        Raise("return_user_nowhere"),
        Raise("push_nowhere"),
    ),
    "already_mapped": (
        Map(PROBE),
        Map(PROBE),
        Control("page_size_extensions", value=True),
        Map(PROBE, rights=Rights.LARGE_PAGE),
        Map(PROBE + PAGE),
        Map(PROBE, rights=Rights.LARGE_PAGE),
        Unmap(PROBE),
        Map(PROBE),
    ),
    "not_mapped": (Unmap(PROBE), Protect(PROBE, Rights(0)), Map(PROBE), Unmap(PROBE), Unmap(PROBE)),
    "large_page_mapped": (
        Control("page_size_extensions", value=True),
        Map(PROBE, rights=Rights.LARGE_PAGE),
        Control("page_size_extensions", value=False),
        WriteEntry(PROBE, "page_directory", clear=1),
        Control("page_size_extensions", value=False),
        Unmap(PROBE),
        WriteEntry(PROBE, "page_directory", set=1),
        Unmap(PROBE),
        Control("page_size_extensions", value=False),
    ),
}
"""What is rejected on some machines is done on others."""
