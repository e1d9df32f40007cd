"""Exceptions and interrupts: what kinds there are, and what two of them make together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = [
    "EXCEPTIONS",
    "Class",
    "Combination",
    "Event",
    "ExternalInterrupt",
    "Fault",
    "Instruction",
    "Kind",
    "ProcessorException",
    "SoftwareInterrupt",
    "class_of",
    "combine",
]

DB, DF, TS, NP, SS, GP, PF, AC = 1, 8, 10, 11, 12, 13, 14, 17


class Kind(Enum):
    """Exception classes (6.5), as the column "Type" of table 6-1 has them."""

    FAULT = "fault"
    TRAP = "trap"
    FAULT_OR_TRAP = "fault or trap"
    ABORT = "abort"
    INTERRUPT = "interrupt"
    RESERVED = "reserved"


class Class(Enum):
    """How an event counts when another arises while it is delivered (table 6-4)."""

    BENIGN = "benign"
    CONTRIBUTORY = "contributory"
    PAGE_FAULT = "page fault"
    DOUBLE_FAULT = "double fault"


@dataclass(frozen=True, slots=True)
class ExceptionType:
    """A row of table 6-1, and the class that table 6-4 gives it.

    Attributes:
        error_code: one is pushed on the handler's stack.
    """

    mnemonic: str
    kind: Kind
    error_code: bool
    severity: Class


def _row(mnemonic: str, kind: Kind, error_code: str, severity: Class) -> ExceptionType:
    return ExceptionType(mnemonic, kind, error_code == "yes", severity)


_RESERVED = _row("reserved", Kind.RESERVED, "no", Class.BENIGN)

# Table 6-1 (mnemonic, type, error code) and table 6-4 (class), by vector. The section on vector 9
# calls it an abort where the table says fault; no processor after the 80386 raises it.
EXCEPTIONS: tuple[ExceptionType, ...] = (
    _row("#DE", Kind.FAULT, "no", Class.CONTRIBUTORY),
    _row("#DB", Kind.FAULT_OR_TRAP, "no", Class.BENIGN),
    _row("NMI", Kind.INTERRUPT, "no", Class.BENIGN),
    _row("#BP", Kind.TRAP, "no", Class.BENIGN),
    _row("#OF", Kind.TRAP, "no", Class.BENIGN),
    _row("#BR", Kind.FAULT, "no", Class.BENIGN),
    _row("#UD", Kind.FAULT, "no", Class.BENIGN),
    _row("#NM", Kind.FAULT, "no", Class.BENIGN),
    _row("#DF", Kind.ABORT, "yes", Class.DOUBLE_FAULT),
    _row("coprocessor segment overrun", Kind.FAULT, "no", Class.BENIGN),
    _row("#TS", Kind.FAULT, "yes", Class.CONTRIBUTORY),
    _row("#NP", Kind.FAULT, "yes", Class.CONTRIBUTORY),
    _row("#SS", Kind.FAULT, "yes", Class.CONTRIBUTORY),
    _row("#GP", Kind.FAULT, "yes", Class.CONTRIBUTORY),
    _row("#PF", Kind.FAULT, "yes", Class.PAGE_FAULT),
    _RESERVED,
    _row("#MF", Kind.FAULT, "no", Class.BENIGN),
    _row("#AC", Kind.FAULT, "yes", Class.BENIGN),
    _row("#MC", Kind.ABORT, "no", Class.BENIGN),
    _row("#XM", Kind.FAULT, "no", Class.BENIGN),
    _row("#VE", Kind.FAULT, "no", Class.PAGE_FAULT),
    _row("#CP", Kind.FAULT, "yes", Class.CONTRIBUTORY),
    *(_RESERVED for _ in range(22, 32)),
)


@dataclass(frozen=True, slots=True)
class ProcessorException:
    """An exception that the processor detects.

    Attributes:
        error_code: for the vectors that have one, None for the others.
        linear: for a page fault, the address that CR2 gets.
        mid_string: a trap between two iterations of a repeated string instruction.
    """

    vector: int
    error_code: int | None = None
    linear: int | None = None
    mid_string: bool = False

    def __post_init__(self) -> None:
        row = EXCEPTIONS[self.vector]
        if row.kind in (Kind.RESERVED, Kind.INTERRUPT):
            raise ValueError(f"vector={self.vector} is no exception: {row.mnemonic}")
        if (self.error_code is not None) != row.error_code:
            raise ValueError(f"{row.mnemonic} error_code={self.error_code}")
        if (self.linear is not None) != (self.vector == PF):
            raise ValueError(f"{row.mnemonic} linear={self.linear}")


class Instruction(Enum):
    """The instructions that interrupt (INT n)."""

    INT = "int n"
    INT3 = "int3"
    INTO = "into"
    INT1 = "int1"


@dataclass(frozen=True, slots=True)
class SoftwareInterrupt:
    """INT n, INT3, INTO or INT1.

    Attributes:
        next_eip: where the handler returns to. The machine's EIP stays at the instruction, for a
            fault that its delivery meets.
    """

    vector: int
    next_eip: int
    instruction: Instruction = Instruction.INT


@dataclass(frozen=True, slots=True)
class ExternalInterrupt:
    """INTR with the vector that the interrupt controller gave, or an NMI (vector 2).

    Attributes:
        mid_string: it comes between two iterations of a repeated string instruction.
    """

    vector: int
    mid_string: bool = False


Event = ProcessorException | SoftwareInterrupt | ExternalInterrupt


class Fault(Exception):
    """A check of the processor failed: a contributory exception, or #AC, with an error code."""

    def __init__(self, vector: int, error_code: int) -> None:
        super().__init__(f"{EXCEPTIONS[vector].mnemonic}({error_code:#x})")
        self.vector = vector
        self.error_code = error_code


