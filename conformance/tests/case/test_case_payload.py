"""Payloads: a case becomes bytes from which the loader gets back the same map and program."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.case.case import Case
from conformance.case.image import ImageId
from conformance.case.machine import Machine
from conformance.case.memory_map import MemoryMap, Region
from conformance.case.payload import (
    PayloadError,
    decode_payload,
    encode_payload,
    encode_program,
)
from conformance.case.program import (
    AllocateRun,
    Body,
    Compute,
    Control,
    Count,
    FreeAddress,
    Program,
    Spawn,
    Unlock,
    Wake,
    WriteEntry,
)
from conformance.case.strategies import cases, fault_cases, guard_page_cases
from conformance.protocol import PROTOCOL

IMAGE = ImageId("i686", "0" * 64)
CASE = Case(
    IMAGE,
    memory_map=MemoryMap((Region(0, 0x9FC00), Region(0x100000, 0xF00000)), cut=3),
    program=Program((Count(), AllocateRun(3, 4), FreeAddress(1 << 32))),
)
HEADER = PROTOCOL.payload


@given(st.one_of(cases(image=IMAGE), fault_cases(image=IMAGE), guard_page_cases(image=IMAGE)))
def test_the_loader_gets_back_what_went_in(case: Case) -> None:
    memory_map, program = decode_payload(encode_payload(case))
    assert memory_map == (None if case.memory_map is None else case.memory_map.encode())
    paging = case.machine.paging
    assert program == encode_program(case.program, case.state_regions, paging=paging)


@given(cases(image=IMAGE))
def test_a_payload_is_whole_words_that_sum_to_nothing(case: Case) -> None:
    payload = encode_payload(case)
    assert len(payload) == HEADER.unpack(payload)["size"] <= PROTOCOL.boot["payload_limit"]
    assert sum(struct.unpack(f"<{len(payload) // 4}I", payload)) % 2**32 == 0
    assert HEADER.unpack(payload)["program_offset"] % 4 == 0


def test_an_empty_map_is_not_no_map() -> None:
    empty = decode_payload(encode_payload(replace(CASE, memory_map=MemoryMap())))
    none = decode_payload(encode_payload(replace(CASE, memory_map=None)))
    assert (empty[0], none[0]) == (b"", None)


def test_a_program_is_its_header_and_its_operations() -> None:
    program = encode_program(CASE.program, ("frame_owned",))
    header = PROTOCOL.program.unpack(program)
    assert header["magic"] == PROTOCOL.program_magic
    assert header["operations"] == 3
    assert header["state_regions"] == 1 << PROTOCOL.state_regions["frame_owned"].code
    assert header["flags"] == 0
    names = ("count", "allocate_run", "free_address")
    count, run, free = (PROTOCOL.operations[name] for name in names)
    assert program[PROTOCOL.program.size :] == b"".join(
        (
            struct.pack("<HH", count.code, 4),
            struct.pack("<HHII", run.code, 12, 3, 4),
            struct.pack("<HHQ", free.code, 12, 1 << 32),
        )
    )


def test_a_guest_can_be_asked_to_echo() -> None:
    echo = PROTOCOL.program.unpack(encode_program(CASE.program, (), echo=True))
    assert echo["flags"] == PROTOCOL.program_flags["echo"]
    assert decode_payload(encode_payload(CASE, echo=True)) != decode_payload(encode_payload(CASE))


def test_the_program_says_which_paging_and_how_many_stacks() -> None:
    machine = Machine(paging="pae")
    case = replace(CASE, machine=machine, program=replace(CASE.program, stacks=7))
    header = PROTOCOL.program.unpack(decode_payload(encode_payload(case, echo=True))[1])
    assert header["flags"] == PROTOCOL.program_flags["echo"] | PROTOCOL.program_flags["pae"]
    assert header["stacks"] == 7
    plain = PROTOCOL.program.unpack(decode_payload(encode_payload(CASE))[1])
    assert (plain["flags"], plain["stacks"]) == (0, 0)


def test_the_program_says_how_its_tasks_are_scheduled() -> None:
    program = Program(schedule="timer", quantum=65535, priorities=True)
    header = PROTOCOL.program.unpack(encode_program(program, ()))
    assert header["schedule"] == PROTOCOL.code("schedule", "timer") == 2
    assert header["quantum"] == 65535
    assert header["flags"] == PROTOCOL.program_flags["priorities"]
    plain = PROTOCOL.program.unpack(encode_program(Program(), ()))
    assert (plain["schedule"], plain["quantum"], plain["flags"]) == (0, 100, 0)


def test_task_operations_on_the_wire() -> None:
    operations = (Body(), Spawn(3, 2), Wake(1), Compute("flags", 9), Unlock(7))
    program = encode_program(Program(operations), ())
    assert program[PROTOCOL.program.size :] == (
        struct.pack("<HH", 48, 4)
        + struct.pack("<HHIB", 49, 9, 3, 2)
        + struct.pack("<HHI", 52, 8, 1)
        + struct.pack("<HHBI", 57, 9, 3, 9)
        + struct.pack("<HHB", 60, 5, 7)
    )


def test_names_become_their_codes() -> None:
    operation = WriteEntry(0x40000000, "pointer_table", clear=1, set=1 << 63, invalidate=False)
    program = encode_program(Program((operation, Control("no_execute", value=True))), ())
    assert program[PROTOCOL.program.size :] == (
        struct.pack("<HHQBQQB", 20, 30, 0x40000000, 2, 1, 1 << 63, 0)
        + struct.pack("<HHBB", 23, 6, 2, 1)
    )


def with_header(**changes: int) -> bytes:
    """CASE's payload with other values in its header, and the checksum right again."""
    payload = encode_payload(CASE)
    header = HEADER.unpack(payload) | changes
    if "checksum" not in changes:
        rest = payload[HEADER.size :]
        body = HEADER.pack(**header | {"checksum": 0}) + rest
        words = len(payload) // 4 if "size" not in changes else min(header["size"], len(body)) // 4
        header["checksum"] = -sum(struct.unpack_from(f"<{words}I", body)) % 2**32
    return HEADER.pack(**header) + payload[HEADER.size :]


