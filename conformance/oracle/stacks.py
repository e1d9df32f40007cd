"""The task stack pool (kernel/TRACE.md, "The task stack pool")."""

from __future__ import annotations

from conformance.case.stack_operations import StackAllocate, StackFree, StackFreeAddress
from conformance.observe.trace import Event
from conformance.oracle.setting import STACK_SIZE
from conformance.protocol import PROTOCOL

__all__ = ["StackPool", "stack_rejected"]


class StackPool:
    """Which stacks are free, and which operation was given which.

    Args:
        stacks: how many there are.
        area: linear address of the first one's object.

    Attributes:
        of_tasks: those that belong to tasks.
    """

    def __init__(self, stacks: int, area: int) -> None:
        self._stacks = stacks
        self._area = area
        self._used: set[int] = set()
        self.of_tasks: frozenset[int] = frozenset()
        self._given: dict[int, int] = {}

    def ready(self) -> Event:
        """The pool is ready."""
        return Event("stacks", {"stacks": self._stacks, "free": self._stacks})

    def given(self, number: int, earlier: int) -> int | None:
        """The stack that an earlier operation was given last, even if it has been freed since.

        Operation `number`, which asks, and those after it mean nothing.
        """
        return self._given.get(earlier) if earlier < number else None

    def take_for_task(self) -> int | None:
        """The lowest free stack, if there is one, for a task."""
        stack = self._take()
        if stack is not None:
            self.of_tasks |= {stack}
        return stack

    def reclaim(self, stack: int) -> None:
        """Nobody runs on a task's stack any more."""
        self._used.remove(stack)
        self.of_tasks -= {stack}

    def perform(
        self, number: int, operation: StackAllocate | StackFree | StackFreeAddress
    ) -> Event:
        """Do operation number `number` of the program."""
        match operation:
            case StackAllocate():
                return self._allocate(number)
            case StackFree(earlier):
                stack = self.given(number, earlier)
                if stack is None:
                    return stack_rejected(number, 0, "nothing_allocated")
                if stack in self.of_tasks:
                    return stack_rejected(number, 0, "used_by_task")
                return self._free(number, self._area + stack * STACK_SIZE)
            case StackFreeAddress(address):
                return self._free(number, address)

    def _allocate(self, number: int) -> Event:
        self._given.pop(number, None)
        free = self._take()
        if free is None:
            return stack_rejected(number, 0, "none_free")
        self._given[number] = free
        fields = {"operation": number, "stack": free, "address": self._area + free * STACK_SIZE}
        return Event("stack_allocated", fields)

    def _take(self) -> int | None:
        free = next((each for each in range(self._stacks) if each not in self._used), None)
        if free is not None:
            self._used.add(free)
        return free

    def _free(self, number: int, address: int) -> Event:
        stack, offset = divmod(address - self._area, STACK_SIZE)
        if not 0 <= stack < self._stacks:
            return stack_rejected(number, address, "outside")
        if offset:
            return stack_rejected(number, address, "misaligned")
        if stack not in self._used:
            return stack_rejected(number, address, "not_in_use")
        if stack in self.of_tasks:
            return stack_rejected(number, address, "used_by_task")
        self._used.remove(stack)
        return Event("stack_freed", {"operation": number, "stack": stack})


def stack_rejected(number: int, address: int, reason: str) -> Event:
    """No stack was handed out, taken back or overflowed."""
    code = PROTOCOL.code("stack_failure", reason)
    return Event("stack_rejected", {"operation": number, "address": address, "reason": code})
