"""The permission matrix: everything that decides whether an access is allowed (SDM vol. 3, 4.6).

A case holds one setting of the control registers and one or two page directory entries, all rights
that a page can have below them, and all accesses to each of those pages.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from conformance import Case, Control, Machine, Operation, Reload, WriteEntry
from conformance.case.image import ImageId
from conformance.case.processor import Feature
from conformance.suites.directed import (
    MACHINES,
    PAGE,
    PROBE,
    SLOT,
    accesses,
    all_rights,
    case_of,
    machine_name,
    mapped_pages,
)

__all__ = ["SETTINGS", "Setting"]

_WRITABLE = 1 << 1
_USER = 1 << 2


@dataclass(frozen=True, slots=True)
class Setting:
    """What is the same for all accesses of a case.

    Attributes:
        machine: processor and paging mode.
        write_protect: CR0.WP.
        guard: a control bit to set, if any.
        alignment_check: EFLAGS.AC, which lifts SMAP in ring 0.
        directory: the bits that each slot's page directory entry lacks.
    """

    machine: Machine
    write_protect: bool
    guard: str
    alignment_check: bool
    directory: tuple[int, ...]

    def __str__(self) -> str:
        words = [machine_name(self.machine), "wp" if self.write_protect else "no-wp"]
        if self.guard:
            words.append(self.guard.replace("_", "-"))
        if self.alignment_check:
            words.append("ac")
        lacks = {0: "all", _WRITABLE: "read-only", _USER: "supervisor", _WRITABLE | _USER: "none"}
        return "-".join([*words, "directory", *(lacks[bits] for bits in self.directory)])

    def case(self, image: ImageId) -> Case:
        """The case."""
        return case_of(image, self.machine, self._operations())

    def _operations(self) -> Iterator[Operation]:
        rights = all_rights(self.machine)
        for slot, lacking in enumerate(self.directory):
            start = PROBE + slot * SLOT
            yield from mapped_pages(start, rights)
            yield WriteEntry(start, "page_directory", clear=lacking, invalidate=False)
        yield Control("write_protect", self.write_protect)
        if self.guard:
            yield Control(self.guard, value=True)
        # For what was translated through the directory before.
        yield Reload()
        for slot in range(len(self.directory)):
            for page in range(len(rights)):
                address = PROBE + slot * SLOT + page * PAGE
                yield from accesses(address, alignment_check=self.alignment_check)


def _guards(machine: Machine) -> Iterator[tuple[str, bool]]:
    if Feature.SMEP not in machine.features:
        yield "", False
        return
    yield "supervisor_execution", False
    yield "supervisor_access", False
    yield "supervisor_access", True


def _directories(machine: Machine) -> Iterator[tuple[int, ...]]:
    lacking = (0, _USER, _WRITABLE, _WRITABLE | _USER)
    if len(all_rights(machine)) == 4:
        # Half as many rights: there is room for two directory entries.
        yield lacking[:2]
        yield lacking[2:]
        return
    for each in lacking:
        yield (each,)


def _settings() -> Iterator[Setting]:
    for machine in MACHINES:
        without_nx = Feature.NX not in machine.features
        # The other two have nothing that these do not have.
        if machine.cpu_profile == "core2duo" and machine.paging == "legacy":
            continue
        if without_nx and machine.paging == "pae":
            continue
        for write_protect, (guard, alignment_check), directory in itertools.product(
            (True, False), tuple(_guards(machine)), tuple(_directories(machine))
        ):
            yield Setting(machine, write_protect, guard, alignment_check, directory)


SETTINGS = tuple(_settings())
