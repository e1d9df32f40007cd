"""What an event says about tasks: whose row it stands in, its words, and who runs afterwards.

Events come from a guest that may be wrong: any number may be any task's, in any order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from conformance.case.wire import one_line
from conformance.observe.trace import Event
from conformance.protocol import PROTOCOL
from conformance.report.symbols import Symbols

__all__ = ["IDLE", "MAIN", "Activity", "Mark", "TaskReader", "has_tasks", "task_name"]

MAIN: Final = PROTOCOL.constants["main_task"]
IDLE: Final = PROTOCOL.constants["idle_task"]
_NO_STACK: Final = PROTOCOL.constants["no_stack"]

_WORDS: Final = {
    "spawned": "spawn {task} body {body}",
    "spawn_failed": "no spawn: {reason}",
    "started": "start",
    "switched": "to {to}: {reason}",
    "resumed": "resume",
    "blocked": "wait {reason}",
    "woken": "woken {reason}",
    "wake_kept": "wake kept",
    "proceeded": "proceed",
    "locked": "lock {mutex}",
    "unlocked": "unlock {mutex}",
    "task_rejected": "rejected: {reason}",
    "exited": "exit",
    "reclaimed": "stack {stack} back",
    "idle": "idle at {now}",
    "ticked": "tick {now}",
    "computed": "computed",
    "stepped": "stepped",
    "panic": "PANIC {reason} {detail}",
}
_DAMAGE: Final = ("ebx", "esi", "edi", "ebp", "eflags", "fs", "gs")
"""By the bit of `resumed.damaged`."""
_COMPUTE: Final = "compute_"
_LONGEST: Final = 40
_FIELD: Final = re.compile(r"\{(\w+)\}")


class Activity(StrEnum):
    """What a task is doing between two events; the value is what its row is drawn with."""

    ABSENT = " "
    """Not spawned yet, or exited; the idle task, where it does not run."""
    RUNNING = "="
    READY = "."
    WAITING = "-"


_LEFT_BEHIND: Final = {
    "yield": Activity.READY,
    "preempt": Activity.READY,
    "wait": Activity.WAITING,
}
"""By the reason of a switch, what the task that is left does; absent for the others."""


@dataclass(frozen=True, slots=True)
class Mark:
    """An event in the timeline.

    Attributes:
        task: whose row it stands in.
        text: what it is called there.
        then: what the tasks that it concerns do afterwards.
    """

    task: int
    text: str
    then: Mapping[int, Activity] = field(default_factory=dict)


def task_name(task: int) -> str:
    """What a task is called."""
    return {MAIN: "main", IDLE: "idle"}.get(task, str(task))


def has_tasks(event: Event) -> bool:
    """The event is the scheduler's: in the trace of a program without tasks, none is."""
    return event.kind in _WORDS and event.kind != "panic"


class TaskReader:
    """Reads a trace from its beginning: whose an event is may follow from the switches before it.

    Args:
        symbols: the image's, for instruction pointers.
    """

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols
        self._running = MAIN

    def read(self, event: Event) -> Mark:
        """The mark of the next event. The oracle's may omit the fields it does not predict."""
        mark = Mark(self._row(event), self._text(event), self._then(event))
        if event.kind == "switched":
            self._running = event.fields.get("to", IDLE)
        elif Activity.RUNNING in mark.then.values():
            self._running = mark.task
        return mark

    def _row(self, event: Event) -> int:
        match event.kind:
            case "spawned":
                return self._running
            case "switched":
                return event.fields.get("from", self._running)
            case "idle":
                return IDLE
        return event.fields.get("task", self._running)

    def _then(self, event: Event) -> dict[int, Activity]:
        task = event.fields.get("task", self._running)
        match event.kind:
            case "spawned" | "woken":
                return {task: Activity.READY}
            case "blocked":
                return {task: Activity.WAITING}
            case "started" | "resumed":
                return {task: Activity.RUNNING}
            case "exited" | "panic":
                return {task: Activity.ABSENT}
            case "idle":
                return {IDLE: Activity.RUNNING}
            case "switched":
                left = event.fields.get("from", self._running)
                after = _LEFT_BEHIND.get(_shown(event, "reason"), Activity.ABSENT)
                # The event comes before the switch.
                return {left: after, event.fields.get("to", IDLE): Activity.READY}
        return {}

    def _text(self, event: Event) -> str:
        template = _WORDS.get(event.kind)
        if template is None:
            return _plain(event)
        words = _FIELD.sub(lambda match: _shown(event, match[1]), template)
        return " ".join(filter(None, (words, self._more(event))))

    def _more(self, event: Event) -> str:
        fields = event.fields
        match event.kind:
            case "spawned" if fields.get("priority"):
                return f"priority {fields['priority']}"
            case "started" if fields.get("stack") != _NO_STACK:
                return f"stack {_shown(event, 'stack')}"
            case "started" if fields.get("task") != IDLE:
                return "no stack"
            case "resumed" if fields.get("damaged"):
                return f"DAMAGED {_damage(fields['damaged'])}"
            case "blocked" if _shown(event, "reason") != "block":
                return _shown(event, "on")
            case "woken" if fields.get("by", IDLE) != IDLE:
                return f"by {task_name(fields['by'])}"
            case "unlocked" if fields.get("next", IDLE) != IDLE:
                return f"for {task_name(fields['next'])}"
            case "stepped" if "eip" in fields:
                place = self._symbols.name(fields["eip"]) or hex(fields["eip"])
                # A divergence file brings its own image: a symbol may be called anything.
                return one_line(place.removeprefix(_COMPUTE)[:_LONGEST])
        return ""


def _shown(event: Event, name: str) -> str:
    if name not in event.fields:
        return "?"
    return task_name(event.fields[name]) if name in ("task", "to") else event.show(name)


def _damage(bits: int) -> str:
    names = [name for bit, name in enumerate(_DAMAGE) if bits >> bit & 1]
    unknown = bits >> len(_DAMAGE) << len(_DAMAGE)
    return ",".join([*names, hex(unknown)] if unknown else names)


def _plain(event: Event) -> str:
    """An event that is not about tasks: its kind, and what sort of it."""
    kind = PROTOCOL.events.get(event.kind)
    fields = () if kind is None else kind.layout.fields
    sorts = [each for each in fields if each.enum is not None and each.name in event.fields]
    chosen = [each for each in sorts if each.key] or sorts
    return " ".join([event.kind, *(event.show(each.name) for each in chosen[:1])])
