"""The exceptions of the modelled processor that paging raises."""

from __future__ import annotations

__all__ = ["GeneralProtection", "NonCanonical", "NotModelled", "PageFault"]


class PageFault(Exception):
    """The access causes #PF (SDM vol. 3, 4.7).

    Attributes:
        linear: the address that CR2 gets (4.7; 6.15, interrupt 14).
        error_code: as in 4.7.
        left_open: physical addresses of the entries whose accessed flag the manual leaves open
            after this fault (see `mmu.AccessedOnFault`), from the top level down. Every other
            bit of the paging structures is as it was.
    """

    def __init__(self, linear: int, error_code: int, left_open: tuple[int, ...] = ()) -> None:
        super().__init__(f"page fault at {linear:#x}, error code {error_code:#x}")
        self.linear = linear
        self.error_code = error_code
        self.left_open = left_open


class GeneralProtection(Exception):
    """The instruction causes #GP; nothing it was to load is loaded."""

    def __init__(self, error_code: int) -> None:
        super().__init__(f"general protection, error code {error_code:#x}")
        self.error_code = error_code


class NonCanonical(Exception):
    """The address of an access is not canonical: #GP or #SS, as its segment says.

    Attributes:
        linear: the address, of 64 bits.
    """

    def __init__(self, linear: int) -> None:
        super().__init__(f"{linear:#x} is not canonical")
        self.linear = linear


class NotModelled(Exception):
    """The guest chose something that this model does not have."""
