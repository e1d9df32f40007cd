"""Task switches by a task gate and by IRET (6.12.2, 7.2 to 7.4; INT n, IRET)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from backends.unicorn_model.delivery.descriptors import (
    AVAILABLE_TSS,
    AVAILABLE_TSS_16,
    BUSY_TSS,
    BUSY_TSS_16,
    Descriptor,
    is_local,
    is_null,
    selector_error,
    within_limit,
)
from backends.unicorn_model.delivery.flags import NT, VM, from_task, saved_eflags
from backends.unicorn_model.delivery.gates import return_address
from backends.unicorn_model.delivery.machine import (
    GENERAL,
    SEGMENTS,
    Machine,
    NotModelled,
    Segment,
)
from backends.unicorn_model.delivery.task_segments import qualify
from backends.unicorn_model.delivery.transaction import Stack, Transaction
from backends.unicorn_model.delivery.vectors import (
    GP,
    NP,
    SS,
    TS,
    Event,
    Fault,
    error_code_of,
    is_external,
)

__all__ = ["enter_task", "return_to_task"]

# Figure 7-2: the fields of a 32-bit TSS.
_LINK, _CR3, _EIP, _EFLAGS, _GENERAL, _SEGMENTS, _LDT, _TRAP = 0, 28, 32, 36, 40, 72, 96, 100
_SIZE = 104
_SAVED = range(_EIP, _LDT)  # 7.3, step 8: all of the dynamic fields but the link
_BUSY = 0b00010
_CR0_TS = 1 << 3


@dataclass(frozen=True, slots=True)
class _NewTask:
    """A TSS to switch to: its selector, where its descriptor is, and the descriptor."""

    selector: int
    address: int
    descriptor: Descriptor


def enter_task(machine: Machine, event: Event, selector: int) -> None:
    """INT n, TASK-GATE: a nested task handles the event."""
    transaction = Transaction(machine)
    before, external = transaction.registers, is_external(event)
    if is_null(selector):
        raise Fault(GP, int(external))
    error = selector_error(selector, external)
    address = None if is_local(selector) else transaction.locate(selector)
    if address is None:
        raise Fault(GP, error)
    descriptor = transaction.descriptor_at(address)
    # Open: table 6-6 has #TS where INT n and table 7-1 have #GP. Here #GP.
    if descriptor.kind not in (AVAILABLE_TSS, AVAILABLE_TSS_16):
        raise Fault(GP, error)
    if not descriptor.present:
        raise Fault(NP, error)
    task = _NewTask(selector, address, descriptor)
    _save(
        transaction,
        task,
        eip=return_address(event, before),
        eflags=saved_eflags(event, before.eflags),
        external=external,
    )
    # 7.4, table 7-2: the link to the old task, NT in the new one; the old one stays busy.
    transaction.write(descriptor.base + _LINK, before.tr.selector, 2)
    transaction.write(address + 5, _access_byte(transaction, address) | _BUSY, 1)
    _load(transaction, task)
    transaction.change(eflags=transaction.registers.eflags | NT)
    transaction.commit()
    qualify(machine, external)
    _start(machine, error_code_of(event), external)


def return_to_task(machine: Machine, next_eip: int) -> None:
    """IRET, TASK-RETURN: the task that the current one is nested in goes on."""
    transaction = Transaction(machine)
    before = transaction.registers
    current = _current_task(transaction)
    if current.limit < _LINK + 1:
        # Table 6-6: "an attempt to load the backlink limit faults".
        raise Fault(TS, selector_error(before.tr.selector, external=False))
    selector = transaction.read_number(current.base + _LINK, 2)
    error = selector_error(selector, external=False)
    address = None
    if not is_null(selector) and not is_local(selector):
        address = transaction.locate(selector)
    if address is None:
        raise Fault(TS, error)
    descriptor = transaction.descriptor_at(address)
    if descriptor.kind not in (BUSY_TSS, BUSY_TSS_16):
        raise Fault(TS, error)
    if not descriptor.present:
        raise Fault(NP, error)
    task = _NewTask(selector, address, descriptor)
    # Table 7-2: NT is cleared in the old task's image, and the old task is no longer busy.
    _save(transaction, task, eip=next_eip, eflags=before.eflags & ~NT, external=False)
    own = transaction.locate(before.tr.selector)
    if own is None:
        raise Fault(TS, selector_error(before.tr.selector, external=False))
    transaction.write(own + 5, _access_byte(transaction, own) & ~_BUSY, 1)
    _load(transaction, task)
    transaction.commit()
    qualify(machine, external=False)
    _start(machine, None, external=False)


def _current_task(transaction: Transaction) -> Descriptor:
    descriptor = transaction.registers.tr.descriptor
    if descriptor is None or not descriptor.kind & 0b01000:
        raise NotModelled(f"TR={transaction.registers.tr.selector:#x}: no 32-bit TSS to leave")
    return descriptor


def _access_byte(transaction: Transaction, address: int) -> int:
    return transaction.read_number(address + 5, 1)


def _save(
    transaction: Transaction, task: _NewTask, *, eip: int, eflags: int, external: bool
) -> None:
    """7.3, steps 3 to 5 and 8: what can still fail in the old task's context, then its state."""
    current = _current_task(transaction)
    if task.descriptor.kind in (AVAILABLE_TSS_16, BUSY_TSS_16):
        raise NotModelled(f"TSS={task.selector:#x}: a 16-bit task")
    if task.descriptor.limit < _SIZE - 1:
        raise Fault(TS, selector_error(task.selector, external))
    if current.limit < _SAVED.stop - 1:
        # Table 6-6: "stores to the old TSS encounter a fault condition".
        raise Fault(TS, selector_error(transaction.registers.tr.selector, external))
    transaction.read(task.descriptor.base, _SIZE)  # step 5: it has to be there
    registers = transaction.registers
    transaction.write(current.base + _EIP, eip, 4)
    transaction.write(current.base + _EFLAGS, eflags, 4)
    for index, name in enumerate(GENERAL):
        transaction.write(current.base + _GENERAL + 4 * index, getattr(registers, name), 4)
    for index, name in enumerate(SEGMENTS):
        # Open: the upper halves of these fields are reserved. Here they keep what they hold.
        selector = getattr(registers, name).selector
        transaction.write(current.base + _SEGMENTS + 4 * index, selector, 2)


