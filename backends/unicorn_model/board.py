"""What is around the processor: it stays when the processor changes its mode."""

from __future__ import annotations

from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.emulation import Other
from backends.unicorn_model.external_interrupts import ExternalInterrupts
from backends.unicorn_model.fault_record import FaultRecord
from backends.unicorn_model.mmu import Mmu
from backends.unicorn_model.physical_memory import PhysicalMemory
from backends.unicorn_model.ports import DebugPort, Ports

__all__ = ["Board"]


class Board:
    """RAM and the devices of one run, and what is recorded of it.

    Attributes:
        memory: guest RAM.
        physical: the same, for walks.
        mmu: translates.
        debug_port: where the guest prints and rings.
        interrupts: the interrupt controllers and the timer.
        ports: all devices, at their ports.
        record: of the exceptions.
    """

    def __init__(self, memory: memoryview, profile: CpuProfile) -> None:
        self.memory = memory
        self.physical = PhysicalMemory(memory)
        self.mmu = Mmu(self.physical, profile)
        self.debug_port = DebugPort()
        self.interrupts = ExternalInterrupts()
        self.ports = Ports(
            {
                DebugPort.PORT: self.debug_port,
                **dict.fromkeys(ExternalInterrupts.PORTS, self.interrupts),
            }
        )
        self.record = FaultRecord()

    def attend(self) -> Other | None:
        """During emulation, after OUT: whether a device gives a reason to stop."""
        if self.debug_port.rang:
            return Other.BELL
        return Other.DEVICE if self.interrupts.has_changed() else None
