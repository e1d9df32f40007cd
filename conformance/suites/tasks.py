"""What the scheduler's cases are made of: a main task's list, and a list for each body."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from conformance import Body, Case, Machine, Operation, Program
from conformance.case.image import ImageId
from conformance.case.memory_map import PLAIN_MAP
from conformance.case.program import SCHEDULES
from conformance.case.strategies import TASK_REGIONS
from conformance.protocol import PROTOCOL

__all__ = ["KINDS", "by_schedule", "in_every_schedule", "on_every_image", "task_case"]

KINDS = tuple(PROTOCOL.enums["compute_kind"].values())

on_every_image = pytest.mark.usefixtures("architecture")
in_every_schedule = pytest.mark.parametrize("schedule", SCHEDULES)


def by_schedule(schedule: str) -> dict[str, Any]:
    """A schedule with the quantum that shows most of it: of a few instructions, or one tick."""
    return {"schedule": schedule, "quantum": 1 if schedule == "timer" else 5}


def task_case(
    image: ImageId,
    main: Iterable[Operation],
    *bodies: Iterable[Operation],
    machine: Machine | None = None,
    stacks: int = 4,
    **scheduling: Any,
) -> Case:
    """A case that is about its tasks.

    Args:
        image: the kernel.
        main: what the main task does.
        bodies: what the others do.
        machine: by default the smallest for the image.
        stacks: for tasks, and for others.
        scheduling: what a Program says about it.
    """
    program = Program((*main, *_with_markers(bodies)), stacks, **scheduling)
    return Case(
        image, machine or Machine.smallest(image.architecture), PLAIN_MAP, program, TASK_REGIONS
    )


def _with_markers(bodies: Iterable[Iterable[Operation]]) -> Iterator[Operation]:
    for body in bodies:
        yield Body()
        yield from body
