"""Hypothesis strategies of operations that make no sense: the kernel has to reject them."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from conformance.case.attempt_operations import Interrupt, Probe, Segment
from conformance.case.operation import Operation, Rights
from conformance.case.paging_operations import (
    Control,
    Invalidate,
    Map,
    Protect,
    ReadEntry,
    Unmap,
    WriteEntry,
)
from conformance.case.probe_space import ARENA_PAGES, PAGE, PROBE, SLOT, Plain, Seed
from conformance.protocol import PROTOCOL

__all__ = ["unsound_seeds"]

_U64: Final = (1 << 64) - 1
_ADDRESSES: Final = st.one_of(
    st.sampled_from(
        (
            0,
            PROBE - 1,
            PROBE + ARENA_PAGES * PAGE - 1,
            PROBE + ARENA_PAGES * PAGE,
            PROBE + SLOT - 1,
            PROBE + SLOT + ARENA_PAGES * PAGE - 2,
            PROBE + 2 * SLOT,
            PROTOCOL.area["user"],
            PROTOCOL.area["stacks"],
            PROTOCOL.boot["kernel_window"],
            PROTOCOL.boot["kernel_window"] + (1 << 20) + PAGE - 2,
            0xFFFF_FFFF,
        )
    ),
    # Where the address is right, something else may be wrong.
    st.integers(0, ARENA_PAGES - 1).map(lambda page: PROBE + page * PAGE),
    st.integers(0, 0xFFFF_FFFF),
)
_BOOLEANS: Final = st.booleans()
_RIGHTS: Final = st.integers(0, 15).map(Rights)
_LEVELS: Final = st.sampled_from(tuple(PROTOCOL.enums["paging_level"].values()))
_CONTROLS: Final = st.sampled_from(tuple(PROTOCOL.enums["control_bit"].values()))
_ACCESSES: Final = st.sampled_from(("read", "write", "execute"))
_SIZES: Final = st.sampled_from((4, 0, 1, 2, 3, 8, 255))
_ANYWHERE: Final = st.one_of(
    _ADDRESSES,
    # The first and the last addresses that are not canonical, and their neighbours.
    st.sampled_from(((1 << 47) - 1, 1 << 47, -(1 << 47) - 1 & _U64, -(1 << 47) & _U64)),
)
_THROUGH: Final = st.sampled_from(tuple(PROTOCOL.enums["base_register"].values()))
_BITS: Final = st.one_of(st.just(0), st.integers(0, 63).map(lambda bit: 1 << bit))
_LIMITS: Final = st.sampled_from((0, 0xFFFF, 0xF_FFFF, 0x10_0000, 0xCFFF_FFFF, 0xFFFF_FFFF))

_operations: SearchStrategy[Operation] = st.one_of(
    st.builds(Map, _ANYWHERE, st.integers(0, ARENA_PAGES + 1), _RIGHTS, _BOOLEANS),
    st.builds(Unmap, _ADDRESSES, _BOOLEANS),
    st.builds(Protect, _ADDRESSES, _RIGHTS, _BOOLEANS),
    st.builds(Invalidate, _ANYWHERE),
    st.builds(WriteEntry, _ADDRESSES, _LEVELS, _BITS, _BITS, _BOOLEANS),
    st.builds(ReadEntry, _ADDRESSES, _LEVELS),
    st.builds(Control, _CONTROLS, _BOOLEANS),
    st.builds(
        Probe,
        _ANYWHERE,
        _ACCESSES,
        _SIZES,
        st.sampled_from((0, 3, 1, 2, 255)),
        _BOOLEANS,
        _THROUGH,
    ),
    st.builds(
        Segment,
        st.sampled_from(("fs", "ss")),
        _ADDRESSES,
        st.sampled_from((0, 1, PAGE)),
        _LIMITS,
        _ACCESSES,
        _SIZES,
        _BOOLEANS,
    ),
    st.builds(Interrupt, st.integers(0, 255)),
)
unsound_seeds: Final[SearchStrategy[Seed]] = st.builds(Plain, _operations)
