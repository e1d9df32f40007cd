"""Hooks on single instructions, in large numbers.

Unicorn's `hook_add` makes a new function for C to call with every hook, and that takes ten times as
long as the rest of it. Here all hooks of a processor share one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import unicorn.unicorn_const as uc
from unicorn.unicorn_py3 import Uc, UcError
from unicorn.unicorn_py3.unicorn import uclib

__all__ = ["CodeHooks"]


class CodeHooks:
    """Has a function called before the instructions at certain linear addresses.

    They have effect on what is translated from then on.
    """

    def __init__(self, processor: Uc, before: Callable[[int], None]) -> None:
        def call(_: Any, address: int, *__: Any) -> None:
            if self._all is None:
                before(address)

        def call_all(_: Any, address: int, *__: Any) -> None:
            before(address)

        self._all: int | None = None
        self._call_all = call_all
        # The one hook that is made by the book is at no linear address.
        self._processor = processor
        first = processor.hook_add(uc.UC_HOOK_CODE, call, begin=_NOWHERE, end=_NOWHERE)
        self._function = processor._callbacks[first]

    def add(self, address: int) -> None:
        """Hook the instruction at an address."""
        status = uclib.uc_hook_add(
            self._processor._uch,
            ctypes.byref(ctypes.c_size_t()),
            uc.UC_HOOK_CODE,
            self._function,
            None,
            ctypes.c_uint64(address),
            ctypes.c_uint64(address),
        )
        if status != uc.UC_ERR_OK:
            raise UcError(status)

    def hook_all(self, *, on: bool) -> None:
        """Hook all instructions, or only those that were added."""
        if self._all is not None:
            self._processor.hook_del(self._all)
        self._all = self._processor.hook_add(uc.UC_HOOK_CODE, self._call_all) if on else None


_NOWHERE = 1 << 62  # no linear address: it is not canonical
