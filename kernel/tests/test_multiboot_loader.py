"""The kernel as an ordinary Multiboot kernel: after a firmware, by a loader that is not ours."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from backends import qemu
from conformance.case.image import IMAGES, default_image
from conformance.case.machine import Machine
from conformance.case.payload import encode_program
from conformance.case.program import Allocate, Count, Program
from conformance.observe.trace import decode as decode_trace
from conformance.protocol import PROTOCOL

BOOT_DEADLINE = 60  # seconds
RAM_MIB = 32


@pytest.mark.parametrize("architecture", IMAGES)
def test_qemu_boots_it_from_the_command_line(architecture: str, tmp_path: Path) -> None:
    """Multiboot 0.6.96, section 3: QEMU loads no 64-bit ELF but by the header's addresses."""
    machine = Machine.smallest(architecture)
    binary, cpus = qemu.engine_for(machine)
    if shutil.which(binary) is None:
        assert not os.environ.get("CI"), f"{binary} not found"
        pytest.skip(f"{binary} not found")
    kernel, module, console = (tmp_path / name for name in ("kernel.elf", "program", "console"))
    kernel.write_bytes(default_image(architecture).kernel)
    program = Program((Allocate(), Count()))
    module.write_bytes(encode_program(program, (), paging=machine.paging, echo=True))
    command = [binary, "-nodefaults", "-display", "none", "-accel", "tcg"]
    command += ["-cpu", cpus[machine.cpu_profile], "-m", f"{RAM_MIB}M"]
    command += ["-kernel", str(kernel), "-initrd", str(module)]
    command += ["-debugcon", f"file:{console}", "-device", "isa-debug-exit,iobase=0xf4"]
    subprocess.run(command, timeout=BOOT_DEADLINE, check=False)

    written = console.read_bytes()
    start = written.index(PROTOCOL.trace_magic.to_bytes(4, "little"))
    header = PROTOCOL.trace_header.unpack(written, start)
    records = written[start + PROTOCOL.trace_header.size :][: header["written"]]
    fields = {event.kind: event.fields for event in decode_trace(records)}
    assert header["status"] == PROTOCOL.trace_status["completed"]
    assert fields["entry"]["magic"] == PROTOCOL.constants["multiboot_bootloader_magic"]
    # The firmware's own map, in which this loader has put the program somewhere.
    assert fields["map_end"]["problem"] == PROTOCOL.code("map_problem", "none")
    assert fields["map_end"]["entries"] > 2
    free = fields["ready"]["free_frames"]
    assert 0 < free < RAM_MIB << 8
    assert fields["allocated"]["frame"] == fields["ready"]["lowest"]
    assert fields["counted"]["free_frames"] == free - 1
