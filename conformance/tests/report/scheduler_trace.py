"""A small trace with tasks, written by hand after kernel/TASKS.md."""

from __future__ import annotations

from conformance.observe.trace import Event
from conformance.protocol import PROTOCOL

__all__ = ["IDLE", "TRACE", "event"]

IDLE = PROTOCOL.constants["idle_task"]


def event(kind: str, **fields: int | str) -> Event:
    """An event; `from` is `from_`, an enumeration's value is its name, what is not given is 0."""
    given = {name.rstrip("_"): value for name, value in fields.items()}
    values = {}
    for field in PROTOCOL.events[kind].layout.fields:
        value = given.pop(field.name, 0)
        if isinstance(value, str):
            assert field.enum is not None
            value = next(code for code, name in field.enum.items() if name == value)
        values[field.name] = value
    assert not given, f"{kind} has no {sorted(given)}"
    return Event(kind, values)


TRACE = (
    event("stacks", stacks=2, free=2),
    event("spawned", task=1, body=0, stack=0),
    event("spawned", task=2, body=1, priority=3, stack=1),
    event("blocked", reason="all", on=2),
    event("switched", to=1, reason="wait"),
    event("started", task=1, stack=0),
    event("locked", task=1, mutex=4),
    event("blocked", task=1, reason="sleep", on=1),
    event("switched", from_=1, to=2, reason="wait"),
    event("started", task=2, stack=1),
    event("blocked", task=2, reason="mutex", on=4),
    event("switched", from_=2, to=IDLE, reason="wait"),
    event("started", task=IDLE, stack=IDLE),
    event("idle", now=0),
    event("ticked", now=1),
    event("woken", task=1, reason="tick", by=IDLE),
    event("switched", from_=IDLE, to=1, reason="idle"),
    event("resumed", task=1),
    event("proceeded", task=1),
    event("unlocked", task=1, mutex=4, next=2),
    event("woken", task=2, reason="mutex", by=1),
    event("exited", task=1),
    event("switched", from_=1, to=2, reason="exit"),
    event("reclaimed", task=1),
    event("resumed", task=2, stack=1),
    event("locked", task=2, mutex=4),
    event("exited", task=2, stack=1),
    event("woken", task=0, reason="all", by=2),
    event("switched", from_=2, to=0, reason="exit"),
    event("reclaimed", task=2, stack=1),
    event("resumed", task=0, stack=IDLE),
    event("completed", operations=9),
)
"""Two tasks; the first sleeps with a mutex that the second waits for."""
