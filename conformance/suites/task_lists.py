"""Small programs of several tasks, each about one rule of kernel/TASKS.md."""

from __future__ import annotations

from collections.abc import Sequence

from conformance import (
    Allocate,
    Block,
    Compute,
    Count,
    Exit,
    Join,
    Lock,
    Operation,
    OverflowOwn,
    Sleep,
    Spawn,
    Spin,
    StackAllocate,
    Tick,
    Unlock,
    Wake,
    Yield,
)
from conformance.protocol import PROTOCOL

__all__ = ["COOPERATION", "DEADLOCKS", "PRIORITIES", "REJECTED", "Lists"]

MOST_TICKS = PROTOCOL.constants["maximum_ticks"]
MOST_ITERATIONS = PROTOCOL.constants["maximum_iterations"]
MUTEXES = PROTOCOL.constants["mutexes"]

Lists = tuple[Sequence[Operation], ...]

# Name: the lists of the main task and of the bodies, and what the program says about scheduling.
COOPERATION: dict[str, Lists] = {
    "nobody": ([Count()], []),
    "body-not-spawned": ([Yield(), Count()], [Allocate()]),
    "empty-body": ([Spawn(0), Spawn(0)], []),
    "in-turn": ([Spawn(0)] * 3 + [Yield()] * 3, [Yield()] * 4),
    "yield-to-nobody": ([Yield(), Spawn(0), Yield(), Yield()], [Count(), Exit(), Count()]),
    "main-waits-for-all": ([Spawn(0)] * 3, [Yield(), Yield()]),
    "spawning": ([Spawn(1), Spawn(0)], [Spawn(1), Yield(), Spawn(1)], [Yield()]),
    "stacks-again": ([Spawn(0), Yield(), Yield(), Spawn(0), StackAllocate()] * 3, [Yield()]),
    "join": ([Spawn(0), Join(0), Join(0)], [Yield(), Yield()]),
    "join-twice": ([Spawn(0), Spawn(1), Spawn(1), Join(0), Join(2)], [Yield()] * 3, [Join(0)]),
    "join-itself": ([Spawn(0), Join(0)], [Join(0)]),
    "join-nobody": ([Join(0), Join(5), Spawn(7), Join(2), Join(9)], [Join(40)]),
    "wake": ([Spawn(0), Yield(), Wake(0), Yield(), Wake(0)], [Block(), Block()]),
    "wake-kept": ([Spawn(0), Wake(0), Wake(0), Yield(), Wake(0)], [Block(), Block()]),
    "wake-in-other-waits": (
        [Spawn(0), Yield(), Wake(0), Wake(0), Sleep(3)],
        [Sleep(2), Block()],
    ),
    "wake-itself": ([Spawn(0)], [Wake(0), Block(), Wake(0)]),
    "wake-nobody": ([Wake(0), Spawn(0), Yield(), Yield(), Wake(1), Wake(7), Wake(4)], []),
    "wake-the-last": ([Spawn(0), Spawn(1), Spawn(1)], [Block()], [Wake(0), Wake(1), Wake(2)]),
    "sleep": ([Spawn(0), Spawn(1), Sleep(4)], [Sleep(2), Sleep(2)], [Sleep(2), Sleep(1)]),
    "sleep-at-one-tick": ([Spawn(0), Spawn(0), Spawn(0), Sleep(3)], [Sleep(3), Sleep(1)]),
    "sleep-by-ticks": ([Spawn(0), Yield(), Tick(), Tick(), Tick(), Yield()], [Sleep(2), Sleep(9)]),
    "longest-sleep": ([Sleep(MOST_TICKS)], []),
    "mutex": (
        [Lock(0), Spawn(0), Spawn(0), Yield(), Unlock(0), Yield(), Lock(0), Unlock(0)],
        [Lock(0), Yield(), Unlock(0)],
    ),
    "all-mutexes": (
        [Spawn(0), *(Lock(number) for number in range(MUTEXES)), Yield()]
        + [Unlock(number) for number in reversed(range(MUTEXES))],
        [operation for number in range(MUTEXES) for operation in (Lock(number), Unlock(number))],
    ),
    "mutex-of-another": ([Lock(3), Spawn(0), Yield(), Unlock(3)], [Unlock(3), Lock(3), Lock(3)]),
    "exit": ([Spawn(0), Join(0)], [Yield(), Exit(), OverflowOwn()]),
    "spin": ([Spawn(0), Spin(2)], [Spin(2)]),
}
DEADLOCKS: dict[str, Lists] = {
    "blocked": ([Spawn(0)], [Block()]),
    "two-blocked": ([Spawn(0), Spawn(0), Sleep(2)], [Block()]),
    "join-in-a-circle": ([Spawn(0), Spawn(0)], [Join(0), Join(1)]),
    "mutex-of-who-has-exited": ([Spawn(0), Yield(), Lock(1)], [Lock(1)]),
    "mutexes-crosswise": (
        [Spawn(0), Spawn(1)],
        [Lock(0), Yield(), Lock(1)],
        [Lock(1), Yield(), Lock(0)],
    ),
    "main-joins-who-is-blocked": ([Spawn(0), Join(0), Wake(0)], [Sleep(1), Block(), Block()]),
    "one-wake-for-two": ([Spawn(0), Wake(0), Wake(0)], [Block(), Block()]),
}
REJECTED: dict[str, Lists] = {
    "main": ([Block(), Exit(), OverflowOwn(), Count()],),
    "spawn": ([Spawn(1), Spawn(0, 4), Spawn(1, 9), Spawn(0, 255), Spawn(0, 3)], [Yield()]),
    "ticks": ([Sleep(0), Sleep(MOST_TICKS + 1), Sleep(0xFFFF_FFFF), Spin(0), Spin(1), Tick()],),
    "mutex": ([Lock(MUTEXES), Lock(255), Unlock(MUTEXES), Unlock(0), Lock(0), Lock(0), Unlock(1)],),
    "compute": (
        [Compute("flags", 0), Compute("string", MOST_ITERATIONS + 1), Compute("flags", 1)],
    ),
}
PRIORITIES: dict[str, Lists] = {
    "highest-first": ([*(Spawn(0, each) for each in (0, 2, 1, 3, 2)), Yield()], [Yield()]),
    "yield-to-lower": ([Spawn(0, 1), Spawn(1, 2)], [Yield(), Yield()], [Yield(), Yield(), Yield()]),
    "one-that-wakes": (
        [Spawn(0, 3), Yield(), Wake(0), Count(), Yield(), Spawn(1, 1), Yield()],
        [Block(), Yield()],
        [Yield()],
    ),
    "mutex-in-turn": (
        [Lock(0), Spawn(0, 1), Spawn(0, 3), Yield(), Unlock(0), Yield()],
        [Lock(0), Unlock(0)],
    ),
    "main-is-last": ([Spawn(0, 0), Spawn(0, 1), Yield(), Count(), Yield(), Count()], [Yield()] * 2),
    "sleepers": ([Spawn(0, 1), Spawn(0, 3), Sleep(3)], [Sleep(2), Yield()]),
}