def _load(transaction: Transaction, task: _NewTask) -> None:
    """7.3, steps 11 and 12: TR and the state, the segment registers without their descriptors.

    Open: "a fault during the load of this state may corrupt architectural state, but an attempt
    will be made to handle the error in the prior execution environment". Here nothing is corrupted.
    Open: whether CR3 is loaded while paging is off. Here it is, since no condition is named.
    """
    image = transaction.read(task.descriptor.base, _SIZE)
    cr3, eip, eflags, *general = struct.unpack_from("<11I", image, _CR3)
    selectors = [number & 0xFFFF for number in struct.unpack_from("<7I", image, _SEGMENTS)]
    (trap,) = struct.unpack_from("<H", image, _TRAP)
    if trap & 1:
        raise NotModelled(f"TSS={task.selector:#x}: its T flag is set (7.2.1)")
    if eflags & VM:
        raise NotModelled(f"TSS={task.selector:#x}: a virtual-8086 task")
    transaction.check_cr3(cr3)
    transaction.change(
        tr=Segment(task.selector, replace(task.descriptor, kind=BUSY_TSS)),
        # 7.3: "the TS flag is set every time a task switch occurs".
        cr0=transaction.registers.cr0 | _CR0_TS,
        cr3=cr3,
        eip=eip,
        eflags=from_task(eflags),
        ldtr=Segment(selectors.pop(), None),
        **dict(zip(GENERAL, general, strict=True)),
        **{
            name: Segment(selector, None)
            for name, selector in zip(SEGMENTS, selectors, strict=True)
        },
    )


def _start(machine: Machine, error_code: int | None, external: bool) -> None:
    """INT n, TASK-GATE, after SWITCH-TASKS: the error code, and a look at EIP.

    Open: whether the error code stays pushed when EIP is beyond the limit. Here it does not.
    """
    transaction = Transaction(machine)
    registers = transaction.registers
    if error_code is not None:
        overflow = Fault(SS, int(external))
        stack = Stack(
            transaction,
            registers.ss,
            registers.esp,
            registers.cpl,
            overflow,
            external=external,
        )
        stack.push(error_code)
        transaction.change(esp=stack.pointer)
    code = registers.cs.descriptor
    assert code is not None
    if not within_limit(code, registers.eip, 1):
        raise Fault(GP, int(external))
    transaction.commit()
