"""The task stack pool: which stacks it hands out, and what becomes of those that overflow.

Every test runs its cases on all backends and compares each event with the oracle's
(kernel/TRACE.md, "The task stack pool"). Run it with `conformance run --suite guard-pages`.
"""

from __future__ import annotations

import itertools

import pytest

from conformance import (
    Machine,
    Operation,
    Overflow,
    Probe,
    StackAllocate,
    StackFree,
    StackFreeAddress,
    guard_page_cases,
)
from conformance.case.image import ImageId
from conformance.judge.known import KnownDivergence
from conformance.protocol import PROTOCOL
from conformance.pytest_plugin import DifferentialTest
from conformance.suites.directed import MACHINES, PAGE, case_of, machine_name, values_of

OBJECT = PROTOCOL.constants["task_stack_size"]
MOST = PROTOCOL.constants["maximum_stacks"]
OPERATIONS = PROTOCOL.constants["maximum_operations"]

# How a stack overflows, and the sizes that matter: up to the guard page, into it, and past it.
OVERFLOWS = [
    *((how, 0) for how in ("push", "call", "interrupt", "exception", "string", "straddle")),
    *(("recursion", size) for size in (8, 64, 1020, 1024)),
    *(
        ("array", size)
        for size in (4, PAGE, PAGE + 4, 2 * PAGE - 4, 2 * PAGE, 2 * PAGE + 4, 3 * PAGE)
    ),
]
REJECTED_SIZES = [
    *(("recursion", size) for size in (0, 4, 10, 1028)),
    *(("array", size) for size in (0, 2, 3 * PAGE + 4, 0xFFFF_FFFC)),
]

on_every_machine = pytest.mark.parametrize("machine", MACHINES, ids=machine_name)


def area_of(machine: Machine) -> int:
    """Where the first stack's object is."""
    return values_of(machine).area["stacks"]


