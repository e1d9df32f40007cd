"""What is Bochs' own: its terminal, its debugger's view of memory, and how it fails to start."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends import hostile
from backends.backend import Backend, InstanceConfig, create_backend
from backends.bochs import BochsBackend
from backends.bochs_debugger import Debugger
from backends.contract_cases import (
    HANGS,
    LARGE_MAP,
    LARGE_PROGRAM,
    PARTIAL,
    ends_in_shutdown_request,
    faulting_request,
    hostile_request,
    request_of,
    small_request,
    trace_room,
)
from conformance.case.image import Image, default_image
from conformance.case.machine import Machine, every_machine
from conformance.case.memory_map import MemoryMap
from conformance.errors import BackendError
from conformance.observe.observation import Outcome
from conformance.observe.trace import decode
from conformance.protocol import PROTOCOL

DIRECTORY, TABLE = 0x00900000, 0x00901000
WINDOW = PROTOCOL.boot["kernel_window"]
PAGE = 0x1000


def paging_on(swapped: int = 0) -> bytes:
    """Code that maps the first 4 MiB at 0 and in the window, the latter with two pages swapped.

    Args:
        swapped: physical address of a page that changes places with its successor; 0 for none.
    """
    identity, bent = TABLE, TABLE + PAGE
    code = b""
    for table in (identity, bent):
        code += struct.pack("<BI", 0xBF, table)  # mov $table, %edi
        code += struct.pack("<BI", 0xB8, 3)  # mov $3, %eax
        code += struct.pack("<BI", 0xB9, 1024)  # mov $1024, %ecx
        code += b"\xab\x05\x00\x10\x00\x00\xe2\xf8"  # 1: stosl; add $4096, %eax; loop 1b
    high = TABLE + 2 * PAGE  # maps where this code runs
    code += struct.pack("<BI", 0xBF, high) + struct.pack("<BI", 0xB8, 0x800003)
    code += struct.pack("<BI", 0xB9, 1024) + b"\xab\x05\x00\x10\x00\x00\xe2\xf8"
    code += hostile.store(DIRECTORY, struct.pack("<III", identity | 3, 0, high | 3))
    code += hostile.store(DIRECTORY + (WINDOW >> 22) * 4, struct.pack("<I", bent | 3))
    if swapped:
        entries = struct.pack("<II", (swapped + PAGE) | 3, swapped | 3)
        code += hostile.store(bent + swapped // PAGE * 4, entries)
    return (
        code
        + struct.pack("<BI", 0xB8, DIRECTORY)
        + b"\x0f\x22\xd8\x0f\x20\xc0\x0d\x00\x00\x00\x80\x0f\x22\xc0"  # cr3, then CR0.PG
    )


@pytest.mark.parametrize("page", [None, 0, 1, 2], ids=str)
def test_memory_is_read_where_it_is(
    image: Image, instance: Callable[..., Backend], page: int | None
) -> None:
    """The debugger dumps linear memory; a guest that has bent its page tables must not matter."""
    start, _ = image.bounds("trace_buffer")
    marks = [bytes([0x11 * (number + 1)]) * 16 for number in range(4)]
    length = 4 * PAGE - PROTOCOL.trace_header.size
    code = hostile.store_trace(image, b"", written=length)
    for number, mark in enumerate(marks):
        code += hostile.store(start + number * PAGE + 0x100, mark)
    code += paging_on(0 if page is None else start + page * PAGE) + hostile.end_run()
    bad = hostile.hostile_image(image, code)
    with contextlib.closing(instance("bochs").open(bad, Machine())) as session:
        observation = session.run(hostile_request())
        after = session.run(small_request())
    assert (observation.outcome, len(observation.trace)) == (Outcome.COMPLETED, length)
    memory = bytes(PROTOCOL.trace_header.size) + observation.trace
    assert [memory[number * PAGE + 0x100 :][:16] for number in range(4)] == marks
    assert after.outcome is Outcome.COMPLETED


def pae_on(straight: int, bent: int) -> bytes:
    """Code that turns PAE paging on with one window in its registers and another in memory.

    Args:
        straight: which of two page directories the processor loads: 0 is the straight one.
        bent: which of them memory says afterwards.
    """
    tables = DIRECTORY + 4 * PAGE  # first the straight ones, then those that are one page off
    code = b""
    for first in (0, PAGE):
        code += struct.pack("<BI", 0xBF, tables + first * 8)  # mov $table, %edi
        code += struct.pack("<BI", 0xB8, first | 3) + struct.pack("<BI", 0xB9, 4096)
        code += b"\xab\x83\x27\x00\x83\xc7\x04"  # 1: stosl; andl $0, (%edi); add $4, %edi
        code += b"\x05\x00\x10\x00\x00\xe2\xf2"  # add $4096, %eax; loop 1b
    directories = [DIRECTORY + PAGE, DIRECTORY + 2 * PAGE]
    for number, directory in enumerate(directories):
        for entry in range(8):
            table = tables + number * 8 * PAGE + entry * PAGE
            code += hostile.store(directory + entry * 8, struct.pack("<Q", table | 3))
    pointers = {0: directories[0], WINDOW >> 30: directories[straight]}
    for index, directory in pointers.items():
        code += hostile.store(DIRECTORY + index * 8, struct.pack("<Q", directory | 1))
    code += b"\x0f\x20\xe0\x83\xc8\x20\x0f\x22\xe0"  # CR4.PAE
    code += struct.pack("<BI", 0xB8, DIRECTORY)
    code += b"\x0f\x22\xd8\x0f\x20\xc0\x0d\x00\x00\x00\x80\x0f\x22\xc0"  # cr3, then CR0.PG
    pointer = struct.pack("<Q", directories[bent] | 1)
    return code + hostile.store(DIRECTORY + (WINDOW >> 30) * 8, pointer)


@pytest.mark.parametrize("loaded", [0, 1])
@pytest.mark.parametrize("left", [0, 1])
def test_pointers_to_directories_are_those_the_processor_has(
    image: Image, instance: Callable[..., Backend], loaded: int, left: int
) -> None:
    """It keeps them in registers: what memory says about them need not be true."""
    trace = PARTIAL * 400
    code = hostile.store_trace(image, trace) + pae_on(loaded, left) + hostile.end_run()
    bad = hostile.hostile_image(image, code)
    with contextlib.closing(instance("bochs").open(bad, Machine())) as session:
        observation = session.run(hostile_request())
    assert (observation.outcome, observation.trace) == (Outcome.COMPLETED, trace)


@pytest.mark.parametrize("machine", every_machine(), ids=str)
def test_large_reads_are_fast(
    instance: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch, machine: Machine
) -> None:
    """Under the kernel's own paging nothing large has to be printed word by word."""
    printed: list[int] = []
    examine = Debugger._examine

    def counted(self: Debugger, address: int, words: int) -> bytes:
        printed.append(words)
        return examine(self, address, words)

    monkeypatch.setattr(Debugger, "_examine", counted)
    image = default_image(machine.architecture)
    request = replace(faulting_request(machine.paging), frames=1 << 20)
    with contextlib.closing(instance("bochs").open(image, machine)) as session:
        assert session.run(request).outcome is Outcome.COMPLETED
    assert printed
    assert sum(printed) < 1000


