"""What this process holds, so that a test can see what an engine left behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Belongings", "children"]


@dataclass(frozen=True, slots=True)
class Belongings:
    """Descriptors, child processes (zombies too, and children's children) and threads."""

    descriptors: frozenset[str] = frozenset()
    processes: frozenset[str] = frozenset()
    threads: frozenset[str] = frozenset()

    @classmethod
    def now(cls) -> Belongings:
        """What there is at this moment."""
        return cls(
            frozenset(_descriptors()),
            frozenset(f"{process} {name}" for process, name in children(os.getpid()).items()),
            frozenset(f"{thread.ident} {thread.name}" for thread in threading.enumerate()),
        )

    def beyond(self, before: Belongings) -> Belongings:
        """What was not there before."""
        return Belongings(
            self.descriptors - before.descriptors,
            self.processes - before.processes,
            self.threads - before.threads,
        )


def children(ancestor: int) -> dict[int, str]:
    """The processes below one: number and name."""
    parents = {}
    names = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text(encoding="ascii", errors="replace")
        except OSError:  # it has just ended
            continue
        # The name is in parentheses, and may hold some itself.
        name, _, rest = status.partition("(")[2].rpartition(")")
        process = int(folder.name)
        parents[process], names[process] = int(rest.split()[1]), name
    found = {ancestor}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {process: names[process] for process in sorted(found - {ancestor})}


def _descriptors() -> Iterator[str]:
    folder = Path("/proc/self/fd")
    for number in os.listdir(folder):  # noqa: PTH208 - iterdir() keeps the folder open meanwhile
        try:
            yield f"{number} {(folder / number).readlink()}"
        except OSError:  # the one that listed the folder
            continue
