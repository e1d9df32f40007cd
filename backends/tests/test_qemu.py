"""What is QEMU's own: how it fails to start, its console, and a guest that rings at odd times."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from backends import hostile
from backends.backend import Backend, InstanceConfig, create_backend
from backends.contract_cases import (
    PARTIAL,
    ends_in_shutdown_request,
    faulting_request,
    hostile_request,
    request_of,
    small_request,
)
from backends.qemu import CPUS
from conformance.case.image import Image
from conformance.case.machine import CPU_PROFILES, Machine
from conformance.case.memory_map import MemoryMap
from conformance.errors import BackendError
from conformance.observe.observation import Outcome

RING = b"\xb0\x04\xe6\xe9"  # mov $4, %al; out %al, $0xE9


@pytest.mark.parametrize(
    ("settings", "word", "complaint"),
    [
        ({"options": ("-nosuchoption",)}, "-nosuchoption", "invalid option"),
        ({"cpu": "pentium33"}, "pentium33", "unable to find CPU model 'pentium33'"),
        ({"options": ("-device", "nosuchdevice")}, "nosuchdevice", "not a valid device model name"),
    ],
    ids=["option", "processor", "device"],
)
def test_it_does_not_start(
    image: Image,
    instance: Callable[..., Backend],
    settings: dict[str, object],
    word: str,
    complaint: str,
) -> None:
    with pytest.raises(BackendError, match="qemu: does not start: QEMU: exit status 1") as caught:
        instance("qemu", **settings).open(image, Machine())
    assert word in caught.value.command
    assert complaint in caught.value.output.decode()
    assert complaint in str(caught.value)


def test_a_missing_binary(image: Image) -> None:
    backend = create_backend(InstanceConfig("mine", "qemu", binary="qemu-system-none"))
    availability = backend.probe()
    assert not availability.usable
    assert availability.reason == "qemu-system-none not found"
    assert availability.remedy
    with pytest.raises(BackendError, match="mine: qemu-system-none not found"):
        backend.open(image, Machine())


@pytest.mark.parametrize(
    ("script", "reason"),
    [("echo GNU true 9.1", "does not say it is QEMU"), ("exit 3", "exit status 3")],
)
def test_a_binary_that_is_not_qemu(tmp_path: Path, script: str, reason: str) -> None:
    binary = tmp_path / "qemu"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    availability = create_backend(InstanceConfig("mine", "qemu", binary=str(binary))).probe()
    assert not availability.usable
    assert reason in availability.reason
    assert str(binary) in availability.reason


def test_a_binary_that_says_nothing_and_ends(tmp_path: Path, image: Image) -> None:
    binary = tmp_path / "qemu"
    binary.write_text("#!/bin/sh\necho out of luck >&2\nexit 3\n")
    binary.chmod(0o755)
    backend = create_backend(InstanceConfig("mine", "qemu", binary=str(binary)))
    with pytest.raises(BackendError, match=r"mine: .*exit status 3: out of luck") as caught:
        backend.open(image, Machine())
    assert caught.value.output == b"out of luck\n"


def test_what_a_hung_guest_printed(image: Image, instance: Callable[..., Backend]) -> None:
    bad = hostile.hostile_image(image, hostile.PRINT_FOREVER)
    with contextlib.closing(instance("qemu", deadline=0.5).open(bad, Machine())) as session:
        observation = session.run(hostile_request())
    assert observation.console == b"x" * 4096


@pytest.mark.parametrize("times", [2, 5000, 1 << 30])
def test_a_guest_that_rings_again_and_again(
    image: Image, instance: Callable[..., Backend], times: int
) -> None:
    """What it rings later must not be taken for the end of the next case."""
    ring = b"\xb9" + times.to_bytes(4, "little") + RING + b"\xe2\xfa"  # mov $times, %ecx; … loop
    code = hostile.store_trace(image, PARTIAL) + ring + hostile.HALT
    bad = hostile.hostile_image(image, code)
    with contextlib.closing(instance("qemu", deadline=5).open(bad, Machine())) as session:
        before = session.run(small_request())
        for _ in range(5):
            assert session.run(hostile_request()).trace == PARTIAL
            assert session.run(small_request()).trace == before.trace


def test_an_emulator_that_crashes_is_replaced(
    image: Image, instance: Callable[..., Backend]
) -> None:
    """`-device isa-debug-exit` lets the guest end QEMU in the middle of a case."""
    code = b"\x31\xc0\xe6\xf4" + hostile.SPIN  # xor %eax, %eax; out %al, $0xF4
    backend = instance("qemu", options=("-device", "isa-debug-exit,iobase=0xf4"))
    with contextlib.closing(backend.open(hostile.hostile_image(image, code), Machine())) as session:
        before = session.run(small_request())
        crashed = session.run(hostile_request())
        assert crashed.outcome is Outcome.BACKEND_CRASHED
        assert crashed.detail == "QEMU: exit status 1"
        assert "isa-debug-exit,iobase=0xf4" in crashed.command
        assert session.run(small_request()).trace == before.trace


def test_the_command_line_says_it_all(image: Image, instance: Callable[..., Backend]) -> None:
    backend = instance("qemu", options=("-d", "guest_errors"))
    machine = Machine(ram_mib=32, cpu_profile="core2duo")
    with contextlib.closing(backend.open(image, machine)) as session:
        command = session.run(small_request()).command
    for words in (
        ("-cpu", CPUS["core2duo"]),
        ("-m", "32M"),
        ("-accel", "tcg"),
        ("-d", "guest_errors"),
    ):
        position = command.index(words[0])
        assert command[position : position + 2] == words


@pytest.mark.parametrize("options", [("-d", "guest_errors"), ("-D", "/dev/null")])
def test_a_log_of_the_users_own(
    image: Image, instance: Callable[..., Backend], options: tuple[str, ...]
) -> None:
    """There is no record of exceptions then, rather than an empty one."""
    with contextlib.closing(instance("qemu", options=options).open(image, Machine())) as session:
        observation = session.run(faulting_request("legacy"))
    assert (observation.outcome, observation.faults) == (Outcome.COMPLETED, None)


def test_where_an_exception_was(image: Image, instance: Callable[..., Backend]) -> None:
    """The contract compares what a record says; this one says it of software interrupts too."""
    with contextlib.closing(instance("qemu").open(image, Machine())) as session:
        faults = session.run(faulting_request("legacy")).faults
    assert faults
    assert None not in {fault.eip for fault in faults}
    assert {fault.vector for fault in faults} >= {0, 1, 3, 4, 5, 6, 7, 8, 11, 13, 14, 31}


def test_a_record_without_end(image: Image, instance: Callable[..., Backend]) -> None:
    bad = hostile.hostile_image(image, hostile.fault_forever())
    with contextlib.closing(instance("qemu", deadline=0.5).open(bad, Machine())) as session:
        hung = session.run(hostile_request())
        assert session.run(small_request()).faults == ()
    assert hung.outcome is Outcome.DEADLINE
    assert hung.faults is None


@pytest.mark.parametrize("cpu_profile", CPU_PROFILES)
def test_the_translator_has_all_of_the_processors(
    image: Image, instance: Callable[..., Backend], cpu_profile: str
) -> None:
    """A warning about what it lacks would be QEMU's last words, whatever it ended of."""
    code = b"\x31\xc0\xe6\xf4" + hostile.SPIN  # xor %eax, %eax; out %al, $0xF4
    backend = instance("qemu", options=("-device", "isa-debug-exit,iobase=0xf4"))
    machine = Machine(cpu_profile=cpu_profile)
    with contextlib.closing(backend.open(hostile.hostile_image(image, code), machine)) as session:
        assert session.run(hostile_request()).detail == "QEMU: exit status 1"


def test_control_registers_are_read_at_a_kernels_own_end(
    image: Image, instance: Callable[..., Backend]
) -> None:
    """Elsewhere they are a loader's, or of a guest that is still running."""
    with contextlib.closing(instance("qemu").open(image, Machine())) as session:
        completed = session.run(faulting_request("pae")).control
        panicked = session.run(request_of(MemoryMap())).control
        shut_down = session.run(ends_in_shutdown_request()).control
    assert completed
    assert panicked
    assert (completed.cr0, panicked.cr0) == (completed.cr0 | 0x80010001,) * 2
    assert (completed.cr4 & 0x20, panicked.cr4 & 0x20) == (0x20, 0)
    assert shut_down is None