@pytest.mark.parametrize("option", ["debug: action=ignore", "logprefix: %t%e", "log: /dev/null"])
def test_a_log_of_the_users_own(
    image: Image, instance: Callable[..., Backend], option: str
) -> None:
    """There is no record of exceptions then, rather than an empty one."""
    with contextlib.closing(instance("bochs", options=(option,)).open(image, Machine())) as session:
        observation = session.run(faulting_request("legacy"))
    assert (observation.outcome, observation.faults) == (Outcome.COMPLETED, None)


def test_a_record_without_end(image: Image, instance: Callable[..., Backend]) -> None:
    bad = hostile.hostile_image(image, hostile.fault_forever())
    with contextlib.closing(instance("bochs", deadline=0.5).open(bad, Machine())) as session:
        hung = session.run(hostile_request())
        assert session.run(small_request()).faults == ()
    assert hung.outcome is Outcome.DEADLINE
    assert hung.faults is None


@pytest.mark.parametrize("directory", [0, 0x7FFFF003], ids=["absent", "nowhere"])
def test_a_window_that_is_gone(
    image: Image, instance: Callable[..., Backend], directory: int
) -> None:
    trace = PARTIAL * 40
    code = hostile.store_trace(image, trace) + paging_on()
    code += hostile.store(DIRECTORY + (WINDOW >> 22) * 4, struct.pack("<I", directory))
    bad = hostile.hostile_image(image, code + hostile.end_run())
    with contextlib.closing(instance("bochs").open(bad, Machine())) as session:
        observation = session.run(hostile_request())
    assert observation.trace == trace


def test_more_commands_than_the_terminal_holds(
    image: Image, instance: Callable[..., Backend]
) -> None:
    """A large map is thousands of commands: sent all at once they would block both sides."""
    with contextlib.closing(instance("bochs").open(image, Machine())) as session:
        for _ in range(2):
            observation = session.run(request_of(LARGE_MAP, LARGE_PROGRAM))
            assert observation.outcome is Outcome.COMPLETED
            events = decode(observation.trace)
            assert sum(event.kind == "region" for event in events) == len(LARGE_MAP.regions)


def test_a_whole_trace_buffer(image: Image, instance: Callable[..., Backend]) -> None:
    code = hostile.store_trace(image, PARTIAL, written=trace_room(image)) + hostile.end_run()
    bad = hostile.hostile_image(image, code)
    with contextlib.closing(instance("bochs").open(bad, Machine())) as session:
        trace = session.run(hostile_request()).trace
    assert trace == PARTIAL + bytes(trace_room(image) - len(PARTIAL))


