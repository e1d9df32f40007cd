"""Several registers of Unicorn's processor in one call.

Its own `reg_read` makes a new object for each of them, and takes ten times as long; the model reads
registers at every stop.
"""

from __future__ import annotations

import ctypes

import unicorn.unicorn_const as uc
import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc, UcError
from unicorn.unicorn_py3.unicorn import uclib

__all__ = ["RegisterFile"]


class RegisterFile:
    """Certain registers of up to 64 bits, by their names in lower case."""

    def __init__(self, processor: Uc, names: tuple[str, ...]) -> None:
        self._processor = processor
        self._names = names
        numbers = [getattr(x86, f"UC_X86_REG_{name.upper()}") for name in names]
        # Unicorn writes as many bytes as a register has; the others of each remain 0.
        self._values = (ctypes.c_uint64 * len(names))()
        first = ctypes.addressof(self._values)
        self._numbers = (ctypes.c_int * len(names))(*numbers)
        self._addresses = (ctypes.c_void_p * len(names))(
            *(first + 8 * index for index in range(len(names)))
        )

    def values(self) -> list[int]:
        """Their values now, in the order of the names."""
        status = uclib.uc_reg_read_batch(
            self._processor._uch, self._numbers, self._addresses, len(self._names)
        )
        if status != uc.UC_ERR_OK:
            raise UcError(status)
        return list(self._values)

    def read(self) -> dict[str, int]:
        """Their values now."""
        return dict(zip(self._names, self.values(), strict=True))
