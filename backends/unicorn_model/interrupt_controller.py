"""Two 8259A interrupt controllers, the second behind input 2 of the first.

From Intel's data sheet of the 8259A: edge-triggered, fully nested, 8086 mode. Its other modes are
`NotModelled`: rotating priorities, the special mask and special fully nested modes, polling,
level-triggered inputs, one controller alone.
"""

from __future__ import annotations

from enum import Enum, auto

from backends.unicorn_model.faults import NotModelled

__all__ = ["Controller", "ControllerPair"]

_INPUTS = 8
_CASCADE = 2
_SPURIOUS = 7
# ICW1 and OCW3 are told by these bits, ICW1's others by what they mean.
_ICW1, _OCW3 = 0x10, 0x08
_NEEDS_ICW4, _SINGLE, _LEVEL = 0x01, 0x02, 0x08
# ICW4.
_8086_MODE, _AUTOMATIC_END, _SPECIAL_NESTED = 0x01, 0x02, 0x10
# OCW2: bits 7 to 5 (R, SL, EOI).
_NO_COMMAND, _END, _SPECIFIC_END = 0b010, 0b001, 0b011
# OCW3: ESMM, P, RR with RIS.
_SPECIAL_MASK, _POLL, _READ, _READ_SERVICE = 0x40, 0x04, 0x02, 0x01


class _Expects(Enum):
    """The word that the odd port takes next ("Initialization sequence")."""

    ICW2 = auto()
    ICW3 = auto()
    ICW4 = auto()
    MASK = auto()


class Controller:
    """One 8259A.

    Attributes:
        mask: the interrupt mask register (IMR): a set bit keeps an input from interrupting.
        requests: the interrupt request register (IRR). A masked input is requested all the same.
        in_service: the in-service register (ISR).
    """

    def __init__(self, cascade: int) -> None:
        """Take what ICW3 has to be: the inputs that have a slave, or the slave's own number."""
        self._cascade = cascade
        self._expects = _Expects.ICW2
        self._with_icw4 = False
        self._automatic_end = False
        self._reads_service = False
        self._base: int | None = None
        self.mask = 0
        self.requests = 0
        self.in_service = 0

    def request(self, line: int) -> None:
        """An input goes from low to high.

        Open: one that goes back to low before it is acknowledged. Here it stays requested.
        """
        self.requests |= 1 << line

    @property
    def candidate(self) -> int | None:
        """The input that interrupts now, if any ("Fully nested mode"): of those requested and not
        masked the first, unless one of its or a higher priority is in service.
        """
        if self._base is None or self._expects is not _Expects.MASK:
            return None
        line = _first(self.requests & ~self.mask)
        serviced = _first(self.in_service)
        if line is None or (serviced is not None and serviced <= line):
            return None
        return line

    def acknowledge(self) -> int:
        """The input whose vector is given ("Interrupt sequence"); 7 if none interrupts any more."""
        line = self.candidate
        if line is None:
            return _SPURIOUS
        self.requests &= ~(1 << line)
        if not self._automatic_end:
            self.in_service |= 1 << line
        return line

    def vector(self, line: int) -> int:
        """Of an input: bits 7 to 3 as ICW2 had them."""
        return (self._base or 0) | line

    def read(self, *, odd: bool) -> int:
        """The mask, or the register that OCW3 chose."""
        if odd:
            return self.mask
        return self.in_service if self._reads_service else self.requests

    def write(self, value: int, *, odd: bool) -> None:
        """Take a command word.

        Raises:
            NotModelled: it asks for a mode that is not modelled.
        """
        if odd:
            self._take_in_turn(value)
        elif value & _ICW1:
            self._begin(value)
        elif self._expects is not _Expects.MASK:
            raise NotModelled(f"8259A: command {value:#x} before its initialization is over")
        elif value & _OCW3:
            if value & (_SPECIAL_MASK | _POLL):
                raise NotModelled(f"8259A: OCW3 {value:#x}: special mask mode or polling")
            if value & _READ:
                self._reads_service = bool(value & _READ_SERVICE)
        else:
            self._end(value)

    def _begin(self, value: int) -> None:
        """ICW1: "the following automatically occur"."""
        if value & (_SINGLE | _LEVEL):
            raise NotModelled(f"8259A: ICW1 {value:#x}: a single or level-triggered one")
        self._expects = _Expects.ICW2
        self._with_icw4 = bool(value & _NEEDS_ICW4)
        self._automatic_end = False
        self._reads_service = False
        self.mask = self.requests = self.in_service = 0

    def _take_in_turn(self, value: int) -> None:
        match self._expects:
            case _Expects.ICW2:
                self._base = value & 0xF8
                self._expects = _Expects.ICW3
            case _Expects.ICW3:
                if value != self._cascade:
                    raise NotModelled(f"8259A: ICW3 {value:#x}: another cascade")
                if not self._with_icw4:
                    raise NotModelled("8259A: no ICW4: MCS-80 mode")
                self._expects = _Expects.ICW4
            case _Expects.ICW4:
                if not value & _8086_MODE or value & _SPECIAL_NESTED:
                    raise NotModelled(f"8259A: ICW4 {value:#x}: MCS-80 or special nested mode")
                self._automatic_end = bool(value & _AUTOMATIC_END)
                self._expects = _Expects.MASK
            case _Expects.MASK:
                self.mask = value & 0xFF

    def _end(self, value: int) -> None:
        """OCW2: the end of an interrupt."""
        command = value >> 5
        if command == _END:
            self.in_service &= self.in_service - 1  # the highest priority is the lowest bit
        elif command == _SPECIFIC_END:
            self.in_service &= ~(1 << (value & 7))
        elif command != _NO_COMMAND:
            raise NotModelled(f"8259A: OCW2 {value:#x}: rotating priorities")


