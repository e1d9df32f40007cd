"""Where guest RAM is in linear memory, by page tables that a guest may have bent."""

from __future__ import annotations

import struct

import pytest

from backends.bochs_memory import Translation, control_registers
from conformance.observe.observation import ControlRegisters
from conformance.protocol import PROTOCOL

WINDOW = PROTOCOL.boot["kernel_window"]
PAE, PG = 0x20, 0x80000001
TABLES = 0x10000

CREG = b"""\
CR0=0xe0010011: PG CD NW ac WP ne ET ts em mp PE\r
CR2=page fault laddr=0x00000000d0000ffc\r
CR3=0x0000001a3000\r
    PCD=page-level cache disable=0\r
CR4=0x00000020: pks cet pke smap smep keylock osxsave pcid fsgsbase smx vmx la57 umip PAE\r
CR8: 0x0\r
EFER=0x00000800: ffxsr NXE lma lme sce\r
XCR0=0x00000001: cet_s cet_u pkru hi_zmm zmm_hi256 opmask bndcfg bndregs ymm sse FPU\r
"""


class Tables:
    """The window's page tables, straight; the directory entries are in `directory`."""

    def __init__(self, *, pae: bool) -> None:
        self.size, self.per_table = (8, 512) if pae else (4, 1024)
        self.directory: dict[int, int] = {}
        self.memory: dict[int, int] = {}
        self.control = ControlRegisters(PG, 0, 0x9000, PAE if pae else 0)
        for page in range(4096):
            table = TABLES + page // self.per_table * 0x1000
            self.directory[page // self.per_table] = table | 0x63
            self.set(page, page << 12 | 0x63)

    def set(self, page: int, entry: int) -> None:
        table = TABLES + page // self.per_table * 0x1000
        self.memory[table + page % self.per_table * self.size] = entry

    def page(self, linear: int) -> bytes:
        entry = self.directory[(linear - WINDOW) // (self.per_table << 12)]
        return f" PDPE: 0x{0x9001:016x}\r\n PDE: 0x{entry:016x}    ps\r\n".encode()

    def examine(self, address: int, words: int) -> bytes:
        code = "<Q" if self.size == 8 else "<I"
        count = words * 4 // self.size
        entries = (self.memory[address + index * self.size] for index in range(count))
        return b"".join(struct.pack(code, entry) for entry in entries)

    def linear(self, address: int, size: int) -> int | None:
        return Translation(WINDOW, self.control, self.page, self.examine).linear(address, size)


@pytest.fixture(params=[False, True], ids=["32-bit", "pae"])
def tables(request: pytest.FixtureRequest) -> Tables:
    return Tables(pae=request.param)


@pytest.mark.parametrize(
    ("address", "size"),
    [(0x123000, 0x1000), (0x1FF800, 0x1000), (0x3FFFFF, 2), (0x1FFFFC, 4), (0, 16 << 20)],
)
def test_the_kernels_own_tables(tables: Tables, address: int, size: int) -> None:
    assert tables.linear(address, size) == WINDOW + address


@pytest.mark.parametrize("entry", [0x124063, 0x123062, 0x100123063], ids=hex)
def test_one_page_is_elsewhere(tables: Tables, entry: int) -> None:
    if entry >> 32 and tables.size == 4:
        entry = 0
    tables.set(0x123, entry)
    assert tables.linear(0x123FFF, 1) is None
    assert tables.linear(0x122000, 0x1001) is None
    assert tables.linear(0x122000, 0x1000) == WINDOW + 0x122000
    assert tables.linear(0x124000, 0x100000) == WINDOW + 0x124000


def test_flags_do_not_matter(tables: Tables) -> None:
    tables.set(0x123, 0x123001 | (1 << 63 if tables.size == 8 else 0))
    assert tables.linear(0x123000, 4) == WINDOW + 0x123000


@pytest.mark.parametrize("entry", [0, TABLES | 0x62, 0x000000E3], ids=["empty", "absent", "large"])
def test_a_table_is_gone(tables: Tables, entry: int) -> None:
    tables.directory[1] = entry
    first = tables.per_table << 12
    assert tables.linear(first, 4) is None
    assert tables.linear(first - 4, 8) is None
    assert tables.linear(first - 4, 4) == WINDOW + first - 4


def test_the_debugger_knows_no_directory_entry(tables: Tables) -> None:
    tables.page = lambda linear: b"physical address not available\r\n"  # type: ignore[method-assign]
    assert tables.linear(0x123000, 4) is None


def test_without_paging(tables: Tables) -> None:
    tables.control = ControlRegisters(1, 0, 0, 0)
    assert tables.linear(0x123000, 4) == 0x123000


def test_registers() -> None:
    wanted = ControlRegisters(0xE0010011, 0xD0000FFC, 0x1A3000, 0x20, 0x800)
    assert control_registers(CREG) == wanted
    without = control_registers(CREG.replace(b"EFER", b"LEFT"))
    assert (without.efer, without.cr4) == (None, wanted.cr4)


@pytest.mark.parametrize("text", [b"", b"CR0=0x1\r\n", CREG.replace(b"CR2=p", b"CR2=q")])
def test_no_registers(text: bytes) -> None:
    with pytest.raises(OSError, match="creg"):
        control_registers(text)
