"""Reading a run's result out of the memory of a guest that may have written anything there."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.backend import Request
from backends.contract_cases import DAMAGES, PARTIAL, small_request, trace_room
from backends.guest import Guest, Result, prepare, unfit
from conformance.case.image import Image
from conformance.observe.observation import Outcome, StateDigest
from conformance.observe.trace import decode
from conformance.protocol import PROTOCOL

RAM = 0x1000000
BOOT = PROTOCOL.boot
STATES, STATUS = PROTOCOL.mailbox_states, PROTOCOL.trace_status


class Memory:
    """Guest RAM, as a run that completed leaves it."""

    def __init__(self, image: Image, trace: bytes = PARTIAL) -> None:
        self.image = image
        self.data = bytearray(RAM)
        for address, data in prepare(image, small_request(), control="halt"):
            self.put(address, data)
        self.mailbox(state=STATES["taken"])
        self.header(written=len(trace), status=STATUS["completed"])
        self.put(image.bounds("trace_buffer")[0] + PROTOCOL.trace_header.size, trace)

    def put(self, address: int, data: bytes) -> None:
        self.data[address : address + len(data)] = data

    def mailbox(self, **fields: int) -> None:
        usual = {"magic": PROTOCOL.mailbox_magic, "state": 0, "control": 0, "detail": 0}
        self.put(BOOT["mailbox"], PROTOCOL.mailbox.pack(**(usual | fields)))

    def header(self, **fields: int) -> None:
        usual = {"magic": PROTOCOL.trace_magic, "version": 1, "capacity": trace_room(self.image)}
        usual |= {"written": 0, "records": 0, "status": 0}
        start, _ = self.image.bounds("trace_buffer")
        self.put(start, PROTOCOL.trace_header.pack(**(usual | fields)))

    def read(self, address: int, size: int) -> bytes:
        assert 0 <= address <= address + size <= RAM, "read outside of RAM"
        return bytes(self.data[address : address + size])

    def guest(self) -> Guest:
        return Guest(self.image, self.read)

    def result(self, request: Request | None = None) -> Result:
        return self.guest().result(request or small_request())


@pytest.fixture
def memory(image: Image) -> Memory:
    return Memory(image)


def test_a_completed_run(memory: Memory, image: Image) -> None:
    region = PROTOCOL.state_regions["frame_owned"]
    start, end = image.bounds(region)
    memory.put(start, b"some state")
    result = memory.result(replace(small_request(), state_regions=(region,)))
    digest = StateDigest.of(region, memory.read(start, end - start))
    assert result == Result(Outcome.COMPLETED, "", PARTIAL, (digest,))


def test_only_the_part_of_a_bitmap_that_is_used_is_read(memory: Memory) -> None:
    request = replace(small_request(), frames=4096)
    digests = {digest.region: digest.words for digest in memory.result(request).state}
    assert digests["frame_bitmap"] == digests["frame_owned"] == 4096 // 32
    everything = {digest.region: digest.words for digest in memory.result().state}
    assert everything["frame_bitmap"] == PROTOCOL.constants["frame_count"] // 32
    assert digests["page_tables"] == everything["page_tables"]


def test_a_panic(memory: Memory) -> None:
    memory.header(written=len(PARTIAL), status=STATUS["panicked"])
    assert memory.result() == Result(Outcome.PANICKED, "", PARTIAL, ())


def test_a_reset_in_the_middle(memory: Memory) -> None:
    memory.mailbox(state=STATES["interrupted"])
    memory.header(written=len(PARTIAL), status=STATUS["running"])
    result = memory.result()
    assert (result.outcome, result.trace) == (Outcome.TRIPLE_FAULT, PARTIAL)


@pytest.mark.parametrize(("code", "name"), [*PROTOCOL.mailbox_refusals.items(), (99, "99")])
def test_a_refusal_is_named(memory: Memory, code: int, name: str) -> None:
    memory.mailbox(state=STATES["refused"], detail=code)
    result = memory.result()
    assert result.outcome is Outcome.REFUSED
    assert result.detail.endswith(f": {name}")
    assert (result.trace, result.state) == (b"", ())


@pytest.mark.parametrize("state", ["empty", "ready"])
def test_a_run_that_never_began(memory: Memory, state: str) -> None:
    memory.mailbox(state=STATES[state])
    result = memory.result()
    assert (result.outcome, result.state) == (Outcome.GARBLED, ())
    assert f"state={STATES[state]:#x}" in result.detail


@pytest.mark.parametrize(
    ("fields", "detail", "trace"),
    [
        ({"magic": 0x11223344}, "trace magic=0x11223344", b""),
        ({"written": 0xFFFFFFF0}, "trace written=0xfffffff0", b""),
        ({"status": 77}, "trace status=77", PARTIAL),
        ({"status": STATUS["running"]}, "trace status=1", PARTIAL),
    ],
)
def test_a_garbled_header(
    memory: Memory, fields: dict[str, int], detail: str, trace: bytes
) -> None:
    memory.header(**({"written": len(PARTIAL), "status": STATUS["completed"]} | fields))
    result = memory.result()
    assert result.outcome is Outcome.GARBLED
    assert detail in result.detail
    assert result.trace == trace


@pytest.mark.parametrize("beyond", [0, 1])
def test_the_trace_buffers_end(memory: Memory, image: Image, beyond: int) -> None:
    memory.header(written=trace_room(image) + beyond, status=STATUS["completed"])
    result = memory.result()
    assert result.outcome is (Outcome.GARBLED if beyond else Outcome.COMPLETED)
    assert len(result.trace) == (0 if beyond else trace_room(image))


def test_a_run_cut_short_keeps_its_trace(memory: Memory) -> None:
    result = memory.guest().interrupted(Outcome.DEADLINE, "why")
    assert result == Result(Outcome.DEADLINE, "why", PARTIAL, ())


@given(
    mailbox=st.binary(min_size=16, max_size=16),
    header=st.binary(min_size=24, max_size=24),
    keep=st.lists(st.booleans(), min_size=10, max_size=10),
)
def test_any_garbage_has_an_outcome(
    image: Image, mailbox: bytes, header: bytes, keep: list[bool]
) -> None:
    """Whatever a guest leaves behind, nothing is read outside of RAM, and nothing is raised."""
    memory = Memory(image)
    start, _ = image.bounds("trace_buffer")
    for index, kept in enumerate(keep):
        garbage = (mailbox + header)[index * 4 : index * 4 + 4]
        base = BOOT["mailbox"] + index * 4 if index < 4 else start + (index - 4) * 4
        if not kept:
            memory.put(base, garbage)
    result = memory.result()
    decode(result.trace)
    if result.outcome is Outcome.COMPLETED:
        assert len(result.state) == len(PROTOCOL.state_regions)
        assert memory.read(BOOT["mailbox"], 8) == struct.pack(
            "<II", PROTOCOL.mailbox_magic, STATES["taken"]
        )
    else:
        assert result.state == ()


@pytest.mark.parametrize("control", PROTOCOL.mailbox_controls)
def test_what_is_written_before_a_run(image: Image, control: str) -> None:
    request = small_request()
    start, _ = image.bounds("trace_buffer")
    assert dict(prepare(image, request, control=control)) == {
        start: bytes(PROTOCOL.trace_header.size),
        BOOT["payload"]: request.payload,
        BOOT["mailbox"]: struct.pack(
            "<IIII",
            PROTOCOL.mailbox_magic,
            STATES["ready"],
            PROTOCOL.mailbox_controls[control],
            0,
        ),
    }


# What the guest cannot see for itself; the other damages are for the ROM to find.
UNFIT = {
    "size too large": "its header says",
    "truncated": "its header says",
    "header only": "its header says",
    "empty": "not even a header",
    "over the limit": "the limit is",
    "over all memory": "the limit is",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_handed_over(damage: str) -> None:
    reason = unfit(DAMAGES[damage](small_request().payload))
    assert UNFIT.get(damage, "") in reason
    assert bool(reason) == (damage in UNFIT)


def test_a_sound_payload_is_fit() -> None:
    payload = small_request().payload
    assert unfit(payload) == ""
    assert unfit(payload.ljust(BOOT["payload_limit"], b"\0")) == ""
    assert "limit is" in unfit(payload.ljust(BOOT["payload_limit"] + 1, b"\0"))
