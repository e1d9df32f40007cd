"""Hypothesis strategies of operations that make no sense: the kernel has to reject them."""

from __future__ import annotations

import functools
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
from conformance.case.probe_space import ARENA_PAGES, PAGE, Plain, Seed
from conformance.protocol import PROTOCOL, ImageValues

__all__ = ["unsound_seeds_on"]

_U64: Final = (1 << 64) - 1
_BOOLEANS: Final = st.booleans()
_RIGHTS: Final = st.integers(0, 31).map(Rights)
_LEVELS: Final = st.sampled_from(tuple(PROTOCOL.enums["paging_level"].values()))
_CONTROLS: Final = st.sampled_from(tuple(PROTOCOL.enums["control_bit"].values()))
_ACCESSES: Final = st.sampled_from(("read", "write", "execute"))
_SIZES: Final = st.sampled_from((4, 0, 1, 2, 3, 8, 255))
# The first and the last addresses that are not canonical, and their neighbours.
_AT_THE_GAP: Final = st.sampled_from(
    ((1 << 47) - 1, 1 << 47, -(1 << 47) - 1 & _U64, -(1 << 47) & _U64)
)
_THROUGH: Final = st.sampled_from(tuple(PROTOCOL.enums["base_register"].values()))
_BITS: Final = st.one_of(st.just(0), st.integers(0, 63).map(lambda bit: 1 << bit))
_LIMITS: Final = st.sampled_from((0, 0xFFFF, 0xF_FFFF, 0x10_0000, 0xCFFF_FFFF, 0xFFFF_FFFF))


@functools.cache
def unsound_seeds_on(architecture: str) -> SearchStrategy[Seed]:
    """Operations that make no sense on the image of an architecture."""
    return st.builds(Plain, _operations(_addresses(PROTOCOL.images[architecture])))


def _addresses(values: ImageValues) -> SearchStrategy[int]:
    probe, slot = values.area["probe"], values.constants["probe_slot_size"]
    window = values.boot["kernel_window"]
    return st.one_of(
        st.sampled_from(
            (
                0,
                probe - 1,
                probe + ARENA_PAGES * PAGE - 1,
                probe + ARENA_PAGES * PAGE,
                probe + slot - 1,
                probe + slot + ARENA_PAGES * PAGE - 2,
                probe + 2 * slot,
                values.area["user"],
                values.area["stacks"],
                window,
                window + (1 << 20) + PAGE - 2,
                0xFFFF_FFFF,
            )
        ),
        # Where the address is right, something else may be wrong.
        st.integers(0, ARENA_PAGES - 1).map(lambda page: probe + page * PAGE),
        st.integers(0, 0xFFFF_FFFF),
    )


def _operations(addresses: SearchStrategy[int]) -> SearchStrategy[Operation]:
    anywhere = addresses | _AT_THE_GAP
    return st.one_of(
        st.builds(Map, anywhere, st.integers(0, ARENA_PAGES + 1), _RIGHTS, _BOOLEANS),
        st.builds(Unmap, addresses, _BOOLEANS),
        st.builds(Protect, addresses, _RIGHTS, _BOOLEANS),
        st.builds(Invalidate, anywhere),
        st.builds(WriteEntry, addresses, _LEVELS, _BITS, _BITS, _BOOLEANS),
        st.builds(ReadEntry, addresses, _LEVELS),
        st.builds(Control, _CONTROLS, _BOOLEANS),
        st.builds(
            Probe,
            anywhere,
            _ACCESSES,
            _SIZES,
            st.sampled_from((0, 3, 1, 2, 255)),
            _BOOLEANS,
            _THROUGH,
        ),
        st.builds(
            Segment,
            st.sampled_from(("fs", "ss")),
            addresses.map(lambda address: address & 0xFFFF_FFFF),
            st.sampled_from((0, 1, PAGE)),
            _LIMITS,
            _ACCESSES,
            _SIZES,
            _BOOLEANS,
        ),
        st.builds(Interrupt, st.integers(0, 255)),
    )
