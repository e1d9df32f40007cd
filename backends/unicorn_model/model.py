"""The reference machine: Unicorn's processor between our MMU, our exceptions and our ports."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import unicorn.unicorn_const as uc
import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc, UcError

from backends.unicorn_model.access_rights import Access, Privilege
from backends.unicorn_model.control_state import CR0_PG, CR4_PAE, ControlState
from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.delivery.deliver import deliver, exception_of
from backends.unicorn_model.delivery.vectors import (
    EXCEPTIONS,
    Event,
    ProcessorException,
    SoftwareInterrupt,
)
from backends.unicorn_model.faults import NotModelled, PageFault
from backends.unicorn_model.messages import End, Entry, Stop
from backends.unicorn_model.mmu import Mmu, Translation
from backends.unicorn_model.physical_memory import PhysicalMemory
from backends.unicorn_model.ports import DebugPort, Ports
from backends.unicorn_model.stopped import StoppedProcessor

__all__ = ["Model"]

_INVALID_OPCODE = 6
_EFLAGS_AC = 1 << 18
_ACCESSES = {
    uc.UC_MEM_READ: Access.READ,
    uc.UC_MEM_WRITE: Access.WRITE,
    uc.UC_MEM_FETCH: Access.FETCH,
}


class Model:
    """A machine whose RAM is a memory map; each run starts with a new processor.

    Args:
        ram: guest RAM, from physical 0.
        cpu: Unicorn's number of the processor model.
        profile: what that processor's paging can do.
    """

    def __init__(self, ram: mmap.mmap, cpu: int, profile: CpuProfile) -> None:
        self._ram = ram
        self._memory = memoryview(ram)
        self._pointer = ctypes.addressof(ctypes.c_char.from_buffer(ram))
        self._cpu = cpu
        self._profile = profile

    def run(self, entry: Entry) -> Stop:
        """Run from the entry state until the guest rings or can go no further."""
        processor = Uc(uc.UC_ARCH_X86, uc.UC_MODE_32)
        processor.ctl_set_cpu_model(self._cpu)
        processor.mem_map_ptr(0, len(self._ram), uc.UC_PROT_ALL, self._pointer)
        _enter(processor, entry)
        # Only now: loading a segment register reads the GDT, and outside of emulation Unicorn
        # crashes in that read when it has to ask for a translation.
        processor.ctl_set_tlb_mode(uc.UC_TLB_VIRTUAL)
        # No address ends a run. (Where there is one, Unicorn looks it up when the run is over, and
        # the look-up of a page that is not mapped would pass for a page fault of the guest.)
        processor.ctl_exits_enabled(True)
        debug_port = DebugPort()
        mmu = Mmu(PhysicalMemory(self._memory), self._profile)
        ports = Ports({DebugPort.PORT: debug_port})
        run = _Run(processor, self._memory, mmu, ports, debug_port)
        end, detail = run.go(entry.address)
        return Stop(end, detail, bytes(debug_port.console))


def _enter(processor: Uc, entry: Entry) -> None:
    """Set the registers that Multiboot 0.6.96, section 3.2 defines, and those it lets be garbage
    to what a processor has after reset (SDM vol. 3, 10.1.1).
    """
    processor.reg_write(x86.UC_X86_REG_CR0, 0x60000011)
    processor.reg_write(x86.UC_X86_REG_EFLAGS, 0x2)
    processor.reg_write(x86.UC_X86_REG_IDTR, (0, 0, 0xFFFF, 0))
    processor.reg_write(x86.UC_X86_REG_GDTR, (0, entry.descriptor_table, 23, 0))
    processor.reg_write(x86.UC_X86_REG_CS, 0x08)
    for segment in ("DS", "ES", "FS", "GS", "SS"):
        processor.reg_write(getattr(x86, f"UC_X86_REG_{segment}"), 0x10)
    processor.reg_write(x86.UC_X86_REG_EAX, entry.magic)
    processor.reg_write(x86.UC_X86_REG_EBX, entry.information)


class _Run:
    """One run: the hooks, and what they found."""

    def __init__(
        self, processor: Uc, memory: memoryview, mmu: Mmu, ports: Ports, debug_port: DebugPort
    ) -> None:
        self._processor = processor
        self._memory = memory
        self._mmu = mmu
        self._ports = ports
        self._debug_port = debug_port
        self._event: Event | None = None
        self._not_modelled: str | None = None
        processor.hook_add(uc.UC_HOOK_TLB_FILL, self._fill)
        processor.hook_add(uc.UC_HOOK_INTR, self._interrupt)
        processor.hook_add(uc.UC_HOOK_INSN_INVALID, self._invalid)
        processor.hook_add(uc.UC_HOOK_INSN, self._in, aux1=x86.UC_X86_INS_IN)
        processor.hook_add(uc.UC_HOOK_INSN, self._out, aux1=x86.UC_X86_INS_OUT)

    def go(self, address: int) -> tuple[End, str]:
        """Run from an address to the end."""
        problem = ""
        try:
            self._processor.emu_start(address, until=0)
        except UcError as error:
            problem = f"{error} at {self._processor.reg_read(x86.UC_X86_REG_EIP):#x}"
        if self._not_modelled is not None:
            return End.NOT_MODELLED, self._not_modelled
        if self._debug_port.rang:
            return End.BELL, ""
        if self._event is not None:
            return self._deliver(self._event)
        if problem:
            return End.NOT_MODELLED, problem
        return End.HALTED, f"halted at {self._processor.reg_read(x86.UC_X86_REG_EIP):#x}"

    def _deliver(self, event: Event) -> tuple[End, str]:
        where = f"vector {event.vector} at {self._processor.reg_read(x86.UC_X86_REG_EIP):#x}"
        try:
            machine = StoppedProcessor(self._processor, self._memory, self._translate)
            outcome = deliver(machine, event)
        except NotModelled as error:
            return End.NOT_MODELLED, f"{where}: {error}"
        assert outcome.shutdown, "the machine does not enter handlers"
        return End.SHUTDOWN, where

    def _translate(self, linear: int, access: Access, privilege: Privilege) -> Translation:
        read = self._processor.reg_read
        state = ControlState(
            cr0=read(x86.UC_X86_REG_CR0),
            cr3=read(x86.UC_X86_REG_CR3),
            cr4=read(x86.UC_X86_REG_CR4),
            alignment_check=bool(read(x86.UC_X86_REG_EFLAGS) & _EFLAGS_AC),
        )
        if state.cr0 & CR0_PG and state.cr4 & CR4_PAE:
            # Unicorn does not say when CR3 is written, which is when PDPTEs are loaded.
            raise NotModelled(f"CR4={state.cr4:#x}: PAE paging")
        return self._mmu.translate(state, linear, access, privilege)

    def _fill(self, processor: Any, linear: int, access: int, entry: Any, _: Any) -> bool:
        user = processor.reg_read(x86.UC_X86_REG_CS) & 3 == 3
        privilege = Privilege.USER if user else Privilege.SUPERVISOR
        try:
            translation = self._translate(linear, _ACCESSES[access], privilege)
        except PageFault as fault:
            self._event = exception_of(fault)
            return False
        except NotModelled as error:
            self._not_modelled = str(error)
            return False
        readable = uc.UC_PROT_READ if translation.readable else 0
        writable = uc.UC_PROT_WRITE if translation.writable else 0
        executable = uc.UC_PROT_EXEC if translation.executable else 0
        entry.paddr = translation.frame
        entry.perms = readable | writable | executable
        return True

    def _interrupt(self, processor: Any, vector: int, _: Any) -> None:
        # Unicorn says neither which instruction it was nor what the error code is.
        if vector < len(EXCEPTIONS):
            code = 0 if EXCEPTIONS[vector].error_code else None
            self._event = ProcessorException(vector, code)
        else:
            self._event = SoftwareInterrupt(vector, processor.reg_read(x86.UC_X86_REG_EIP))
        processor.emu_stop()

    def _invalid(self, *_: Any) -> bool:
        self._event = ProcessorException(_INVALID_OPCODE)
        return False

    def _in(self, _: Any, port: int, size: int, __: Any) -> int:
        return self._ports.read(port, size)

    def _out(self, processor: Any, port: int, size: int, value: int, _: Any) -> None:
        self._ports.write(port, size, value)
        if self._debug_port.rang:
            processor.emu_stop()
