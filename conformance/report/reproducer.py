"""Reproducers: a case as a ROM and two command lines, for somebody without the harness."""

from __future__ import annotations

from pathlib import Path

from backends import bochs, qemu
from conformance.case.case import Case
from conformance.case.codec import dump_case
from conformance.case.image import Image
from conformance.case.payload import encode_payload
from conformance.judge.fields import compared_part
from conformance.oracle.expectation import Expectation

__all__ = ["write_reproducer"]

_QEMU = """\
#!/bin/sh
# Runs the case on QEMU; the kernel's trace comes out in trace-qemu.bin. The exit status is 1.
cd "$(dirname "$0")" || exit
exec "${{QEMU:-{qemu}}}" -nodefaults -display none -M pc -accel tcg -cpu {cpu} -m {ram} \\
    -bios rom.bin -debugcon file:trace-qemu.bin -device isa-debug-exit,iobase=0xf4
"""
_BOCHS = """\
#!/bin/sh
# Runs the case on Bochs; the kernel's trace comes out in the middle of trace-bochs.bin.
cd "$(dirname "$0")" || exit
export SDL_VIDEODRIVER=dummy
echo continue | "${BOCHS:-bochs}" -q -f bochsrc > trace-bochs.bin
"""
_BOCHSRC = """\
display_library: sdl2
romimage: file=rom.bin, address=0xfff80000
vgaromimage: file=/usr/share/vgabios/vgabios.bin
memory: guest={ram}, host={ram}
cpu: model={cpu}, count=1, ips=50000000, reset_on_triple_fault=1
clock: sync=none
port_e9_hack: enabled=1
log: bochs.log
"""
_README = """\
One case of the conformance harness, to run without it.

rom.bin       512 KiB that end at 4 GiB: boot loader, kernel {image} and the case
run-qemu.sh   runs it on QEMU  (QEMU=/path/to/{qemu} ./run-qemu.sh)
run-bochs.sh  runs it on Bochs (BOCHS=/path/to/bochs ./run-bochs.sh)
expected.txt  the events that the trace should have
case.json     the case itself: conformance replay case.json

A trace is a header and records; kernel/TRACE.md of the harness describes them, and
`conformance decode trace-qemu.bin | diff - expected.txt` compares.
"""
_CHOICES = """\

The manual permits more than one behaviour here; expected.txt has the first of them:
"""


def write_reproducer(folder: Path, case: Case, image: Image, expectation: Expectation) -> None:
    """Write everything that running a case without the harness takes.

    Args:
        expectation: what the trace should hold; as in `conformance decode`, what is not compared
            is left out.

    Raises:
        OSError: it cannot be written.
        ImageError: the case is too large for the ROM.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rom.bin").write_bytes(image.rom(encode_payload(case, echo=True)))
    ram, profile = case.machine.ram_mib, case.machine.cpu_profile
    binary, cpus = qemu.engine_for(case.machine)
    readme = _README.format(image=f"{image.name} {image.id.sha256[:12]}", qemu=binary)
    if expectation.choices:
        rules = {f"- {each.rule.name} ({each.rule.source})\n": None for each in expectation.choices}
        readme += _CHOICES + "".join(rules)
    expected = (compared_part(event) for event in expectation.events)
    texts = {
        "README.txt": readme,
        "case.json": dump_case(case),
        "expected.txt": "".join(f"{event}\n" for event in expected),
        "bochsrc": _BOCHSRC.format(ram=ram, cpu=bochs.CPUS[profile]),
        "run-qemu.sh": _QEMU.format(ram=f"{ram}M", cpu=cpus[profile], qemu=binary),
        "run-bochs.sh": _BOCHS,
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name in ("run-qemu.sh", "run-bochs.sh"):
        (folder / name).chmod(0o755)