def test_a_guest_cannot_speak_to_the_harness(
    image: Image, instance: Callable[..., Backend]
) -> None:
    """Port 0xE9 on the debugger's terminal could forge a prompt."""
    lines = (b"(0) Magic breakpoint\n<bochs:%d> " % number for number in range(1, 300))
    forged = b"".join(lines)
    code = b"".join(b"\xb0" + bytes([byte]) + b"\xe6\xe9" for byte in forged)
    bad = hostile.hostile_image(image, code + HANGS["spinning"])
    with contextlib.closing(instance("bochs", deadline=0.5).open(bad, Machine())) as session:
        observation = session.run(hostile_request())
    assert (observation.outcome, observation.console) == (Outcome.DEADLINE, b"")


def test_a_guest_that_faults_for_ever(image: Image, instance: Callable[..., Backend]) -> None:
    """It tells the ROM to start it again at each reset, so that there is no end."""
    state = PROTOCOL.boot["mailbox"] + PROTOCOL.mailbox.offset("state")
    ready = struct.pack("<I", PROTOCOL.mailbox_states["ready"])
    code = hostile.store(state, ready) + hostile.UNDEFINED_INSTRUCTION
    bad = hostile.hostile_image(image, code)
    with contextlib.closing(instance("bochs", deadline=0.5).open(bad, Machine())) as session:
        assert session.run(hostile_request()).outcome is Outcome.DEADLINE
        assert session.run(small_request()).outcome is Outcome.COMPLETED


def test_a_guest_that_ends_bochs(image: Image, instance: Callable[..., Backend]) -> None:
    code = b"\x66\xba\x00\x89" + b"".join(  # mov $0x8900, %dx
        b"\xb0" + bytes([byte]) + b"\xee" for byte in b"Shutdown"
    )
    bad = hostile.hostile_image(image, code + hostile.SPIN)
    backend = instance("bochs", options=("plugin_ctrl: unmapped=1",))
    with contextlib.closing(backend.open(bad, Machine())) as session:
        crashed = session.run(hostile_request())
        assert crashed.outcome is Outcome.BACKEND_CRASHED
        assert "exit status" in crashed.detail
        assert session.run(small_request()).outcome is Outcome.COMPLETED


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"cpu": "p33_katmai"}, "cpu directive malformed"),
        (
            {"options": ("nosuchdirective: enabled=1",)},
            "directive 'nosuchdirective' not understood",
        ),
        (
            {"options": ("romimage: file=/no/such/rom",)},
            "couldn't open ROM image file '/no/such/rom'",
        ),
    ],
    ids=["processor", "directive", "file"],
)
def test_it_does_not_start(
    image: Image, instance: Callable[..., Backend], settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BackendError, match=r"bochs: does not start: Bochs: (exit|sig)") as caught:
        instance("bochs", **settings).open(image, Machine())
    assert caught.value.command[0].endswith("bochs")
    assert complaint in caught.value.output.decode()
    assert complaint in str(caught.value)
    for setting in (settings.get("cpu", ""), *settings.get("options", ())):
        assert setting in caught.value.output.decode()


def test_a_missing_binary(image: Image) -> None:
    backend = create_backend(InstanceConfig("mine", "bochs", binary="bochs-none"))
    availability = backend.probe()
    assert (availability.usable, availability.reason) == (False, "bochs-none not found")
    assert "apt-get install" in availability.remedy
    with pytest.raises(BackendError, match="mine: bochs-none not found"):
        backend.open(image, Machine())


def test_a_missing_vga_bios(
    image: Image, monkeypatch: pytest.MonkeyPatch, instance: Callable[..., Backend]
) -> None:
    backend = instance("bochs")
    monkeypatch.setattr(BochsBackend, "vga_bios", None)
    assert "no VGA BIOS at /usr/share" in backend.probe().reason
    with pytest.raises(BackendError, match="no VGA BIOS"):
        backend.open(image, Machine())


@pytest.mark.parametrize(
    ("script", "reason"), [("exit 0", "does not say it is Bochs"), ("", "does not say it is Bochs")]
)
def test_a_binary_that_is_not_bochs(tmp_path: Path, script: str, reason: str) -> None:
    binary = tmp_path / "bochs"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    availability = create_backend(InstanceConfig("mine", "bochs", binary=str(binary))).probe()
    assert (availability.usable, availability.reason) == (False, f"{binary} {reason}")


def test_no_display_is_needed(
    image: Image, instance: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(os.sep)
    with contextlib.closing(instance("bochs").open(image, Machine())) as session:
        assert session.run(small_request()).outcome is Outcome.COMPLETED


def test_control_registers_are_read_at_a_kernels_own_end(
    image: Image, instance: Callable[..., Backend]
) -> None:
    """Elsewhere they are a loader's, or of a guest that is still running."""
    with contextlib.closing(instance("bochs").open(image, Machine())) as session:
        completed = session.run(faulting_request("pae")).control
        panicked = session.run(request_of(MemoryMap())).control
        shut_down = session.run(ends_in_shutdown_request()).control
    assert completed
    assert panicked
    assert (completed.cr0, panicked.cr0) == (completed.cr0 | 0x80010001,) * 2
    assert (completed.cr4 & 0x20, panicked.cr4 & 0x20) == (0x20, 0)
    assert shut_down is None