def is_checked_for_privilege(event: Event) -> bool:
    """6.12.1.1: a gate's DPL is looked at for INT n, INT3 and INTO only.

    INT1 is left out (INT n: "does not apply to INT1").
    """
    return isinstance(event, SoftwareInterrupt) and event.instruction is not Instruction.INT1


def is_external(event: Event) -> bool:
    """The EXT flag of an error code that arises while the event is delivered (6.13).

    Set for "an interrupt or an earlier exception", clear for "a software interrupt (INT n, INT3,
    or INTO)".
    """
    return not is_checked_for_privilege(event)


def error_code_of(event: Event) -> int | None:
    """What is pushed: interrupts push none, whatever their vector (6.13)."""
    return event.error_code if isinstance(event, ProcessorException) else None


def sets_resume_flag(event: Event) -> bool:
    """Whether the saved EFLAGS have RF set (17.3.1.1).

    Of #DB only instruction breakpoints are faults here, and those are the exception to the rule.
    (DR7.GD's general detect is not modelled.)
    """
    if isinstance(event, SoftwareInterrupt):
        return False
    is_fault = isinstance(event, ProcessorException) and EXCEPTIONS[event.vector].kind is Kind.FAULT
    return is_fault or event.mid_string


class Combination(Enum):
    """What two events make, the second arising while the first is delivered (table 6-5)."""

    SERIAL = "handle exceptions serially"
    DOUBLE_FAULT = "generate a double fault"
    SHUTDOWN = "enter shutdown mode"


def class_of(event: Event) -> Class:
    """Table 6-4: INT n and INTR are benign with every vector."""
    if isinstance(event, ProcessorException):
        return EXCEPTIONS[event.vector].severity
    return Class.BENIGN


def combine(first: Class, second: Class) -> Combination:
    """Table 6-5."""
    match first, second:
        case _, Class.DOUBLE_FAULT:
            raise ValueError("a double fault is made of two events, never detected as the second")
        case (Class.BENIGN, _) | (_, Class.BENIGN):
            return Combination.SERIAL
        case Class.CONTRIBUTORY, Class.CONTRIBUTORY:
            return Combination.DOUBLE_FAULT
        case Class.CONTRIBUTORY, Class.PAGE_FAULT:
            return Combination.SERIAL
        case Class.PAGE_FAULT, Class.CONTRIBUTORY | Class.PAGE_FAULT:
            return Combination.DOUBLE_FAULT
        case _:
            return Combination.SHUTDOWN
