"""The reference model as a backend: its loader, and how it is started."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.backend import Backend, InstanceConfig, create_backend
from backends.contract_cases import DAMAGES, small_request
from backends.unicorn_model.loader import PayloadError, load
from conformance.case.case import Case
from conformance.case.image import Image, ImageId
from conformance.case.machine import Machine
from conformance.case.memory_map import MemoryMap, Region
from conformance.case.payload import encode_payload, encode_program
from conformance.case.program import Allocate, Free, Program
from conformance.errors import BackendError
from conformance.observe.observation import Outcome
from conformance.protocol import PROTOCOL

RAM = 0x200000
BOOT = PROTOCOL.boot


def loaded(image: Image, payload: bytes) -> bytearray:
    memory = bytearray(RAM)
    for address, data in load(image, payload):
        memory[address : address + len(data)] = data
    return memory


def words(memory: bytearray, address: int, count: int) -> tuple[int, ...]:
    return struct.unpack_from(f"<{count}I", memory, address)


memory_maps = st.none() | st.builds(
    lambda pairs: MemoryMap(tuple(Region(base, length) for base, length in pairs)),
    st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), max_size=8),
)
programs = st.lists(st.sampled_from([Allocate(), Free(0)]), max_size=8).map(
    lambda operations: Program(tuple(operations))
)


@given(memory_map=memory_maps, program=programs)
def test_a_multiboot_kernel_finds_everything(
    image: Image, memory_map: MemoryMap | None, program: Program
) -> None:
    """Multiboot 0.6.96, section 3.3: the pointers lead to the map and to the module."""
    case = Case(ImageId("any", "0" * 64), Machine(), memory_map, program)
    memory = loaded(image, encode_payload(case))
    information = words(memory, BOOT["information"], 29)
    flags = information[0]
    assert flags == 1 << 3 | 1 << 9 | (memory_map is not None) << 6
    assert information[5] == 1  # mods_count
    start, end, text, _ = words(memory, information[6], 4)
    assert memory[start:end] == encode_program(program, case.state_regions)
    assert text == 0
    if memory_map is not None:
        length, address = information[11:13]
        assert memory[address : address + length] == memory_map.encode()
    assert memory[information[16] :].startswith(b"conformance")
    unused = {*range(29)} - {0, 5, 6, 11, 12, 16}
    assert {information[index] for index in unused} == {0}


def test_the_kernel_is_where_it_is_linked(image: Image) -> None:
    memory = loaded(image, small_request().payload)
    for segment in image.segments:
        content = memory[segment.address :][: segment.size]
        assert content == segment.data + bytes(segment.size - len(segment.data))


def test_the_descriptor_table_is_flat(image: Image) -> None:
    memory = loaded(image, small_request().payload)
    assert struct.unpack_from("<QQQ", memory, BOOT["descriptor_table"]) == (
        0,
        0x00CF9B000000FFFF,  # code: base 0, limit 4 GiB, ring 0, accessed
        0x00CF93000000FFFF,  # data: the same, writable
    )


@pytest.mark.parametrize("damage", [*DAMAGES][:-2])
def test_a_damaged_payload_is_not_loaded(image: Image, damage: str) -> None:
    with pytest.raises(PayloadError, match="bad_"):
        load(image, DAMAGES[damage](small_request().payload))


@pytest.mark.parametrize(
    ("cpu", "hint"),
    [
        ("UC_CPU_X86_PENTIUM33", "did you mean 'UC_CPU_X86_PENTIUM3'"),
        ("__name__", "they begin with UC_CPU_X86_"),
        ("UC_X86_REG_EAX", "UC_CPU_X86_"),
    ],
)
def test_an_unknown_processor(
    image: Image, instance: Callable[..., Backend], cpu: str, hint: str
) -> None:
    with pytest.raises(BackendError, match=hint) as caught:
        instance("unicorn", cpu=cpu).open(image, Machine())
    assert repr(cpu) in str(caught.value)


def test_another_processor(image: Image, instance: Callable[..., Backend]) -> None:
    backend = instance("unicorn", cpu="UC_CPU_X86_PENTIUM2")
    with contextlib.closing(backend.open(image, Machine())) as session:
        assert session.run(small_request()).outcome is Outcome.COMPLETED


def test_a_missing_binary(image: Image) -> None:
    backend = create_backend(InstanceConfig("mine", "unicorn", binary="/no/such/python"))
    availability = backend.probe()
    assert not availability.usable
    assert availability.reason == "/no/such/python not found"
    with pytest.raises(BackendError, match=r"mine: .*No such file.*/no/such/python") as caught:
        backend.open(image, Machine())
    assert caught.value.command[0] == "/no/such/python"


def test_a_worker_that_does_not_start(image: Image, instance: Callable[..., Backend]) -> None:
    with pytest.raises(BackendError, match="does not start: worker: exit status 1") as caught:
        instance("unicorn", options=("superfluous",)).open(image, Machine())
    assert caught.value.command[-1] == "superfluous"
    assert b"superfluous" in caught.value.output


def test_without_unicorn_the_probe_says_so() -> None:
    code = """
import sys
sys.modules["unicorn"] = None
from backends.backend import InstanceConfig, create_backend
from conformance.case.image import default_image
from conformance.case.machine import Machine
from conformance.errors import BackendError
backend = create_backend(InstanceConfig("unicorn", "unicorn"))
print(backend.probe())
try:
    backend.open(default_image(), Machine())
except BackendError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    probe, error = done.stdout.splitlines()
    assert "usable=False" in probe
    assert "pip install unicorn" in probe
    assert "pip install unicorn" in error
