"""A kernel layout for the oracle's tests, and a short way to state a case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from conformance.case.case import Case
from conformance.case.image import ImageId
from conformance.case.memory_map import MemoryMap
from conformance.case.program import Operation, Program
from conformance.oracle.expectation import Expectation
from conformance.oracle.frames import expect


@dataclass(frozen=True)
class LayoutStub:
    """What the oracle asks of an image, without one."""

    parts: Mapping[str, tuple[int, int]]

    def bounds(self, region: str, /) -> tuple[int, int]:
        return self.parts[region]


_PARTS = {
    # Deliberately not whole frames.
    "kernel_image": (0x100010, 0x12F001),
    "page_tables": (0x130000, 0x135000),
    "trace_buffer": (0x138000, 0x178000),
}


@pytest.fixture(scope="session")
def layout() -> LayoutStub:
    """An image's layout with a trace buffer of 256 KiB."""
    return LayoutStub(_PARTS)


@pytest.fixture(scope="session")
def layout_with_trace() -> Callable[[int], LayoutStub]:
    """Makes the same layout, with another size of the trace buffer in bytes."""

    def build(size: int) -> LayoutStub:
        start, _ = _PARTS["trace_buffer"]
        return LayoutStub({**_PARTS, "trace_buffer": (start, start + size)})

    return build


@pytest.fixture(scope="session")
def make_case() -> Callable[..., Case]:
    """Makes a case from a map and operations."""

    def build(
        memory_map: MemoryMap | None, *operations: Operation, state: tuple[str, ...] = ()
    ) -> Case:
        return Case(
            ImageId("i686", "0" * 64),
            memory_map=memory_map,
            program=Program(operations),
            state_regions=state,
        )

    return build


@pytest.fixture(scope="session")
def run(make_case: Callable[..., Case], layout: LayoutStub) -> Callable[..., Expectation]:
    """Asks the oracle about a map and operations."""

    def ask(memory_map: MemoryMap | None, *operations: Operation) -> Expectation:
        return expect(make_case(memory_map, *operations), layout)

    return ask
