"""Fields: what of an event's fields is compared, and how two values of one differ.

kernel/protocol.toml says so for each.
"""

from __future__ import annotations

from dataclasses import dataclass

from conformance.observe.trace import Event
from conformance.protocol import PROTOCOL, Comparison, Field

__all__ = [
    "FieldDifference",
    "canonical_event",
    "compared_part",
    "differing_fields",
]

_DIGESTS = frozenset({"checksum", "sha256", "registers"})
"""Fields of which it means nothing that one value is higher than another."""


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One field that differs.

    Attributes:
        name: the field's.
        how: `higher` or `lower`, `X instead of Y` for an enumeration, `bits+0x1-0x4` where the
            protocol masks or counts in bits, or `differs`; of the right side.
    """

    name: str
    how: str


def _layout(event: Event) -> tuple[Field, ...]:
    kind = PROTOCOL.events.get(event.kind)
    return (
        tuple(Field(name, "u64") for name in event.fields) if kind is None else kind.layout.fields
    )


def _canonical_value(field: Field, value: int) -> int | None:
    """What of a field's value is compared; None for nothing.

    A symbolic field is compared by its value: all accounts are of one image, in which two
    addresses are the same function and offset exactly if they are equal.
    """
    if field.comparison is Comparison.IGNORED:
        return None
    return value if field.mask is None else value & field.mask


def compared_part(event: Event) -> Event:
    """The event with nothing but what is compared: masked, and without what is ignored."""
    values = {
        field.name: _canonical_value(field, event.fields[field.name])
        for field in _layout(event)
        if field.name in event.fields
    }
    return Event(event.kind, {name: value for name, value in values.items() if value is not None})


def canonical_event(event: Event) -> tuple[object, ...]:
    """A key that two events share exactly if nothing that is compared differs."""
    return event.kind, *(
        _canonical_value(field, event.fields[field.name]) for field in _layout(event)
    )


def _how(field: Field, left: int, right: int) -> str:
    if field.enum is not None:
        names = [field.enum.get(value, "unknown") for value in (right, left)]
        return " instead of ".join(names) if names[0] != names[1] else "differs"
    if field.name in _DIGESTS:
        return "differs"
    if field.as_bits or field.mask is not None:
        added, lost = right & ~left, left & ~right
        return "bits" + (f"+{added:#x}" if added else "") + (f"-{lost:#x}" if lost else "")
    return "higher" if right > left else "lower"


def differing_fields(left: Event, right: Event) -> tuple[FieldDifference, ...]:
    """The fields in which two events of one kind differ; one that either omits does not."""
    found = []
    for field in _layout(left):
        if field.name in left.fields and field.name in right.fields:
            one = _canonical_value(field, left.fields[field.name])
            other = _canonical_value(field, right.fields[field.name])
            if one is not None and other is not None and one != other:
                found.append(FieldDifference(field.name, _how(field, one, other)))
    return tuple(found)
