"""Stopping Unicorn before certain instructions of the pages it executes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.code_hooks import CodeHooks
from backends.unicorn_model.faults import NotModelled
from backends.unicorn_model.instructions.patterns import hooked_offsets
from backends.unicorn_model.tlb import flush_tlb
from backends.unicorn_model.watched import candidates

__all__ = ["Find", "PageWatch", "find"]

_MOST_HOOKS = 8192
_MOST_PAGES = 1024
"""What a guest can make the model keep."""


Find = Callable[[bytes, bytes], tuple[int, ...]]
"""Where in a page to stop, the instructions with these further opcodes included."""


@lru_cache(maxsize=256)  # a worker runs one kernel over and over
def find(page: bytes, opcodes: bytes) -> tuple[int, ...]:
    """Where to stop in a page of 32-bit code, rising or not."""
    return tuple(candidates(page, opcodes)) + hooked_offsets(page)


class PageWatch:
    """Looks for watched instructions in pages, and has a hook called before each.

    Unicorn translates no instruction of a page before it has asked where the page is. That is the
    moment to look, and the only one: an instruction that is written into a page later is not seen
    before Unicorn asks again. (The control unit notices what that may lead to.)

    Args:
        processor: gets the hooks.
        before: is called with the linear address of what may be a watched instruction.
        find: finds those.
    """

    def __init__(self, processor: Uc, before: Callable[[int], None], find: Find) -> None:
        self._find = find
        self._processor = processor
        self._hooks = CodeHooks(processor, before)
        self._seen: dict[int, bytes] = {}
        self._hooked: set[int] = set()
        self._opcodes = b""

    def look(self, page: int, content: bytes) -> None:
        """Look at the page at a linear address, of which an instruction is about to be fetched.

        Raises:
            NotModelled: there are too many.
        """
        if self._seen.get(page) == content:
            return
        if len(self._seen) >= _MOST_PAGES:
            self._seen.clear()
        self._seen[page] = content
        for offset in self._find(content, self._opcodes):
            address = page + offset
            if address not in self._hooked:
                if len(self._hooked) >= _MOST_HOOKS:
                    raise NotModelled(f"more than {_MOST_HOOKS} places to watch, at {address:#x}")
                self._hooked.add(address)
                self._hooks.add(address)

    def watch_opcodes(self, opcodes: bytes) -> None:
        """From now on look for these, too; while the processor is stopped."""
        added = bytes(sorted(set(opcodes) - set(self._opcodes)))
        if added:
            self._opcodes += added
            self._seen.clear()
            # What is translated already has no hooks, and its pages have to be asked for again.
            self._processor.ctl_flush_tb()
            flush_tlb(self._processor)

    def watch_all(self, *, on: bool) -> None:
        """Have the function called before each instruction, or no longer; while stopped."""
        self._hooks.hook_all(on=on)
        self._processor.ctl_flush_tb()
