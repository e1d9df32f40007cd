"""Instruction pointers as people read them: the function, or the probe, and an offset."""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping

from conformance.observe.trace import Event
from conformance.protocol import PROTOCOL, Comparison

__all__ = ["Symbols"]

_USER_CODE = "user_code_start"
_PLACE = "fault_at_"


class Symbols:
    """The symbols of a kernel image.

    Args:
        symbols: names and virtual addresses; none where the image is not known.
    """

    def __init__(self, symbols: Mapping[str, int] | None = None) -> None:
        named = {} if symbols is None else symbols
        size = PROTOCOL.boot["kernel_window_size"]
        start = named.get("kernel_image_start", PROTOCOL.boot["kernel_window"])
        window = start - start % size
        # Of several at one address, the place of a fault says the most.
        ordered = sorted(
            (address, not name.startswith(_PLACE), name)
            for name, address in named.items()
            if window <= address < window + size
        )
        self._names: dict[int, str] = {}
        for address, _, name in ordered:
            self._names.setdefault(address, name)
        self._addresses = sorted(self._names)
        self._end = named.get("kernel_image_end", window + size)
        self._user_code = named.get(_USER_CODE)
        self._user_area = next(
            (
                values.area["user"]
                for values in PROTOCOL.images.values()
                if values.boot["kernel_window"] == window
            ),
            PROTOCOL.area["user"],
        )

    def name(self, address: int) -> str:
        """`function+0x12`; empty for an address outside the image and its user-mode code."""
        user = self._user_area
        inside = address
        if (
            self._user_code is not None
            and user <= address < user + PROTOCOL.constants["frame_size"]
        ):
            inside = address - user + self._user_code
        at = bisect.bisect_right(self._addresses, inside) - 1
        if at < 0 or inside >= self._end:
            return ""
        offset = inside - self._addresses[at]
        name = _readable(self._names[self._addresses[at]])
        return f"{name}+{offset:#x}" if offset else name

    def show(self, event: Event, field: str) -> str:
        """A field's value, with the symbol where it is an instruction pointer."""
        text = event.show(field)
        kind = PROTOCOL.events.get(event.kind)
        for each in () if kind is None else kind.layout.fields:
            if each.name == field and each.comparison is Comparison.SYMBOLIC:
                name = self.name(event.fields[field])
                return f"{name} ({text})" if name else text
        return text

    def line(self, event: Event) -> str:
        """An event on one line."""
        fields = (f"{name}={self.show(event, name)}" for name in event.fields)
        return " ".join([event.kind, *fields])


def _readable(symbol: str) -> str:
    """A C++ name without its mangling, as far as it is a plain nested one."""
    if not symbol.startswith("_ZN"):
        return symbol
    rest = symbol[3:].lstrip("K")
    parts = []
    while match := re.match(r"\d+", rest):
        size = int(match[0])
        rest = rest[match.end() :]
        if size > len(rest):
            return symbol
        parts.append("(anonymous)" if rest.startswith("_GLOBAL__N_") else rest[:size])
        rest = rest[size:]
    return "::".join(parts) or symbol
