"""What the contract (backends/contract.py) hands to a backend: sound requests, and unsound ones."""

from __future__ import annotations

import struct
from collections.abc import Callable

from backends import hostile
from backends.backend import Request
from conformance.case.case import Case
from conformance.case.image import Image, default_image
from conformance.case.machine import PAGING_MODES, Machine
from conformance.case.memory_map import MemoryMap, Region, RegionType
from conformance.case.payload import encode_payload
from conformance.case.processor import CPU_PROFILES, LONG_MODE_PROFILES
from conformance.case.program import (
    Allocate,
    AllocateRun,
    Count,
    Dump,
    Exhaust,
    Free,
    Interrupt,
    Map,
    Overflow,
    Probe,
    Program,
    Raise,
    Rights,
    StackAllocate,
    TripleFault,
)
from conformance.observe.trace import Event, encode
from conformance.protocol import PROTOCOL

__all__ = [
    "DAMAGES",
    "FAULTS",
    "GARBLINGS",
    "HANGS",
    "LARGE_MAP",
    "LARGE_PROGRAM",
    "MAPS",
    "PARTIAL",
    "PROGRAMS",
    "ends_in_shutdown_request",
    "faulting_request",
    "hostile_request",
    "machine_name",
    "request_of",
    "small_request",
    "trace_room",
]

_LOW = Region(0, 0x9FC00)
_HIGH = Region(0x100000, 0xF00000)
MAPS = (
    MemoryMap((_LOW, _HIGH)),
    MemoryMap((_HIGH, Region(0x400000, 0x1234, RegionType.RESERVED))),
    None,
    MemoryMap((_LOW, Region(0xFFFFF000, 0x100001000, RegionType.ACPI_NVS), _HIGH)),
)
PROGRAMS = (
    Program((Count(), Allocate(), AllocateRun(4, 2), Free(1), Count())),
    Program((Exhaust(), Dump())),
    Program(),
    Program((Allocate(), Dump())),
)
LARGE_MAP = MemoryMap(tuple(Region(0x100000 + 0x3000 * n, 0x2800) for n in range(400)))
LARGE_PROGRAM = Program((Allocate(),) * PROTOCOL.constants["maximum_operations"])
PARTIAL = encode((Event("completed", {"operations": 7}),))

# Left out: MOV CR4 with a reserved bit, after which QEMU's TCG does not come back.
_RAISED = [
    *("divide_error", "debug", "breakpoint", "overflow", "bound_range", "invalid_opcode"),
    *("device_not_available", "double_fault", "absent_gate", "gate_beyond_limit"),
    *("absent_segment", "absent_stack", "privileged_instruction", "privileged_gate"),
]
_OVERFLOWS = ("push", "call", "array", "interrupt", "exception", "string", "straddle")


def _faulting(architecture: str) -> Program:
    probe = PROTOCOL.images[architecture].area["probe"]
    return Program(
        (
            StackAllocate(),
            *map(Raise, _RAISED),
            *map(Interrupt, (0, 3, 6, 31)),
            Probe(probe),
            Map(probe, 1, Rights(0)),
            *(Probe(probe + 5, "write", 1, ring=ring) for ring in (0, 3)),
            Probe(probe + 0xFFE, "read"),
            *(Overflow(0, how, 8192 if how == "array" else 0) for how in _OVERFLOWS),
            Probe(probe + 0x1000, "execute", 1),
        ),
        stacks=2,
    )


FAULTS = len(_faulting("i686").operations) - 2
"""Operations of `faulting_request` that provoke a fault."""

_MAILBOX = PROTOCOL.boot["mailbox"]
_MAILBOX_STATE = _MAILBOX + PROTOCOL.mailbox.offset("state")

HANGS = {
    "spinning": hostile.SPIN,
    "halted": hostile.HALT,
    "printing": hostile.PRINT_FOREVER,
    "faulting": hostile.fault_forever(),
}


def request_of(
    memory_map: MemoryMap | None = MAPS[0],
    program: Program = PROGRAMS[0],
    paging: str = PAGING_MODES[0],
) -> Request:
    """A request for the harness's own image that asks for every state region."""
    regions = tuple(PROTOCOL.state_regions)
    profile = LONG_MODE_PROFILES[0] if paging == "4-level" else CPU_PROFILES[0]
    machine = Machine(cpu_profile=profile, paging=paging)
    case = Case(default_image(machine.architecture).id, machine, memory_map, program, regions)
    return Request(encode_payload(case), tuple(PROTOCOL.state_regions.values()))


def machine_name(machine: Machine) -> str:
    """What tests call a machine."""
    return f"{machine.cpu_profile}-{machine.paging}"


def small_request() -> Request:
    """A request that every image runs to its end."""
    return request_of()


def faulting_request(paging: str) -> Request:
    """A request of which nearly every operation faults."""
    architecture = "x86_64" if paging == "4-level" else "i686"
    return request_of(program=_faulting(architecture), paging=paging)


def ends_in_shutdown_request() -> Request:
    """A request of which the first operation faults, and the second shuts the processor down."""
    return request_of(program=Program((Raise("invalid_opcode"), TripleFault())))


def hostile_request() -> Request:
    """A request for which a hostile image enters its code."""
    return request_of(program=Program((Count(),) * hostile.TRIGGER))


def _mailbox(address: int, data: bytes) -> Callable[[Image], bytes]:
    return lambda image: hostile.store_trace(image, PARTIAL) + hostile.store(address, data)


def _trace(status: str | int = "completed", **header: int) -> Callable[[Image], bytes]:
    return lambda image: hostile.store_trace(image, PARTIAL, status, **header)


# What a guest leaves behind at its end that is no result.
GARBLINGS: dict[str, Callable[[Image], bytes]] = {
    "no trace": lambda _: b"",
    "trace magic": _trace(magic=0xA5A5A5A5),
    "trace too long": lambda image: _trace(written=trace_room(image) + 1)(image),
    "trace without end": _trace(written=0xFFFFFFFF),
    "unknown status": _trace(status=77),
    "still running": _trace(status="running"),
    "mailbox": _mailbox(_MAILBOX, b"\xa5" * PROTOCOL.mailbox.size),
    "mailbox state": _mailbox(_MAILBOX_STATE, b"\x99\0\0\0"),
}


def trace_room(image: Image) -> int:
    """Bytes of records that a trace can have."""
    start, end = image.bounds("trace_buffer")
    return end - start - PROTOCOL.trace_header.size


def _change(field: str, change: int) -> Callable[[bytes], bytes]:
    start = PROTOCOL.payload.offset(field)

    def damaged(payload: bytes) -> bytes:
        (word,) = struct.unpack_from("<I", payload, start)
        changed = struct.pack("<I", (word + change) % (1 << 32))
        return payload[:start] + changed + payload[start + 4 :]

    return damaged


# What makes a payload one that is none.
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "magic": _change("magic", 1),
    "checksum": _change("checksum", 1),
    "content": lambda payload: payload[:-1] + bytes([payload[-1] ^ 1]),
    "size not of whole words": _change("size", -2),
    "size of nothing": lambda payload: _change("size", -len(payload))(payload),
    "size too large": _change("size", 1 << 28),
    "truncated": lambda payload: payload[:-4],
    "header only": lambda payload: payload[: PROTOCOL.payload.size],
    "empty": lambda _: b"",
    "over the limit": lambda payload: payload + bytes(PROTOCOL.boot["payload_limit"]),
    "over all memory": lambda payload: payload + bytes(Machine().ram_bytes),
}