@pytest.mark.parametrize("stacks", [0, 1, 2, 31, 32, 33, 300])
@on_every_machine
def test_pool(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, stacks: int
) -> None:
    """All stacks and one more; then a few go back, and the lowest is the next."""
    operations: list[Operation] = [StackAllocate() for _ in range(stacks + 1)]
    given_back = sorted({stacks - 1, stacks // 2, 0} & set(range(stacks)), reverse=True)
    operations += [StackFree(number) for number in given_back]
    operations += [StackAllocate() for _ in range(len(given_back) + 1)]
    differential_test.check(case_of(image_id, machine, operations, stacks=stacks))


@pytest.mark.parametrize("stacks", [OPERATIONS - 1, MOST])
@on_every_machine
def test_largest_pool(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, stacks: int
) -> None:
    """As many stacks as there can be, one after the other."""
    operations = [StackAllocate() for _ in range(OPERATIONS)]
    differential_test.check(case_of(image_id, machine, operations, stacks=stacks))


@on_every_machine
def test_edges_of_the_largest_pool(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine
) -> None:
    """The guard pages and the edges of the first and the last stacks of the largest pool."""
    operations = [
        Probe(area_of(machine) + number * OBJECT + offset, "write", ring=ring)
        for number in (0, 1, MOST // 2, MOST - 2, MOST - 1)
        for offset in (0, PAGE - 4, PAGE, OBJECT - 4)
        for ring in (0, 3)
    ]
    differential_test.check(case_of(image_id, machine, operations, stacks=MOST))


@on_every_machine
def test_what_cannot_be_freed(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine
) -> None:
    """Foreign, misaligned, free, and twice the same; and nothing of it changes the pool."""
    area = area_of(machine)
    last = area + 2 * OBJECT
    operations = [
        StackAllocate(),
        StackAllocate(),
        *(StackFreeAddress(address) for address in (0, area - OBJECT, area - 1, area + 3 * OBJECT)),
        *(StackFreeAddress(address) for address in (0xFFFF_FFFF, area ^ 1 << 32)),
        StackFreeAddress(values_of(machine).boot["kernel_window"]),
        *(StackFreeAddress(area + offset) for offset in (1, 4, PAGE, OBJECT - 1, OBJECT + PAGE)),
        *(StackFreeAddress(address) for address in (last, last + 4)),
        *(StackFree(number) for number in (2, 40, 0xFFFF_FFFF)),
        StackFree(0),
        StackFree(0),
        StackFreeAddress(area),
        StackFreeAddress(area + OBJECT),
        StackFree(1),
        StackAllocate(),
        StackAllocate(),
        StackAllocate(),
        StackAllocate(),
    ]
    differential_test.check(case_of(image_id, machine, operations, stacks=3))


@pytest.mark.parametrize("stack", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize(("how", "size"), OVERFLOWS)
@on_every_machine
def test_overflow(
    differential_test: DifferentialTest,
    image_id: ImageId,
    machine: Machine,
    how: str,
    size: int,
    stack: int,
) -> None:
    """A stack overflows, and its neighbours are as they were."""
    area = area_of(machine)
    tops = [area + number * OBJECT + OBJECT - 4 for number in range(3)]
    neighbours = [top for number, top in enumerate(tops) if number != stack]
    operations = [
        *[StackAllocate()] * 3,
        *(Probe(top, "write") for top in neighbours),
        Overflow(stack, how, size),
        *(Probe(top) for top in neighbours),
        # The guard page is still there.
        Overflow(stack, how, size),
        Probe(area + stack * OBJECT, "write"),
    ]
    differential_test.check(case_of(image_id, machine, operations, stacks=3))


@pytest.mark.usefixtures("architecture")
@pytest.mark.parametrize(("how", "size"), REJECTED_SIZES)
def test_overflow_of_an_impossible_size(
    differential_test: DifferentialTest, image_id: ImageId, how: str, size: int
) -> None:
    """Sizes that the kernel rejects."""
    operations = [StackAllocate(), Overflow(0, how, size)]
    machine = Machine.smallest(image_id.architecture)
    differential_test.check(case_of(image_id, machine, operations, stacks=1))


@on_every_machine
def test_overflow_of_what_was_never_given(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine
) -> None:
    """There has to be a stack, given by an earlier operation; freed or not."""
    operations = [
        Overflow(0, "push"),
        Overflow(5, "push"),
        StackAllocate(),
        StackAllocate(),
        Overflow(3, "push"),
        StackFree(2),
        Overflow(2, "push"),
        Overflow(5, "push"),
    ]
    differential_test.check(case_of(image_id, machine, operations, stacks=1))


@pytest.mark.parametrize("stacks", [1, 2, 64])
@on_every_machine
def test_guard_pages(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, stacks: int
) -> None:
    """Every kind of access at every edge of the first and the last stack."""
    operations: list[Operation] = []
    for number, access, ring in itertools.product(
        sorted({0, stacks - 1}), ("write", "read"), (0, 3)
    ):
        stack = area_of(machine) + number * OBJECT
        operations += [
            Probe(stack, access, ring=ring),
            Probe(stack + PAGE - 4, access, ring=ring),
            Probe(stack + PAGE - 1, access, 1, ring),
            *(Probe(stack + PAGE - below, access, 4, ring) for below in (1, 2, 3)),
            Probe(stack + PAGE, access, ring=ring),
            Probe(stack + OBJECT - 4, access, ring=ring),
            # Into the next stack's guard page; behind the last stack there is nothing.
            *(Probe(stack + OBJECT - below, access, 4, ring) for below in (1, 3)),
        ]
    differential_test.check(case_of(image_id, machine, operations, stacks=stacks))


@pytest.mark.usefixtures("architecture")
def test_generated(differential_test: DifferentialTest, image_id: ImageId) -> None:
    """Generated programs, on all machines."""
    differential_test.explore(guard_page_cases(image=image_id))


def test_known_divergence(
    differential_test: DifferentialTest, image_id: ImageId, known_divergence: KnownDivergence
) -> None:
    """What is on the list of known divergences still shows up."""
    differential_test.check_known(known_divergence, image_id)
