"""All or nothing: what a delivery reads, and what it will change if it succeeds."""

from __future__ import annotations

from dataclasses import replace

from backends.unicorn_model.delivery.descriptors import (
    Descriptor,
    decode_descriptor,
    is_local,
    selector_error,
)
from backends.unicorn_model.delivery.vectors import AC, GP, Fault
from backends.unicorn_model.long_mode.delivery.machine import Machine, Mode, Registers, Segment
from backends.unicorn_model.mmu import is_canonical

__all__ = ["Stack", "Transaction", "are_canonical"]

_MASK = (1 << 64) - 1
_ALIGNMENT_MASK, _ALIGNMENT_CHECK = 1 << 18, 1 << 18  # CR0.AM, RFLAGS.AC
_ACCESSED = 1
_WORD = 8


def are_canonical(linear: int, size: int) -> bool:
    """Whether all bytes of an access have addresses that are canonical.

    Open: an access that goes round at 2**64. Here each end counts for itself.
    """
    return is_canonical(linear) and is_canonical(linear + size - 1 & _MASK)


class Transaction:
    """Accesses that reach the machine at `commit`, and not before.

    As in the package for 32-bit mode, and with its choices.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._writes: list[tuple[int, bytes, Mode]] = []
        self._written: dict[int, int] = {}
        self.registers: Registers = machine.registers

    def read(self, linear: int, size: int, otherwise: Fault, mode: Mode = Mode.IMPLICIT) -> bytes:
        """Read bytes.

        Args:
            linear: where.
            size: how many.
            otherwise: what is raised if that is not canonical.
            mode: whose access it is.

        Raises:
            PageFault: paging does not allow it.
            Fault: `otherwise`.
        """
        linear &= _MASK
        if not are_canonical(linear, size):
            raise otherwise
        data = bytearray(self._machine.read(linear, size, mode))
        for index in range(size):
            address = linear + index & _MASK
            data[index] = self._written.get(address, data[index])
        return bytes(data)

    def read_number(
        self, linear: int, size: int, otherwise: Fault, mode: Mode = Mode.IMPLICIT
    ) -> int:
        """Read a little-endian number."""
        return int.from_bytes(self.read(linear, size, otherwise, mode), "little")

    def write(
        self, linear: int, value: int, size: int, otherwise: Fault, mode: Mode = Mode.IMPLICIT
    ) -> None:
        """Write a little-endian number.

        Raises:
            PageFault: paging does not allow it.
            Fault: `otherwise`.
        """
        linear &= _MASK
        if not are_canonical(linear, size):
            raise otherwise
        self._machine.check_write(linear, size, mode)
        data = value.to_bytes(size, "little")
        self._writes.append((linear, data, mode))
        self._written.update((linear + index & _MASK, byte) for index, byte in enumerate(data))

    def change(self, **registers: Segment | int) -> None:
        """Set registers."""
        self.registers = replace(self.registers, **registers)  # type: ignore[arg-type]

    def commit(self) -> None:
        """Make it all happen."""
        for linear, data, mode in self._writes:
            self._machine.write(linear, data, mode)
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

    def descriptor(self, selector: int, fault: Fault) -> Descriptor:
        """Read the descriptor of a code or data segment, which has 8 bytes in every mode.

        Raises:
            PageFault: paging does not allow it.
            Fault: `fault`, if there is none, or not at a canonical address.
        """
        address = self.locate(selector)
        if address is None:
            raise fault
        return decode_descriptor(self.read(address, 8, fault))

    def mark_accessed(self, selector: int, descriptor: Descriptor) -> Descriptor:
        """3.4.5.1: the descriptor, with the bit that is set "whenever the processor loads the
        segment selector for the segment into a segment register".
        """
        if not descriptor.kind & _ACCESSED:
            address = self.locate(selector)
            assert address is not None  # the descriptor was read
            refused = Fault(GP, selector_error(selector, external=False))
            access = self.read_number(address + 5, 1, refused)
            self.write(address + 5, access | _ACCESSED, 1, refused)
        return replace(descriptor, kind=descriptor.kind | _ACCESSED)


class Stack:
    """A stack. The base of SS counts as 0, and it has no limit (3.4.4, 5.3.1).

    Args:
        transaction: makes the accesses.
        pointer: RSP.
        privilege: whose accesses they are.
        overflow: what a push or pop at an address that is not canonical raises.

    Attributes:
        pointer: what is to become RSP.
    """

    def __init__(
        self, transaction: Transaction, pointer: int, privilege: int, overflow: Fault
    ) -> None:
        self._transaction = transaction
        self._mode = Mode.at(privilege)
        self._overflow = overflow
        self.pointer = pointer

    def require_room(self, count: int) -> None:
        """Check that quadwords can be pushed to canonical addresses."""
        for index in range(1, count + 1):
            if not are_canonical(self.pointer - _WORD * index & _MASK, _WORD):
                raise self._overflow

    def push(self, value: int) -> None:
        """Push a quadword."""
        pointer = self.pointer - _WORD & _MASK
        self._transaction.write(pointer, value, _WORD, self._overflow, self._mode)
        self.pointer = pointer

    def pop(self) -> int:
        """Pop a quadword."""
        self._check_alignment()
        value = self._transaction.read_number(self.pointer, _WORD, self._overflow, self._mode)
        self.pointer = self.pointer + _WORD & _MASK
        return value

    def _check_alignment(self) -> None:
        """6.15, "Interrupt 17": only in user mode. What is pushed is aligned (see gates)."""
        registers = self._transaction.registers
        if (
            self._mode is Mode.USER
            and registers.cr0 & _ALIGNMENT_MASK
            and registers.rflags & _ALIGNMENT_CHECK
            and self.pointer % _WORD
            and are_canonical(self.pointer, _WORD)
        ):
            raise Fault(AC, 0)
