"""Backends that are wrong on purpose: a real one, whose observations are changed on their way out.

The harness under test cannot tell them from an engine with a bug.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from backends.backend import Availability, Backend, InstanceConfig, Request, Session, create_backend
from conformance.case.image import Image
from conformance.case.machine import Machine
from conformance.observe.observation import Observation
from conformance.observe.trace import Event, decode, encode

__all__ = ["BrokenBackend", "Change", "flip", "flip_state", "from_config", "once"]

Change = Callable[[Observation], Observation]


class BrokenBackend:
    """A backend that shows what `change` makes of the real one's observations."""

    deterministic = True

    def __init__(self, real: Backend, change: Change) -> None:
        self.real = real
        self.change = change
        self.config = real.config

    def probe(self) -> Availability:
        return self.real.probe()

    def open(self, image: Image, machine: Machine) -> Session:
        return _BrokenSession(self.real.open(image, machine), self.change)


class _BrokenSession:
    def __init__(self, real: Session, change: Change) -> None:
        self._real = real
        self._change = change

    def run(self, request: Request) -> Observation:
        return self._change(self._real.run(request))

    def abort(self) -> None:
        self._real.abort()

    def close(self) -> None:
        self._real.close()


def flip(kind: str, field: str, bit: int = 0) -> Change:
    """Flips a bit of a field of the trace's first event of a kind, if it has one."""

    def change(observation: Observation) -> Observation:
        events = list(decode(observation.trace))
        for index, event in enumerate(events):
            if event.kind == kind:
                value = event.fields[field] ^ 1 << bit
                events[index] = Event(kind, {**event.fields, field: value})
                return replace(observation, trace=encode(tuple(events)))
        return observation

    return change


def flip_state(region: str) -> Change:
    """Flips a bit of what is read from outside of a region of memory, if it is."""

    def change(observation: Observation) -> Observation:
        state = tuple(
            replace(digest, checksum=digest.checksum ^ 1) if digest.region == region else digest
            for digest in observation.state
        )
        return replace(observation, state=state)

    return change


def once(change: Change) -> Change:
    """A change to the first observation that it would change, and to none after that."""
    done: list[Observation] = []

    def change_once(observation: Observation) -> Observation:
        changed = change(observation)
        if done or changed == observation:
            return observation
        done.append(changed)
        return changed

    return change_once


def from_config(config: InstanceConfig) -> BrokenBackend:
    """For an entry point: the reference model, which always counts too many frames."""
    real = create_backend(replace(config, kind="unicorn"))
    return BrokenBackend(real, flip("counted", "free_frames", bit=20))
