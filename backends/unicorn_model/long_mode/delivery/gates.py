"""The IDT of IA-32e mode, and calls through its gates (6.14; INT n)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from backends.unicorn_model.delivery.descriptors import (
    INTERRUPT_GATE,
    TRAP_GATE,
    Descriptor,
    decode_gate,
    is_null,
    selector_error,
    vector_error,
)
from backends.unicorn_model.delivery.flags import after_gate, saved_eflags
from backends.unicorn_model.delivery.vectors import (
    GP,
    NP,
    SS,
    TS,
    Event,
    Fault,
    SoftwareInterrupt,
    error_code_of,
    is_checked_for_privilege,
    is_external,
)
from backends.unicorn_model.faults import NotModelled
from backends.unicorn_model.long_mode.delivery.machine import Registers, Segment
from backends.unicorn_model.long_mode.delivery.transaction import Stack, Transaction
from backends.unicorn_model.mmu import is_canonical

__all__ = ["Gate", "call_handler", "decode_long_gate", "find_gate", "return_address"]

_GATE_SIZE = 16
_TSS_STACKS, _TSS_INTERRUPT_STACKS = 4, 28  # 7.7, figure 7-11: RSP0, and where IST 0 would be
_POINTER_SIZE = 8
_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class Gate:
    """A descriptor of the IDT (figure 6-8).

    Attributes:
        kind: the type field, 5 bits with the one above it that is 0 in every gate.
        stack: the IST field; 0 is none.
    """

    selector: int
    offset: int
    kind: int
    dpl: int
    present: bool
    stack: int


def decode_long_gate(raw: bytes) -> Gate:
    """Decode 16 bytes of the IDT. Its last 4 are reserved, and not looked at."""
    low = decode_gate(raw[:8])
    (high,) = struct.unpack_from("<I", raw, 8)
    offset = high << 32 | low.offset
    return Gate(low.selector, offset, low.kind, low.dpl, low.present, stack=raw[4] & 7)


def return_address(event: Event, registers: Registers) -> int:
    """The RIP that is saved (6.6): a fault's own instruction, the next one after INT n."""
    return event.next_eip if isinstance(event, SoftwareInterrupt) else registers.rip


def find_gate(transaction: Transaction, event: Event) -> Gate:
    """INT n, PROTECTED-MODE: the checks of the gate itself, in their order."""
    registers, external = transaction.registers, is_external(event)
    refused = Fault(GP, vector_error(event.vector, external))
    # 6.14.1: "the IDT index is formed by scaling the interrupt vector by 16".
    offset = event.vector * _GATE_SIZE
    if offset + _GATE_SIZE - 1 > registers.idtr.limit:
        raise refused
    gate = decode_long_gate(transaction.read(registers.idtr.base + offset, _GATE_SIZE, refused))
    # INT n: "not a 64-bit interrupt gate or a 64-bit trap gate". There are no task gates.
    if gate.kind not in (INTERRUPT_GATE, TRAP_GATE):
        raise refused
    if is_checked_for_privilege(event) and gate.dpl < registers.cpl:
        raise Fault(GP, vector_error(event.vector, external=False))
    if not gate.present:
        raise Fault(NP, vector_error(event.vector, external))
    return gate


def call_handler(transaction: Transaction, event: Event, gate: Gate) -> None:
    """INT n, TRAP-OR-INTERRUPT-GATE."""
    before, external = transaction.registers, is_external(event)
    code = _handler_segment(transaction, gate, external)
    changes_level = not code.is_conforming and code.dpl < before.cpl
    privilege = code.dpl if changes_level else before.cpl
    segment, pointer = before.ss, before.rsp
    if gate.stack or changes_level:
        pointer = _stack_of_task(transaction, privilege, gate.stack, external)
        # 6.14.4, 6.14.5: SS is forced to NULL, with the new CPL as its RPL. Open: 6.14 has it only
        # "if there is a change in CPL". Here an interrupt stack does it, too.
        segment = Segment(privilege, None)
    # 6.14.2: "aligned on a 16-byte boundary" before anything is pushed.
    # INT n: #SS(EXT), "error code contains NULL selector". Open: whether the pointer itself has to
    # be canonical. Here only what is pushed has to.
    overflow = Fault(SS, int(external))
    stack = Stack(transaction, pointer & -_ALIGNMENT, privilege, overflow)
    # 6.14.2: SS and RSP are pushed unconditionally, and every push is of 8 bytes.
    pushed = [
        before.ss.selector,
        before.rsp,
        saved_eflags(event, before.rflags),
        before.cs.selector,
        return_address(event, before),
    ]
    error_code = error_code_of(event)
    if error_code is not None:
        pushed.append(error_code)
    stack.require_room(len(pushed))
    if not is_canonical(gate.offset):
        raise Fault(GP, int(external))
    for value in pushed:
        stack.push(value)
    transaction.change(
        cs=Segment(gate.selector & 0xFFFC | privilege, code),
        ss=segment,
        rsp=stack.pointer,
        rip=gate.offset,
        rflags=after_gate(before.rflags, interrupt_gate=gate.kind == INTERRUPT_GATE),
    )


def _handler_segment(transaction: Transaction, gate: Gate, external: bool) -> Descriptor:
    """The code segment that a gate names. The RPL of the gate's selector is not looked at."""
    if is_null(gate.selector):
        raise Fault(GP, int(external))
    error = selector_error(gate.selector, external)
    code = transaction.descriptor(gate.selector, Fault(GP, error))
    # 6.12.1.1: never to a less privileged level.
    if not code.is_code or code.dpl > transaction.registers.cpl:
        raise Fault(GP, error)
    # INT n: "doesn't have the L-bit set, or has both the L-bit and D-bit set". Open: 6.14.1 says
    # "with the IDT vector number as the error code". Here it is the selector, as in INT n.
    if not code.long or code.big:
        raise Fault(GP, error)
    if not code.present:
        raise Fault(NP, error)
    return transaction.mark_accessed(gate.selector, code)


def _stack_of_task(transaction: Transaction, level: int, stack: int, external: bool) -> int:
    """RSP out of the current TSS: of a privilege level, or one of the interrupt stacks (6.14.5)."""
    task = transaction.registers.tr
    if task.descriptor is None or not task.descriptor.kind & 0b01000:
        raise NotModelled(f"TR={task.selector:#x}: no TSS to take a stack pointer from")
    offset = _TSS_STACKS + level * _POINTER_SIZE
    if stack:
        offset = _TSS_INTERRUPT_STACKS + stack * _POINTER_SIZE
    refused = Fault(TS, selector_error(task.selector, external))
    if offset + _POINTER_SIZE - 1 > task.descriptor.limit:
        raise refused
    return transaction.read_number(task.descriptor.base + offset, _POINTER_SIZE, refused)
