"""The machine's own record of a run against the kernel's: the faults, and the control registers.

Left out: with the schedule `stepped` every debug exception, in both records. The kernel counts
those of computations and does not list them, and an engine may not say which those are.
"""

from __future__ import annotations

import itertools

from conformance.case.case import Case
from conformance.judge.compare import UNTRACED, Account, Compared, Difference, How
from conformance.judge.fields import differing_fields
from conformance.observe.observation import MachineFault, Outcome
from conformance.observe.trace import UNDECODABLE, Event
from conformance.protocol import PROTOCOL

__all__ = ["compare_control", "compare_faults", "has_control", "has_faults"]

_FAULT = "fault"
_CONTROL = "control"
_DEBUG = PROTOCOL.code("exception", "debug")


def has_faults(account: Account) -> bool:
    """The engine kept a record of the faults, and the trace is whole enough to hold against it."""
    return account.faults is not None and account.outcome not in UNTRACED


def has_control(account: Account) -> bool:
    """The control registers were read from outside."""
    return account.control is not None and account.outcome not in UNTRACED


def compare_faults(account: Account, case: Case | None = None) -> Difference | None:
    """The first fault that the kernel recorded in another way than the machine.

    Left is what the machine recorded, right what the kernel did. What the engine does not say is
    not compared.

    Args:
        account: a backend's.
        case: what was run, if something is to be left out for it.
    """
    if account.faults is None or not has_faults(account):
        return None
    stepped = case is not None and case.program.schedule == "stepped"
    claims = [
        (at, event)
        for at, event in enumerate(account.events)
        if event.kind == _FAULT and not (stepped and event.fields["vector"] == _DEBUG)
    ]
    faults = [fault for fault in account.faults if not (stepped and fault.vector == _DEBUG)]
    for claim, fault in itertools.zip_longest(claims, faults):
        if claim is None:
            if _cut_short(account):
                return None
            return _difference(account, How.MISSING, None, _fault_event(fault), None)
        index, event = claim
        if fault is None:
            return _difference(account, How.EXTRA, index, None, event)
        recorded = _fault_event(fault)
        if differing_fields(recorded, event):
            return _difference(account, How.FIELDS, index, recorded, event)
    return None


def _cut_short(account: Account) -> bool:
    """The last faults may have had no handler that ran, or no room in the trace."""
    last = account.events[-1] if account.events else None
    full = PROTOCOL.code("panic_reason", "trace_full")
    return (
        account.outcome is Outcome.TRIPLE_FAULT
        or last is None
        or last.kind == UNDECODABLE
        or (last.kind == "panic" and last.fields["reason"] == full)
    )


def _fault_event(fault: MachineFault) -> Event:
    """The event that the kernel should have recorded, as far as the engine knows it."""
    page_fault = fault.vector == PROTOCOL.code("exception", "page_fault")
    known = {
        "vector": fault.vector,
        "error_code": fault.error_code,
        "cr2": fault.cr2 if page_fault else None,
        "eip": fault.eip,
    }
    return Event(_FAULT, {name: value for name, value in known.items() if value is not None})


def compare_control(account: Account, _: Case | None = None) -> Difference | None:
    """The control registers, where the kernel recorded others than the machine has."""
    registers = account.control
    if registers is None or not has_control(account):
        return None
    known = {
        "cr0": registers.cr0,
        "cr2": registers.cr2,
        "cr3": registers.cr3,
        "cr4": registers.cr4,
        "efer": registers.efer,
    }
    recorded = Event(_CONTROL, {name: each for name, each in known.items() if each is not None})
    for index, event in enumerate(account.events):
        if event.kind == _CONTROL and differing_fields(recorded, event):
            return _difference(account, How.FIELDS, index, recorded, event)
    return None


def _difference(
    account: Account, how: How, index: int | None, machine: Event | None, kernel: Event | None
) -> Difference:
    fields = differing_fields(machine, kernel) if machine and kernel else ()
    return Difference(
        Compared.MACHINE_RECORD,
        how,
        index,
        machine,
        kernel,
        fields,
        (account.outcome, account.outcome),
        (account.name, account.name),
    )
