"""What all operations share: their operands, checked against kernel/protocol.toml.

An operand is written in the dataclass as what a reader thinks in: a number, true or false, a name
of one of the protocol's enumerations, or a set of rights. On the wire all of them are numbers.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag
from typing import Any, ClassVar, get_type_hints

from conformance.errors import InvalidArgument
from conformance.protocol import PROTOCOL, Field

__all__ = ["Operation", "Rights", "choose", "operand_text", "operand_type", "rights_names"]

_RIGHTS = PROTOCOL.flags["rights"]


class Rights(IntFlag):
    """What a mapping allows, and how large its page is: `Rights(0)` is read-only, for ring 0."""

    WRITABLE = _RIGHTS["writable"]
    USER = _RIGHTS["user"]
    NO_EXECUTE = _RIGHTS["no_execute"]
    LARGE_PAGE = _RIGHTS["large_page"]
    HUGE_PAGE = _RIGHTS["huge_page"]


def rights_names(rights: int) -> list[str]:
    """The protocol's names of the rights, in the order of their bits."""
    return [name for name, bit in _RIGHTS.items() if rights & bit]


def choose(value: object, known: tuple[str, ...]) -> str:
    """The value, if it is one of the known names.

    Raises:
        InvalidArgument: it is not; the message lists them, the closest one last.
    """
    if isinstance(value, str) and value in known:
        return value
    close = difflib.get_close_matches(value[:80], known, 1) if isinstance(value, str) else []
    guess = f"; did you mean {close[0]!r}?" if close else ""
    raise InvalidArgument(f"known: {', '.join(known)}{guess}")


_HELD_AS: dict[str, dict[str, Any]] = {}


def operand_type(kind: type[Operation], name: str) -> Any:
    """How an operand is held: int, bool, str (a name of an enumeration) or Rights."""
    if kind.name not in _HELD_AS:
        _HELD_AS[kind.name] = get_type_hints(kind)
    return _HELD_AS[kind.name][name]


@dataclass(frozen=True, slots=True)
class Operation:
    """Base of the operations. `name` is the protocol's.

    Raises:
        InvalidArgument: an operand does not fit its field.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for field in PROTOCOL.operations[self.name].operands.fields:
            value = getattr(self, field.name)
            kind = operand_type(type(self), field.name)
            if field.enum is not None:
                self._check_name(field, field.enum, value)
            elif kind is bool:
                if not isinstance(value, bool):
                    raise InvalidArgument(
                        f"{self.name}: {field.name} must be True or False, got {value!r}"
                    )
            elif kind is Rights:
                # Plain numbers may come: the field holds what it says it holds all the same.
                object.__setattr__(self, field.name, self._rights(field, value))
            else:
                self._check_number(field, value)

    def _check_name(self, field: Field, enum: Mapping[int, str], value: Any) -> None:
        try:
            choose(value, tuple(enum.values()))
        except InvalidArgument as error:
            raise InvalidArgument(f"{self.name}: no {field.name} {value!r}; {error}") from None

    def _rights(self, field: Field, value: Any) -> Rights:
        self._check_number(field, value)
        unknown = value & ~sum(_RIGHTS.values())
        if unknown:
            raise InvalidArgument(
                f"{self.name}: {field.name}={value:#x} has bits {unknown:#x}, which mean nothing; "
                f"known: {', '.join(_RIGHTS)}"
            )
        return Rights(value)

    def _check_number(self, field: Field, value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidArgument(f"{self.name}: {field.name} must be an integer, got {value!r}")
        if not 0 <= value < 1 << field.bits:
            raise InvalidArgument(
                f"{self.name}: {field.name}={value:#x} does not fit in {field.bits} bits"
            )

    def operands(self) -> dict[str, int]:
        """The operands by name, as the numbers that go on the wire."""
        return {
            field.name: _code(field, getattr(self, field.name))
            for field in PROTOCOL.operations[self.name].operands.fields
        }

    def __str__(self) -> str:
        words = [
            f"{field.name}={operand_text(getattr(self, field.name))}"
            for field in PROTOCOL.operations[self.name].operands.fields
        ]
        return " ".join([self.name, *words])


def _code(field: Field, value: Any) -> int:
    if field.enum is None:
        return int(value)
    return next(code for code, name in field.enum.items() if name == value)


def operand_text(value: int | str) -> str:
    """An operand as people read it; large numbers are addresses or bits, and hexadecimal."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Rights):
        return "+".join(rights_names(value)) or "none"
    return hex(value) if value > 0xFFFF else str(value)
