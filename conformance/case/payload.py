"""Payloads: a case encoded as the bytes that the guest reads (kernel/protocol.toml, [payload])."""

from __future__ import annotations

import struct

from conformance.case.case import Case
from conformance.case.machine import PAGING_MODES
from conformance.case.program import Program
from conformance.protocol import PROTOCOL

__all__ = ["PayloadError", "decode_payload", "encode_payload", "encode_program"]


def encode_program(
    program: Program,
    state_regions: tuple[str, ...],
    *,
    paging: str = PAGING_MODES[0],
    echo: bool = False,
) -> bytes:
    """The Multiboot module: header and operations. Its size depends on the operations alone."""
    flags = PROTOCOL.program_flags["echo"] if echo else 0
    if paging == "pae":
        flags |= PROTOCOL.program_flags["pae"]
    if program.priorities:
        flags |= PROTOCOL.program_flags["priorities"]
    regions = sum(1 << PROTOCOL.state_regions[name].code for name in state_regions)
    parts = [
        PROTOCOL.program.pack(
            magic=PROTOCOL.program_magic,
            operations=len(program.operations),
            state_regions=regions,
            flags=flags,
            stacks=program.stacks,
            schedule=PROTOCOL.code("schedule", program.schedule),
            quantum=program.quantum,
        )
    ]
    for operation in program.operations:
        kind = PROTOCOL.operations[operation.name]
        operands = kind.operands.pack(**operation.operands())
        parts.append(struct.pack("<HH", kind.code, 4 + len(operands)) + operands)
    return b"".join(parts)


def encode_payload(case: Case, *, echo: bool = False) -> bytes:
    """The payload of a case; with `echo` the guest prints its trace and ends the emulator."""
    header = PROTOCOL.payload.size
    memory_map = b"" if case.memory_map is None else case.memory_map.encode()
    program = encode_program(
        case.program, case.state_regions, paging=case.machine.paging, echo=echo
    )
    program_offset = header + len(memory_map) + (-len(memory_map) % 4)
    size = program_offset + len(program) + (-len(program) % 4)

    def build(checksum: int) -> bytes:
        flags = 0 if case.memory_map is None else PROTOCOL.payload_flags["memory_map"]
        head = PROTOCOL.payload.pack(
            magic=PROTOCOL.payload_magic,
            version=PROTOCOL.version,
            flags=flags,
            size=size,
            checksum=checksum,
            map_offset=header,
            map_size=len(memory_map),
            program_offset=program_offset,
            program_size=len(program),
        )
        return ((head + memory_map).ljust(program_offset, b"\0") + program).ljust(size, b"\0")

    total = sum(struct.unpack(f"<{size // 4}I", build(0)))
    return build(-total % (1 << 32))


class PayloadError(Exception):
    """Bytes that are not a payload; `refusal` is the protocol's name for why."""

    def __init__(self, refusal: str) -> None:
        super().__init__(refusal)
        self.refusal = refusal


def decode_payload(payload: bytes) -> tuple[bytes | None, bytes]:
    """The memory map's bytes (None where the loader reports none) and the program's.

    Raises:
        PayloadError: the bytes are not a payload.
    """
    boot = PROTOCOL.boot
    if len(payload) < PROTOCOL.payload.size:
        raise PayloadError("bad_size")
    header = PROTOCOL.payload.unpack(payload)
    if header["magic"] != PROTOCOL.payload_magic:
        raise PayloadError("bad_magic")
    if header["version"] != PROTOCOL.version:
        raise PayloadError("bad_version")
    size = header["size"]
    if (
        size < PROTOCOL.payload.size
        or size > boot["payload_limit"]
        or size % 4
        or size > len(payload)
    ):
        raise PayloadError("bad_size")
    if sum(struct.unpack_from(f"<{size // 4}I", payload)) % (1 << 32):
        raise PayloadError("bad_checksum")

    def part(name: str, limit: int) -> bytes:
        offset, length = header[f"{name}_offset"], header[f"{name}_size"]
        if offset + length > size or length > limit:
            raise PayloadError(f"bad_{name}")
        return payload[offset : offset + length]

    memory_map = part("map", boot["memory_map_limit"])
    program = part("program", boot["module_limit"])
    reported = header["flags"] & PROTOCOL.payload_flags["memory_map"]
    return (memory_map if reported else None), program
