"""Signatures: the name of a root cause, the same for each of its instances."""

from __future__ import annotations

from conformance.case.case import Case
from conformance.judge.compare import UNTRACED, Compared, Difference, How
from conformance.observe.trace import Event
from conformance.oracle.expectation import Expectation
from conformance.protocol import PROTOCOL

__all__ = ["backend_cause", "signature"]

_PREFIXES = {
    Compared.STATE: "memory",
    Compared.KERNEL_TRACE: "kernel trace",
}

_FAULT = "fault"
_ATTEMPTED = "attempted"
_STEPPED = "stepped"
_COMPUTED = "computed"
_NOT_ALIKE = "fault or none"


def signature(
    culprit: str, difference: Difference, case: Case, expectation: Expectation | None = None
) -> str:
    """The root cause: culprit, event, fields, how, operation, paging mode.

    Printable ASCII; never an address, a frame number or a count.

    Args:
        culprit: who is to blame.
        difference: from what the oracle expects, or from somebody else.
        case: what was run.
        expectation: if the kernel may be the culprit: what it promises is named, in place of the
            operation.
    """
    rule = None
    if expectation is not None and difference.index is not None:
        rule = expectation.rules.get(difference.index)
    if rule is not None and rule.promise:
        return _ascii(f"{culprit}: {_broken(difference)}: {rule.promise} ({case.machine.paging})")
    words = [f"{culprit}: {_what(difference)}"]
    if operation := _operation(difference, case):
        words.append(f"after {operation}")
    words.append(f"({case.machine.paging})")
    return _ascii(" ".join(words))


def backend_cause(
    difference: Difference, case: Case, expectation: Expectation | None, shown: int = 0
) -> str:
    """The words after the culprit where that is a backend.

    An engine breaks a rule of the manual wherever the rule applies: one cause, whatever the
    operation, the ring and the paging mode. Without a rule, these tell causes apart.

    Args:
        difference: from what the oracle expects, or from who agrees with it.
        case: what was run.
        expectation: the oracle's, with the rules; None without one.
        shown: how many events the backend showed: where its run was cut short, the rule of the one
            that should have come next.
    """
    rules = {} if expectation is None else expectation.rules
    index = difference.index
    if difference.compared is Compared.OUTCOME and difference.outcomes[1] in UNTRACED:
        index = shown
    rule = None if index is None else rules.get(index)
    if rule is None:
        return signature("", difference, case).removeprefix(": ")
    if rule.sweeping and _is_swept(difference):
        return _ascii(rule.name)
    return _ascii(f"{_broken(difference)}: {rule.name}")


def _is_swept(difference: Difference) -> bool:
    """Is it of an attempt, or of how many single steps were counted?"""
    kinds = {event.kind for event in (difference.left, difference.right) if event is not None}
    swept = kinds <= {_FAULT, _ATTEMPTED} or kinds <= {_STEPPED, _COMPUTED}
    whole = difference.left is not None and difference.right is not None
    return difference.compared is Compared.TRACE and whole and swept


def _ascii(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")


def _broken(difference: Difference) -> str:
    """What differs where a rule decides it; the rule's name says the rest."""
    left, right = difference.left, difference.right
    if left is None or right is None:
        return _what(difference)  # a run cut short, too
    kinds = {left.kind, right.kind}
    if kinds == {_FAULT, _ATTEMPTED}:
        return _NOT_ALIKE
    if difference.how is not How.FIELDS:
        return _what(difference)
    if kinds == {_ATTEMPTED}:
        return "attempted.value"  # its outcome says no more: the fault itself would differ
    fields = [
        f"{field.name} {field.how}" if field.how.startswith("bits") else field.name
        for field in difference.fields
    ]
    if kinds != {_FAULT}:
        return f"{_about(left, difference.compared)}.{', '.join(fields)}"
    if "vector" in fields:
        # Translation is the last check of an access: where it decides on one side only, the other
        # side's check was passed there.
        vectors = [event.fields["vector"] for event in (left, right)]
        passed = PROTOCOL.code("exception", "page_fault") in vectors
        return _NOT_ALIKE if passed else _what(difference)
    # The other fields of a wrong fault follow from the first.
    return f"{_named(left.kind, difference.compared)}.{fields[0]}"


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
    return _named(event.kind, compared) + (f"[{', '.join(keys)}]" if keys else "")


def _named(kind: str, compared: Compared) -> str:
    if compared is Compared.MACHINE_RECORD:
        return f"record of {kind}"
    return _PREFIXES.get(compared, kind)


def _operation(difference: Difference, case: Case) -> str:
    for event in (difference.left, difference.right):
        if event is not None:
            number = event.fields.get("operation")
            if number is not None and number < len(case.program.operations):
                return case.program.operations[number].name
    return ""
