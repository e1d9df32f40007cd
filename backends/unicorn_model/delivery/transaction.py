"""All or nothing: what a delivery reads, and what it will change if it succeeds."""

from __future__ import annotations

from dataclasses import replace

from backends.unicorn_model.delivery.descriptors import (
    Descriptor,
    decode_descriptor,
    is_local,
    within_limit,
)
from backends.unicorn_model.delivery.machine import Machine, Mode, Registers, Segment
from backends.unicorn_model.delivery.vectors import AC, Fault

__all__ = ["Stack", "Transaction"]

_MASK = 0xFFFFFFFF
_ALIGNMENT_MASK, _ALIGNMENT_CHECK = 1 << 18, 1 << 18  # CR0.AM, EFLAGS.AC
_ACCESSED = 1


class Transaction:
    """Accesses that reach the machine at `commit`, and not before.

    Writes are checked when they are made, so that a page fault comes in its turn; reads see them.

    6.5 (faults: "the processor restores the machine state to the state prior to the beginning of
    execution of the faulting instruction"). Open: whether memory below the stack pointer keeps
    what was pushed before a push that faulted. Here it does not.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._writes: list[tuple[int, bytes, Mode]] = []
        self._written: dict[int, int] = {}
        self.registers: Registers = machine.registers

    def read(self, linear: int, size: int, mode: Mode = Mode.IMPLICIT) -> bytes:
        """Read bytes.

        Raises:
            PageFault: paging does not allow it.
        """
        data = bytearray(self._machine.read(linear & _MASK, size, mode))
        for index in range(size):
            address = linear + index & _MASK
            data[index] = self._written.get(address, data[index])
        return bytes(data)

    def read_number(self, linear: int, size: int, mode: Mode = Mode.IMPLICIT) -> int:
        """Read a little-endian number."""
        return int.from_bytes(self.read(linear, size, mode), "little")

    def write(self, linear: int, value: int, size: int, mode: Mode = Mode.IMPLICIT) -> None:
        """Write a little-endian number.

        Raises:
            PageFault: paging does not allow it.
        """
        self._machine.check_write(linear & _MASK, size, mode)
        data = value.to_bytes(size, "little")
        self._writes.append((linear & _MASK, data, mode))
        self._written.update((linear + index & _MASK, byte) for index, byte in enumerate(data))

    def change(self, **registers: Segment | int) -> None:
        """Set registers."""
        self.registers = replace(self.registers, **registers)  # type: ignore[arg-type]

    def check_cr3(self, value: int) -> None:
        """Check that `commit` will be able to load CR3.

        Raises:
            Fault: it will not.
        """
        if value != self._machine.registers.cr3:
            self._machine.check_cr3(value)

    def commit(self) -> None:
        """Make it all happen. What was written is at addresses of the CR3 before."""
        for linear, data, mode in _joined(self._writes):
            self._machine.write(linear, data, mode)
        if self.registers.cr3 != self._machine.registers.cr3:
            self._machine.load_cr3(self.registers.cr3)
        self._machine.registers = self.registers

    def locate(self, selector: int) -> int | None:
        """The linear address of a descriptor; None beyond its table (3.4.2, 3.5.1)."""
        base, limit = self.registers.gdtr.base, self.registers.gdtr.limit
        if is_local(selector):
            table = self.registers.ldtr.descriptor
            if table is None:
                return None
            base, limit = table.base, table.limit
        offset = selector & 0xFFF8
        return None if offset + 7 > limit else base + offset & _MASK

    def descriptor_at(self, linear: int) -> Descriptor:
        """Read a descriptor of the GDT or the LDT."""
        return decode_descriptor(self.read(linear, 8))

    def mark_accessed(self, linear: int, descriptor: Descriptor) -> Descriptor:
        """3.4.5.1: the descriptor, with the bit that is set "whenever the processor loads the
        segment selector for the segment into a segment register".
        """
        if not descriptor.kind & _ACCESSED:
            access = self.read_number(linear + 5, 1)
            self.write(linear + 5, access | _ACCESSED, 1)
        return replace(descriptor, kind=descriptor.kind | _ACCESSED)


def _joined(
    writes: list[tuple[int, bytes, Mode]],
) -> list[tuple[int, bytes, Mode]]:
    """What is pushed one below the other as one write: each is a page walk."""
    joined: list[tuple[int, bytes, Mode]] = []
    for linear, data, mode in writes:
        if joined:
            above, rest, earlier = joined[-1]
            if above == linear + len(data) and mode is earlier:
                joined[-1] = linear, data + rest, mode
                continue
        joined.append((linear, data, mode))
    return joined


class Stack:
    """A stack segment with a pointer into it.

    Attributes:
        pointer: what is to become ESP.
        overflow: what a push or pop beyond the limit raises.
        external: the EXT flag for #AC.
    """

    def __init__(
        self,
        transaction: Transaction,
        segment: Segment,
        pointer: int,
        privilege: int,
        overflow: Fault,
        *,
        external: bool,
    ) -> None:
        self._transaction = transaction
        self._descriptor = segment.descriptor
        # 6.2 of volume 1: the B flag of the stack segment says whether it is ESP or SP.
        self._mask = _MASK if segment.descriptor and segment.descriptor.big else 0xFFFF
        self._mode = Mode.at(privilege)
        self._overflow = overflow
        self._external = external
        self.pointer = pointer

    def require_room(self, count: int) -> None:
        """Check that doublewords can be pushed (INT n: "stack does not have room")."""
        for index in range(1, count + 1):
            self._require(self._moved(-4 * index))

    def require_present(self, count: int) -> None:
        """Check that doublewords can be popped (IRET: "top … bytes of stack")."""
        for index in range(count):
            self._require(self._moved(4 * index))

    def push(self, value: int) -> None:
        """Push a doubleword."""
        pointer = self._moved(-4)
        self._transaction.write(self._linear(pointer), value, 4, self._mode)
        self.pointer = pointer

    def pop(self) -> int:
        """Pop a doubleword."""
        value = self._transaction.read_number(self._linear(self.pointer), 4, self._mode)
        self.pointer = self._moved(4)
        return value

    def _moved(self, distance: int) -> int:
        low = self.pointer + distance & self._mask
        return self.pointer & ~self._mask | low

    def _require(self, pointer: int) -> None:
        if self._descriptor is None or not within_limit(self._descriptor, pointer & self._mask, 4):
            raise self._overflow

    def _linear(self, pointer: int) -> int:
        self._require(pointer)
        assert self._descriptor is not None
        linear = self._descriptor.base + (pointer & self._mask) & _MASK
        registers = self._transaction.registers
        # 6.15, "Interrupt 17": only in user mode. Open: whether it goes before a page fault.
        if (
            self._mode is Mode.USER
            and registers.cr0 & _ALIGNMENT_MASK
            and registers.eflags & _ALIGNMENT_CHECK
            and linear & 3
        ):
            raise Fault(AC, int(self._external))
        return linear
