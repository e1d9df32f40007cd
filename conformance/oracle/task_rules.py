"""The rules that decide the events of tasks: what the scheduler promises, each under a short name.

A name becomes a part of a signature, like those of `rules`. Where a processor may be the one to
break it, the rule is the processor's (single steps), and says what the kernel promises as well.
"""

from __future__ import annotations

from typing import Final

from conformance.oracle.expectation import Rule


def _promise(name: str, section: str) -> Rule:
    return Rule(name, f'TASKS.md, "{section}"', promise=name)


# Bodies and tasks.
SPAWN: Final = _promise("a task is made on the lowest free stack", "Operations")
OWN_STACK: Final = _promise("a task runs on its own stack", "Bodies and tasks")
BODY: Final = _promise("a task exits at the end of its list", "Bodies and tasks")
RECLAIM: Final = _promise("a stack is free once its task has exited and was left", "Switching")
EXITED: Final = _promise("an exited task never runs again", "Operations")
ALL: Final = _promise("the main task waits for all others", "Bodies and tasks")

# Switching.
TURN: Final = _promise("ready tasks run in turn", "Bodies and tasks")
PRIORITY: Final = _promise("the highest priority runs first", "Bodies and tasks")
PRESERVED: Final = _promise("a switch preserves registers", "Switching")
IDLE: Final = _promise("the idle task runs while no task is ready", "Switching")
DEADLOCK: Final = _promise("a deadlock ends the run", "Switching")
CLOCK: Final = _promise("the clock goes on tick by tick", "Switching")

# Waiting.
WAKE: Final = _promise("a wake is not lost", "Operations")
JOIN: Final = _promise("who joins waits for the exit", "Operations")
SLEEP: Final = _promise("a sleeper is woken at its tick", "Switching")
MUTEX: Final = _promise("a mutex has one owner", "Operations")
REFUSED: Final = _promise("an operation that cannot be done changes nothing", "Operations")

# Pre-emption.
SLICE: Final = _promise("a time slice is over after its quantum", "Pre-emption")
WINDOW: Final = _promise("a tick comes while interrupts are enabled only", "Pre-emption")
COMPUTED: Final = _promise("an interruption leaves nothing behind", "Computations")
TICKS: Final = Rule("when ticks come", 'TASKS.md, "Pre-emption"')
"""What the schedule `timer` leaves open, and all that it does."""


def _single_step(name: str, section: str) -> Rule:
    return Rule(name, f"SDM vol. 3, {section}", sweeping=True, promise=SLICE.name)


STEPS: Final = {
    "arithmetic": _single_step("single step after each instruction", "17.3.1.4"),
    "string": _single_step("single step after each iteration of REP", "17.3.1.4"),
    "stack_segment": _single_step("single step delayed by MOV to SS", "6.8.3"),
    "flags": _single_step("single step over POPF", "17.3.1.4"),
    "interrupt": _single_step("single step around a software interrupt", "17.3.1.4"),
}
"""By the protocol's `compute_kind`."""
