"""The IDT, and calls through its interrupt and trap gates (6.10 to 6.12.1; INT n)."""

from __future__ import annotations

from backends.unicorn_model.delivery.descriptors import (
    INTERRUPT_GATE,
    INTERRUPT_GATE_16,
    TASK_GATE,
    TRAP_GATE,
    TRAP_GATE_16,
    Descriptor,
    Gate,
    decode_gate,
    is_null,
    selector_error,
    vector_error,
    within_limit,
)
from backends.unicorn_model.delivery.flags import after_gate, saved_eflags
from backends.unicorn_model.delivery.machine import NotModelled, Registers, Segment
from backends.unicorn_model.delivery.transaction import Stack, Transaction
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

__all__ = ["call_handler", "find_gate", "return_address"]

_GATES = (TASK_GATE, INTERRUPT_GATE, TRAP_GATE, INTERRUPT_GATE_16, TRAP_GATE_16)


def return_address(event: Event, registers: Registers) -> int:
    """The EIP that is saved (6.6): a fault's own instruction, the next one after INT n."""
    return event.next_eip if isinstance(event, SoftwareInterrupt) else registers.eip


def find_gate(transaction: Transaction, event: Event) -> Gate:
    """INT n, PROTECTED-MODE: the checks of the gate itself, in their order."""
    registers, external = transaction.registers, is_external(event)
    offset = event.vector * 8
    if offset + 7 > registers.idtr.limit:
        raise Fault(GP, vector_error(event.vector, external))
    gate = decode_gate(transaction.read(registers.idtr.base + offset, 8))
    if gate.kind not in _GATES:
        raise Fault(GP, vector_error(event.vector, external))
    if is_checked_for_privilege(event) and gate.dpl < registers.cpl:
        raise Fault(GP, vector_error(event.vector, external=False))
    if not gate.present:
        raise Fault(NP, vector_error(event.vector, external))
    return gate


def call_handler(transaction: Transaction, event: Event, gate: Gate) -> None:
    """INT n, TRAP-OR-INTERRUPT-GATE."""
    if gate.kind in (INTERRUPT_GATE_16, TRAP_GATE_16):
        raise NotModelled(f"vector={event.vector} gate type={gate.kind:#x}: a 16-bit gate")
    before, external = transaction.registers, is_external(event)
    code = _handler_segment(transaction, gate, external)
    if code.is_conforming or code.dpl == before.cpl:
        # INTRA-PRIVILEGE-LEVEL-INTERRUPT: on the stack that is in use.
        privilege, segment = before.cpl, before.ss
        overflow = Fault(SS, int(external))
        stack = Stack(transaction, segment, before.esp, privilege, overflow, external=external)
        pushed: list[int] = []
    else:
        # INTER-PRIVILEGE-LEVEL-INTERRUPT: on the stack that the TSS names for the new level.
        privilege = code.dpl
        segment, pointer = _inner_stack(transaction, privilege, external)
        overflow = Fault(SS, selector_error(segment.selector, external))
        stack = Stack(transaction, segment, pointer, privilege, overflow, external=external)
        pushed = [before.ss.selector, before.esp]
    # Open: the upper half of a pushed selector ("3 words padded to 4"). Here it is 0.
    pushed += [
        saved_eflags(event, before.eflags),
        before.cs.selector,
        return_address(event, before),
    ]
    error_code = error_code_of(event)
    if error_code is not None:
        pushed.append(error_code)
    stack.require_room(len(pushed))
    if not within_limit(code, gate.offset, 1):
        raise Fault(GP, int(external))
    for value in pushed:
        stack.push(value)
    transaction.change(
        cs=Segment(gate.selector & 0xFFFC | privilege, code),
        ss=segment,
        esp=stack.pointer,
        eip=gate.offset,
        eflags=after_gate(before.eflags, interrupt_gate=gate.kind == INTERRUPT_GATE),
    )


def _handler_segment(transaction: Transaction, gate: Gate, external: bool) -> Descriptor:
    """The code segment that a gate names. The RPL of the gate's selector is not looked at."""
    if is_null(gate.selector):
        raise Fault(GP, int(external))
    address = transaction.locate(gate.selector)
    if address is None:
        raise Fault(GP, selector_error(gate.selector, external))
    code = transaction.descriptor_at(address)
    # 6.12.1.1: never to a less privileged level.
    if not code.is_code or code.dpl > transaction.registers.cpl:
        raise Fault(GP, selector_error(gate.selector, external))
    if not code.present:
        raise Fault(NP, selector_error(gate.selector, external))
    return transaction.mark_accessed(address, code)


def _inner_stack(transaction: Transaction, level: int, external: bool) -> tuple[Segment, int]:
    """SS and ESP for a privilege level, from the current TSS (5.8.5, 7.2.1)."""
    task = transaction.registers.tr
    if task.descriptor is None or not task.descriptor.kind & 0b01000:
        raise NotModelled(f"TR={task.selector:#x}: no 32-bit TSS for a change of privilege")
    offset = level * 8 + 4
    if offset + 5 > task.descriptor.limit:
        raise Fault(TS, selector_error(task.selector, external))
    # Open: which of the two faults first, where they are on two pages. Here the order of the text.
    selector = transaction.read_number(task.descriptor.base + offset + 4, 2)
    pointer = transaction.read_number(task.descriptor.base + offset, 4)
    if is_null(selector):
        raise Fault(TS, int(external))
    address = transaction.locate(selector)
    if address is None or selector & 3 != level:
        raise Fault(TS, selector_error(selector, external))
    descriptor = transaction.descriptor_at(address)
    if descriptor.dpl != level or not descriptor.is_writable:
        raise Fault(TS, selector_error(selector, external))
    if not descriptor.present:
        raise Fault(SS, selector_error(selector, external))
    return Segment(selector, transaction.mark_accessed(address, descriptor)), pointer
