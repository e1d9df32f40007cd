"""Signatures: the name of a root cause, the same for each of its instances."""

from __future__ import annotations

from conformance.case.case import Case
from conformance.judge.compare import UNTRACED, Compared, Difference, How
from conformance.observe.trace import Event
from conformance.protocol import PROTOCOL

__all__ = ["signature"]

_MEMORY = {Compared.STATE: "memory", Compared.KERNEL_TRACE: "kernel trace"}


def signature(culprit: str, difference: Difference, case: Case) -> str:
    """The root cause: culprit, event, fields, how, operation, paging mode.

    Printable ASCII; never an address, a frame number or a count.
    """
    words = [f"{culprit}: {_what(difference)}"]
    if operation := _operation(difference, case):
        words.append(f"after {operation}")
    words.append(f"({case.machine.paging})")
    return " ".join(words).encode("unicode_escape").decode("ascii")


def _what(difference: Difference) -> str:
    left, right = difference.left, difference.right
    if difference.compared is Compared.OUTCOME:
        expected, outcome = difference.outcomes
        # Outcomes of their own class are one cause, whatever should have been.
        return f"outcome:{outcome}" + ("" if outcome in UNTRACED else f" instead of {expected}")
    if left is None or right is None:
        present = right if left is None else left
        assert present is not None
        words = f"{_about(present, difference.compared)} {difference.how}"
        expected, outcome = difference.outcomes
        return words if expected is outcome else f"{words}: {outcome}"
    here, there = _about(left, difference.compared), _about(right, difference.compared)
    if difference.how is How.KIND or here != there:
        return f"{there} instead of {here}"
    return f"{here}." + ", ".join(f"{field.name} {field.how}" for field in difference.fields)


def _about(event: Event, compared: Compared) -> str:
    """The event's kind and, in brackets, the names of its key fields' values."""
    kind = PROTOCOL.events.get(event.kind)
    layout = () if kind is None else kind.layout.fields
    keys = [
        # A value without a name would be an instance's number.
        "unknown" if field.enum is None else field.enum.get(event.fields[field.name], "unknown")
        for field in layout
        if field.key and field.name in event.fields
    ]
    return _MEMORY.get(compared, event.kind) + (f"[{', '.join(keys)}]" if keys else "")


def _operation(difference: Difference, case: Case) -> str:
    for event in (difference.left, difference.right):
        if event is not None:
            number = event.fields.get("operation")
            if number is not None and number < len(case.program.operations):
                return case.program.operations[number].name
    return ""
