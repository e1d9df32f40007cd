"""Where in a page an instruction may begin that `segment_loads` executes, or that uses FS or GS.

Where instructions begin is not known before they are executed, so every byte that could be the
first of such an instruction counts. One that is not does no harm: it is decoded when it is come to.
But each hook costs Unicorn time for every instruction that it translates.

So a gap is left: POP ES, SS and DS, LES and LDS, whose opcodes are single bytes that are found
everywhere. Unicorn executes them; what they have loaded is looked at when it is stopped next.
"""

from __future__ import annotations

import re

from backends.unicorn_model.instructions.decoded import LONGEST
from backends.unicorn_model.watched import PREFIXES

__all__ = ["hooked_offsets"]


def _loads_register() -> bytes:
    """Second bytes of 8E: MOV to a segment register that there is, and that is not CS."""
    return bytes(modrm for modrm in range(256) if modrm >> 3 & 7 in (0, 2, 3, 4, 5))


_IN_MEMORY = rb"[\x00-\xbf]"  # ModR/M that names no register
# An opcode that the page's end cuts off from its second byte counts.
_OPCODES = re.compile(
    rb"[\x64\x65]"  # a prefix: FS, GS
    rb"|\x8e(?=[" + re.escape(_loads_register()) + rb"]|\Z)"
    rb"|\x0f(?=[\xa1\xa9]"  # POP FS, GS
    rb"|[\xb2\xb4\xb5](?:" + _IN_MEMORY + rb"|\Z)"  # LSS, LFS, LGS
    rb"|\Z)"
)


def hooked_offsets(page: bytes) -> tuple[int, ...]:
    """Offsets in a page, rising. Prefixes that the page's end cuts off from their opcode count."""
    found: set[int] = set()
    for match in _OPCODES.finditer(page):
        found.add(match.start())
        found.update(_prefixes_before(page, match.start()))
    found.update(_prefixes_before(page, len(page)))
    return tuple(sorted(found))


def _prefixes_before(page: bytes, opcode: int) -> range:
    """Where an instruction with prefixes may begin whose opcode is at an offset."""
    start = opcode
    while start and page[start - 1] in PREFIXES and opcode - start < LONGEST - 1:
        start -= 1
    return range(start, opcode)
