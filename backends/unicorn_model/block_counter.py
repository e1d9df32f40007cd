"""Stopping Unicorn after a number of blocks: instructions up to the next branch, more or less."""

from __future__ import annotations

import ctypes
from typing import Any

import unicorn.unicorn_const as uc
from unicorn.unicorn_py3 import Uc, UcError
from unicorn.unicorn_py3.unicorn import uclib

__all__ = ["BlockCounter"]

_Callback = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p
)
_EVERYWHERE = (ctypes.c_uint64(1), ctypes.c_uint64(0))


class BlockCounter:
    """Counts the blocks of one processor while there is a limit.

    Unicorn can count instructions, too, but looks through all of its hooks at each of them, and
    does not tell how many there were.
    """

    def __init__(self, processor: Uc) -> None:
        self._processor = processor
        self._left = 0
        self._hook: int | None = None
        # Without the wrapper that `hook_add` makes: this is called very often, and cannot fail.
        self._callback = _Callback(self._count)
        self.is_used_up = False

    def limit(self, blocks: int) -> None:
        """Let so many blocks begin, and stop before the next; 0: any number."""
        self._left = blocks
        self.is_used_up = False
        if bool(blocks) != (self._hook is not None):
            self._add() if blocks else self._remove()

    @property
    def left(self) -> int:
        """How many of the limit have not begun."""
        return max(self._left, 0)

    def _count(self, *_: Any) -> None:
        self._left -= 1
        if self._left < 0:
            self.is_used_up = True
            uclib.uc_emu_stop(self._processor._uch)

    def _add(self) -> None:
        hook = ctypes.c_size_t()
        status = uclib.uc_hook_add(
            self._processor._uch,
            ctypes.byref(hook),
            uc.UC_HOOK_BLOCK,
            self._callback,
            None,
            *_EVERYWHERE,
        )
        if status != uc.UC_ERR_OK:
            raise UcError(status)
        self._hook = hook.value
        self._processor.ctl_flush_tb()  # what is translated already would not be counted

    def _remove(self) -> None:
        status = uclib.uc_hook_del(self._processor._uch, ctypes.c_size_t(self._hook or 0))
        if status != uc.UC_ERR_OK:
            raise UcError(status)
        self._hook = None
        self._processor.ctl_flush_tb()
