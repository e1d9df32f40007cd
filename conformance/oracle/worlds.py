"""Worlds: what can be true of the machine, given what it has shown so far.

Where the manual permits several behaviours that look alike for now, there are several worlds. An
operation is performed in each, in every way that is permitted; what a witness contradicts is
dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from conformance.observe.trace import Event
from conformance.oracle.address_space import PagingStructures
from conformance.oracle.arena import Arena
from conformance.oracle.control import ControlRegisters
from conformance.oracle.expectation import Choice, Rule
from conformance.oracle.setting import STACK_SIZE, Setting
from conformance.oracle.tlb import TranslationCaches
from conformance.protocol import PROTOCOL, Comparison

__all__ = ["Act", "Performance", "World", "agreement", "ways"]

_T = TypeVar("_T")
_WAYS = 64


class World:
    """One possible state of the machine.

    Attributes:
        setting: of the run.
        structures, control, caches, arena: the state.
        task_stacks: the stacks that belong to tasks; the same in every world.
    """

    __slots__ = ("arena", "caches", "control", "setting", "structures", "task_stacks")

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.structures = PagingStructures(setting)
        self.control = ControlRegisters.initial(setting, self.structures)
        self.caches = TranslationCaches()
        self.arena = Arena()
        self.task_stacks: frozenset[int] = frozenset()

    def copy(self) -> World:
        """The same, to be changed by itself."""
        twin = object.__new__(World)
        twin.setting, twin.control = self.setting, self.control
        twin.structures = self.structures.copy()
        twin.caches = self.caches.copy()
        twin.arena = self.arena.copy()
        twin.task_stacks = self.task_stacks
        return twin

    def is_of_task(self, address: int, size: int) -> bool:
        """Some of the bytes are in a stack object that a task has."""
        area = self.setting.stack_area
        objects = {(each - area) // STACK_SIZE for each in (address, address + size - 1)}
        return not self.task_stacks.isdisjoint(objects)

    def key(self) -> tuple[object, ...]:
        """Worlds with one key have one future."""
        caches, structures = self.caches.key(), self.structures.key()
        return self.control, structures, caches, self.arena.key()


class Performance:
    """One operation, performed in one of the permitted ways.

    Attributes:
        world: the state, which the operation changes.
        number: the operation's.
        witness: the events that a backend showed, from this operation's first one on.
        with_ghosts: translations that have been invalidated may be used all the same; this finds
            out what a wrong processor did.
        ghost: by what the translation was invalidated that was used, if one was.
        events, rules, choices: the account of the operation; indices count from its first event.
    """

    def __init__(
        self,
        world: World,
        number: int,
        witness: Sequence[Event],
        script: tuple[int, ...] = (),
        with_ghosts: bool = False,
    ) -> None:
        self.world = world
        self.number = number
        self.witness = witness
        self.with_ghosts = with_ghosts
        self.ghost: Rule | None = None
        self.events: list[Event] = []
        self.rules: dict[int, Rule] = {}
        self.choices: list[Choice] = []
        self.taken: list[int] = []
        self.counts: list[int] = []
        self._script = script

    def show(self, kind: str, rule: Rule | None = None, **fields: int) -> None:
        """The operation writes an event; `operation` need not be named."""
        if rule is not None:
            self.rules[len(self.events)] = rule
        self.events.append(Event(kind, {"operation": self.number, **fields}))

    def reject(self, reason: str) -> None:
        """The kernel does not do the operation."""
        self.show("rejected", reason=PROTOCOL.code("rejection", reason))

    def decide(self, rule: Rule, options: Sequence[_T]) -> _T:
        """One of several permitted behaviours, the canonical one first."""
        if len(options) == 1:
            return options[0]
        position = len(self.taken)
        taken = self._script[position] if position < len(self._script) else 0
        self.taken.append(taken)
        self.counts.append(len(options))
        self.choices.append(Choice(len(self.events), rule, len(options), taken))
        return options[taken]

    def settle(self, rule: Rule, witnessed: bool) -> None:
        """A behaviour that was left open is seen: something was done, or not."""
        self.choices.append(Choice(len(self.events), rule, 2, int(witnessed)))

    def witnessed(self, kind: str) -> Event | None:
        """What the witness shows for the next event, if it is of that kind."""
        index = len(self.events)
        if index < len(self.witness) and self.witness[index].kind == kind:
            return self.witness[index]
        return None


Act = Callable[[Performance], None]
"""Performs an operation."""


def ways(
    world: World, act: Act, number: int, witness: Sequence[Event], with_ghosts: bool = False
) -> list[Performance]:
    """Every permitted way to perform an operation, the canonical one first.

    A witness is needed to go through them all: without one, there is the canonical way only.
    """
    found: list[Performance] = []
    pending: list[tuple[int, ...]] = [()]
    while pending and len(found) < _WAYS:
        script = pending.pop()
        performance = Performance(world.copy(), number, witness, script, with_ghosts)
        act(performance)
        found.append(performance)
        if not witness:
            break
        # What was decided beyond the script was the first option: the others are still to come.
        taken = tuple(performance.taken)
        for position in range(len(script), len(taken)):
            others = range(performance.counts[position] - 1, 0, -1)
            pending += [(*taken[:position], option) for option in others]
    return found


def agreement(expected: Sequence[Event], witness: Sequence[Event]) -> int:
    """How many of the expected events the witness bears out, up to the first that it does not."""
    for index, event in enumerate(expected):
        if index == len(witness) or not _agree(event, witness[index]):
            return index
    return len(expected)


def _agree(expected: Event, seen: Event) -> bool:
    if expected.kind != seen.kind:
        return False
    for field in PROTOCOL.events[expected.kind].layout.fields:
        if field.comparison is Comparison.IGNORED or field.name not in expected.fields:
            continue
        difference = expected.fields[field.name] ^ seen.fields.get(field.name, -1)
        if difference & (-1 if field.mask is None else field.mask):
            return False
    return True
