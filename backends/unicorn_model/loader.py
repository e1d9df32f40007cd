"""The reference model's boot loader: a Multiboot loader in Python.

It puts into guest RAM what the ROM (kernel/boot/rom.cpp) puts there, written separately from the
same specification (Multiboot 0.6.96, section 3).
"""

from __future__ import annotations

import struct

from conformance.case.image import Image
from conformance.case.payload import PayloadError, decode_payload
from conformance.protocol import PROTOCOL

__all__ = ["PayloadError", "load"]

_HAS_MODULES, _HAS_MEMORY_MAP, _HAS_LOADER_NAME = 1 << 3, 1 << 6, 1 << 9
_INFORMATION_SIZE = 116
_LOADER_NAME = b"conformance reference model\0"
_FLAT_CODE, _FLAT_DATA = 0x00CF9B000000FFFF, 0x00CF93000000FFFF

Writes = list[tuple[int, bytes]]


def load(image: Image, payload: bytes) -> Writes:
    """What to write into RAM, as (physical address, bytes), so that the kernel can be entered.

    Raises:
        PayloadError: the payload is not one.
    """
    boot = PROTOCOL.boot
    memory_map, program = decode_payload(payload)
    writes: Writes = [
        (segment.address, segment.data.ljust(segment.size, b"\0")) for segment in image.segments
    ]
    writes.append((boot["descriptor_table"], struct.pack("<QQQ", 0, _FLAT_CODE, _FLAT_DATA)))
    writes.append((boot["module"], program))
    module = struct.pack("<IIII", boot["module"], boot["module"] + len(program), 0, 0)
    writes.append((boot["module_list"], module))
    writes.append((boot["loader_name"], _LOADER_NAME))
    if memory_map is not None:
        writes.append((boot["memory_map"], memory_map))
    writes.append((boot["information"], _information(memory_map)))
    taken = PROTOCOL.mailbox_states["taken"].to_bytes(4, "little")
    writes.append((boot["mailbox"] + PROTOCOL.mailbox.offset("state"), taken))
    return writes


def _information(memory_map: bytes | None) -> bytes:
    information = bytearray(_INFORMATION_SIZE)
    flags = _HAS_MODULES | _HAS_LOADER_NAME | (_HAS_MEMORY_MAP if memory_map is not None else 0)
    struct.pack_into("<I", information, 0, flags)
    struct.pack_into("<II", information, 20, 1, PROTOCOL.boot["module_list"])
    if memory_map is not None:
        struct.pack_into("<II", information, 44, len(memory_map), PROTOCOL.boot["memory_map"])
    struct.pack_into("<I", information, 64, PROTOCOL.boot["loader_name"])
    return bytes(information)
