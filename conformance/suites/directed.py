"""What the directed cases are made of: machines, mapped pages, a plain memory map."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from conformance import Case, Machine, Map, Operation, Probe, Program, Rights
from conformance.case.image import ImageId
from conformance.case.machine import every_machine
from conformance.case.memory_map import PLAIN_MAP
from conformance.case.processor import Feature
from conformance.case.strategies import PROBED_REGIONS
from conformance.protocol import PROTOCOL, ImageValues

__all__ = [
    "I686_MACHINES",
    "MACHINES",
    "PAGE",
    "accesses",
    "all_rights",
    "case_of",
    "machine_in",
    "machine_name",
    "mapped_pages",
    "probe_of",
    "slots_of",
    "values_of",
]

PAGE = PROTOCOL.constants["frame_size"]

MACHINES = every_machine()
I686_MACHINES = every_machine("i686")


def values_of(machine: Machine) -> ImageValues:
    """The protocol's constants, as the image for a machine has them."""
    return PROTOCOL.images[machine.architecture]


def machine_in(parameters: Mapping[str, Any]) -> Machine | None:
    """The machine that a test with these parameters is about, by itself or as part of a setting."""
    machine: Machine | None = parameters.get("machine")
    return machine or getattr(parameters.get("setting"), "machine", None)


def slots_of(machine: Machine) -> tuple[int, ...]:
    """Where the slots of the probe area begin, in the image for a machine."""
    values = values_of(machine)
    start, size = values.area["probe"], values.constants["probe_slot_size"]
    return tuple(start + number * size for number in range(values.constants["probe_slots"]))


def probe_of(machine: Machine) -> int:
    """Where the probe area begins, and with it the first slot."""
    return slots_of(machine)[0]


def machine_name(machine: Machine) -> str:
    """For the names of tests."""
    return f"{machine.paging}-{machine.cpu_profile}"


def case_of(
    image: ImageId, machine: Machine, operations: Iterable[Operation], *, stacks: int = 0
) -> Case:
    """A case that is about its operations, and what they do to pages."""
    program = Program(tuple(operations), stacks)
    return Case(image, machine, PLAIN_MAP, program, PROBED_REGIONS)


def all_rights(machine: Machine) -> list[Rights]:
    """Every combination of rights that a page can have."""
    known = [Rights.WRITABLE, Rights.USER]
    if machine.paging != "legacy" and Feature.NX in machine.features:
        known.append(Rights.NO_EXECUTE)
    chosen = itertools.product((False, True), repeat=len(known))
    return [Rights(sum(itertools.compress(known, each))) for each in chosen]


def mapped_pages(start: int, rights: Iterable[Rights]) -> Iterator[Map]:
    """Pages from `start` on, one after the other, mapped to one frame after the other."""
    for frame, each in enumerate(rights):
        yield Map(start + frame * PAGE, frame, each)


def accesses(address: int, size: int = 4, *, alignment_check: bool = False) -> Iterator[Probe]:
    """Everything that can be done to an address: read, write and execute it, in ring 0 and 3."""
    for ring in (0, 3):
        for access in PROTOCOL.enums["access_kind"].values():
            yield Probe(address, access, size, ring, alignment_check)