class ControllerPair:
    """Both, at their ports: inputs 0 to 7 are the first's, 8 to 15 the second's."""

    PORTS = (0x20, 0x21, 0xA0, 0xA1)

    def __init__(self) -> None:
        self._first = Controller(cascade=1 << _CASCADE)
        self._second = Controller(cascade=_CASCADE)

    def read(self, port: int, size: int) -> int:
        """`in` of a byte."""
        self._require_byte(port, size)
        return self._at(port).read(odd=bool(port & 1))

    def write(self, port: int, size: int, value: int) -> None:
        """`out` of a byte."""
        self._require_byte(port, size)
        self._at(port).write(value, odd=bool(port & 1))
        self._cascade()

    def request(self, line: int) -> None:
        """An input goes from low to high."""
        if line < _INPUTS:
            self._first.request(line)
        else:
            self._second.request(line - _INPUTS)
            self._cascade()

    def can_interrupt(self, line: int) -> bool:
        """Whether an input is not masked."""
        if line < _INPUTS:
            return not self._first.mask >> line & 1
        return self.can_interrupt(_CASCADE) and not self._second.mask >> line - _INPUTS & 1

    @property
    def pending(self) -> bool:
        """Whether the processor is asked to take an interrupt."""
        return self._first.candidate is not None

    def acknowledge(self) -> int:
        """The processor takes it: its vector."""
        line = self._first.acknowledge()
        if line != _CASCADE:
            return self._first.vector(line)
        vector = self._second.vector(self._second.acknowledge())
        self._cascade()
        return vector

    def _cascade(self) -> None:
        """The second's interrupt output is an input of the first."""
        if self._second.candidate is not None:
            self._first.request(_CASCADE)

    def _at(self, port: int) -> Controller:
        return self._first if port < self.PORTS[2] else self._second

    @staticmethod
    def _require_byte(port: int, size: int) -> None:
        if size != 1:
            raise NotModelled(f"port {port:#x}: {size} bytes of an 8259A")


def _first(lines: int) -> int | None:
    """The highest priority: the lowest number."""
    return (lines & -lines).bit_length() - 1 if lines else None
