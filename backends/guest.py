"""What every backend reads from and writes to guest memory, through whatever access it has.

The guest is hostile: every number read from its memory is checked before it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backends.backend import Request
from conformance.case.image import Image
from conformance.observe.observation import (
    ControlRegisters,
    MachineFault,
    Outcome,
    StateDigest,
)
from conformance.protocol import PROTOCOL

__all__ = ["Guest", "Result", "prepare", "unfit"]

_BITMAPS = ("frame_bitmap", "frame_owned")

Read = Callable[[int, int], bytes]
"""Reads `size` bytes of guest RAM at a physical address: `read(address, size)`."""


@dataclass(frozen=True, slots=True)
class Result:
    """What guest memory says about a run, and what the engine adds to it.

    Attributes:
        faults: as in Observation.
        control: as in Observation.
    """

    outcome: Outcome
    detail: str
    trace: bytes
    state: tuple[StateDigest, ...]
    faults: tuple[MachineFault, ...] | None = None
    control: ControlRegisters | None = None

    @property
    def ended(self) -> bool:
        """The kernel came to its exit path, and the machine is as it left it."""
        return self.outcome in (Outcome.COMPLETED, Outcome.PANICKED)


def unfit(payload: bytes) -> str:
    """Why these bytes cannot be handed to a guest at all; empty if they can.

    The guest checks what is in a payload, but it cannot see where one ends: what it would read
    after a truncated one is left from the case before.
    """
    limit = PROTOCOL.boot["payload_limit"]
    if len(payload) > limit:
        return f"the payload has {len(payload)} bytes, the limit is {limit}"
    if len(payload) < PROTOCOL.payload.size:
        return f"the payload is truncated: {len(payload)} bytes, not even a header"
    size = PROTOCOL.payload.unpack(payload)["size"]
    if len(payload) < size:
        return f"the payload is truncated: {len(payload)} bytes, but its header says {size}"
    return ""


def prepare(image: Image, request: Request, *, control: str) -> tuple[tuple[int, bytes], ...]:
    """What has to be written into guest RAM before a reset: (physical address, bytes) each.

    Args:
        control: the mailbox's control, by name: what the guest does after its end.
    """
    mailbox = PROTOCOL.mailbox.pack(
        magic=PROTOCOL.mailbox_magic,
        state=PROTOCOL.mailbox_states["ready"],
        control=PROTOCOL.mailbox_controls[control],
        detail=0,
    )
    trace_buffer, _ = image.bounds("trace_buffer")
    return (
        (trace_buffer, bytes(PROTOCOL.trace_header.size)),
        (PROTOCOL.boot["payload"], request.payload),
        (PROTOCOL.boot["mailbox"], mailbox),
    )


class Guest:
    """Reads the result of a run out of guest memory.

    Args:
        image: the image that ran.
        read: access to guest RAM, by physical address.
    """

    def __init__(self, image: Image, read: Read) -> None:
        self._read = read
        self._trace_start, self._trace_end = image.bounds("trace_buffer")
        self._bounds = {
            region.name: image.bounds(region) for region in PROTOCOL.state_regions.values()
        }

    def result(self, request: Request) -> Result:
        """The result of a run that came to the exit path of the kernel or of the ROM."""
        mailbox = PROTOCOL.mailbox.unpack(
            self._read(PROTOCOL.boot["mailbox"], PROTOCOL.mailbox.size)
        )
        state = mailbox["state"]
        if mailbox["magic"] != PROTOCOL.mailbox_magic:
            return Result(Outcome.GARBLED, f"mailbox magic={mailbox['magic']:#x}", b"", ())
        if state == PROTOCOL.mailbox_states["refused"]:
            why = PROTOCOL.mailbox_refusals.get(mailbox["detail"], str(mailbox["detail"]))
            return Result(Outcome.REFUSED, f"the ROM refused the payload: {why}", b"", ())
        trace, status, problem = self._trace()
        if state == PROTOCOL.mailbox_states["interrupted"]:
            return Result(Outcome.TRIPLE_FAULT, "the machine was reset", trace, ())
        if state != PROTOCOL.mailbox_states["taken"]:
            return Result(Outcome.GARBLED, f"mailbox state={state:#x} at the end", trace, ())
        if problem:
            return Result(Outcome.GARBLED, problem, trace, ())
        if status == PROTOCOL.trace_status["panicked"]:
            return Result(Outcome.PANICKED, "", trace, ())
        if status != PROTOCOL.trace_status["completed"]:
            return Result(Outcome.GARBLED, f"trace status={status} at the end", trace, ())
        digests = []
        for region in request.state_regions:
            start, end = self._bounds[region.name]
            if region.name in _BITMAPS and request.frames is not None:
                end = min(end, start + request.frames // 8)
            digests.append(StateDigest.of(region, self._read(start, end - start)))
        return Result(Outcome.COMPLETED, "", trace, tuple(digests))

    def interrupted(self, outcome: Outcome, detail: str) -> Result:
        """The result of a run that was cut short from outside, with the trace up to there."""
        trace, _, _ = self._trace()
        return Result(outcome, detail, trace, ())

    def _trace(self) -> tuple[bytes, int, str]:
        """The records, the status, and what is wrong with the header (empty if nothing is)."""
        header_size = PROTOCOL.trace_header.size
        header = PROTOCOL.trace_header.unpack(self._read(self._trace_start, header_size))
        if header["magic"] != PROTOCOL.trace_magic:
            return b"", header["status"], f"trace magic={header['magic']:#x}"
        room = self._trace_end - self._trace_start - header_size
        if header["written"] > room:
            return (
                b"",
                header["status"],
                f"trace written={header['written']:#x}, room for {room:#x}",
            )
        return self._read(self._trace_start + header_size, header["written"]), header["status"], ""