REFUSALS = [
    ({"magic": 1}, "bad_magic"),
    ({"version": 0xFFFF}, "bad_version"),
    ({"size": 0}, "bad_size"),
    ({"size": HEADER.size - 4}, "bad_size"),
    ({"size": len(encode_payload(CASE)) - 2}, "bad_size"),
    ({"size": len(encode_payload(CASE)) + 4}, "bad_size"),
    ({"size": PROTOCOL.boot["payload_limit"] + 4}, "bad_size"),
    ({"size": 0xFFFF_FFFC}, "bad_size"),
    ({"checksum": 1}, "bad_checksum"),
    ({"map_offset": 0xFFFF_FFFF}, "bad_map"),
    ({"map_size": 0xFFFF_FFFF}, "bad_map"),
    ({"map_size": len(encode_payload(CASE)) - HEADER.size + 1}, "bad_map"),
    ({"program_offset": len(encode_payload(CASE))}, "bad_program"),
    ({"program_size": 0xFFFF_FFFF}, "bad_program"),
]


@pytest.mark.parametrize(("changes", "refusal"), REFUSALS)
def test_a_payload_that_the_loader_refuses(changes: dict[str, int], refusal: str) -> None:
    with pytest.raises(PayloadError) as got:
        decode_payload(with_header(**changes))
    assert got.value.refusal == refusal
    assert refusal in PROTOCOL.mailbox_refusals.values()


def test_the_limits_of_its_parts() -> None:
    whole = len(encode_payload(CASE))
    assert with_header() == encode_payload(CASE)
    most = whole - HEADER.size
    assert decode_payload(with_header(map_size=most))[0] == encode_payload(CASE)[HEADER.size :]


@pytest.mark.parametrize("length", range(0, HEADER.size, 4))
def test_a_payload_shorter_than_its_header(length: int) -> None:
    with pytest.raises(PayloadError, match="bad_size"):
        decode_payload(encode_payload(CASE)[:length])


@given(st.binary(max_size=64), st.integers(0, 200))
def test_any_damage_is_a_refusal(junk: bytes, at: int) -> None:
    payload = encode_payload(CASE)
    damaged = payload[:at] + junk + payload[at + len(junk) :]
    refusal = ""
    try:
        decode_payload(damaged)
    except PayloadError as error:
        refusal = error.refusal
    # The checksum misses what cancels out.
    sound = sum(struct.unpack_from(f"<{len(payload) // 4}I", damaged)) % 2**32 == 0
    assert sound if not refusal else refusal in PROTOCOL.mailbox_refusals.values()
