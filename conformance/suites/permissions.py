"""The permission matrix: everything that decides whether an access is allowed (SDM vol. 3, 4.6).

A case holds one setting of the control registers and one or two entries above page tables, all
rights that a page can have below them, and all accesses to each of those pages.
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
    accesses,
    all_rights,
    case_of,
    machine_name,
    mapped_pages,
    slots_of,
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
        lacking: the bits that each slot's entry lacks, at one level.
        level: which.
    """

    machine: Machine
    write_protect: bool
    guard: str
    alignment_check: bool
    lacking: tuple[int, ...]
    level: str = "page_directory"

    def __str__(self) -> str:
        words = [machine_name(self.machine), "wp" if self.write_protect else "no-wp"]
        if self.guard:
            words.append(self.guard.replace("_", "-"))
        if self.alignment_check:
            words.append("ac")
        lacks = {0: "all", _WRITABLE: "read-only", _USER: "supervisor", _WRITABLE | _USER: "none"}
        level = "directory" if self.level == "page_directory" else self.level.replace("_", "-")
        return "-".join([*words, level, *(lacks[bits] for bits in self.lacking)])

    def case(self, image: ImageId) -> Case:
        """The case."""
        return case_of(image, self.machine, self._operations())

    def _operations(self) -> Iterator[Operation]:
        rights = all_rights(self.machine)
        # One slot for each entry.
        slots = list(zip(slots_of(self.machine), self.lacking, strict=False))
        for start, lacking in slots:
            yield from mapped_pages(start, rights)
            yield WriteEntry(start, self.level, clear=lacking, invalidate=False)
        yield Control("write_protect", self.write_protect)
        if self.guard:
            yield Control(self.guard, value=True)
        # For what was translated through the entry before.
        yield Reload()
        for start, _ in slots:
            for page in range(len(rights)):
                yield from accesses(start + page * PAGE, alignment_check=self.alignment_check)


def _guards(machine: Machine) -> Iterator[tuple[str, bool]]:
    if Feature.SMEP not in machine.features:
        yield "", False
        return
    yield "supervisor_execution", False
    yield "supervisor_access", False
    yield "supervisor_access", True


def _lacking(machine: Machine) -> Iterator[tuple[int, ...]]:
    lacking = (0, _USER, _WRITABLE, _WRITABLE | _USER)
    if len(all_rights(machine)) == 4:
        # Half as many rights: there is room for two entries.
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
        for write_protect, (guard, alignment_check), lacking in itertools.product(
            (True, False), tuple(_guards(machine)), tuple(_lacking(machine))
        ):
            yield Setting(machine, write_protect, guard, alignment_check, lacking)
            # What lacks nothing is the same at each level.
            if machine.paging == "4-level" and any(lacking):
                for level in ("pointer_table", "root_table"):
                    yield Setting(machine, write_protect, guard, alignment_check, lacking, level)


SETTINGS = tuple(_settings())
