"""Translations and rights, against a table typed from the manual, and against the model's walk."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.unicorn_model.access_rights import Access as ModelAccess
from backends.unicorn_model.access_rights import Privilege
from backends.unicorn_model.control_state import ControlState
from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.faults import PageFault
from backends.unicorn_model.mmu import Mmu
from conformance.case.case import Case
from conformance.oracle.address_space import PagingStructures, entry_address
from conformance.oracle.boot import Layout
from conformance.oracle.control import ControlRegisters
from conformance.oracle.setting import Setting
from conformance.oracle.translation import Access, Translation, error_code, right, walk

MakeCase = Callable[..., Case]

# SDM vol. 3, 4.6.1, as a table. `.` is any value; the last column is what decides.
# mode  page    access   W    XD   WP   SMEP SMAP AC   allowed  rule
RIGHTS = [
    tuple(row.split(maxsplit=10))
    for row in """
    user    supervisor  .        .  .  .  .  .  .  no   supervisor page, user access
    user    user        read     .  .  .  .  .  .  yes  access permitted
    user    user        write    1  .  .  .  .  .  yes  access permitted
    user    user        write    0  .  .  .  .  .  no   read-only page
    user    user        execute  .  0  .  .  .  .  yes  access permitted
    user    user        execute  .  1  .  .  .  .  no   execute-disable
    kernel  supervisor  read     .  .  .  .  .  .  yes  access permitted
    kernel  supervisor  write    1  .  .  .  .  .  yes  access permitted
    kernel  supervisor  write    0  .  0  .  .  .  yes  CR0.WP clear
    kernel  supervisor  write    0  .  1  .  .  .  no   read-only page
    kernel  supervisor  execute  .  0  .  .  .  .  yes  access permitted
    kernel  supervisor  execute  .  1  .  .  .  .  no   execute-disable
    kernel  user        read     .  .  .  .  0  .  yes  access permitted
    kernel  user        read     .  .  .  .  1  1  yes  EFLAGS.AC lifts SMAP
    kernel  user        read     .  .  .  .  1  0  no   SMAP
    kernel  user        write    .  .  .  .  1  0  no   SMAP
    kernel  user        write    1  .  .  .  0  .  yes  access permitted
    kernel  user        write    1  .  .  .  1  1  yes  EFLAGS.AC lifts SMAP
    kernel  user        write    0  .  0  .  0  .  yes  CR0.WP clear
    kernel  user        write    0  .  0  .  1  1  yes  CR0.WP clear
    kernel  user        write    0  .  1  .  0  .  no   read-only page
    kernel  user        write    0  .  1  .  1  1  no   read-only page
    kernel  user        execute  .  0  .  0  .  .  yes  access permitted
    kernel  user        execute  .  0  .  1  .  .  no   SMEP
    kernel  user        execute  .  1  .  .  .  .  no   execute-disable
    """.strip().splitlines()
]


def test_the_permission_matrix() -> None:
    flags = itertools.product((False, True), repeat=6)
    subjects = itertools.product(
        ("user", "kernel"), ("user", "supervisor"), ("read", "write", "execute")
    )
    tried = 0
    for (mode, page, kind), values in itertools.product(subjects, tuple(flags)):
        writable, execute_disable, protect, smep, smap, check = values
        words = [mode, page, kind, *(str(int(value)) for value in values)]
        (row,) = [
            row
            for row in RIGHTS
            if all(pattern in (".", word) for pattern, word in zip(row[:9], words, strict=True))
        ]
        translation = Translation(0, 4096, 0, page == "user", writable, execute_disable, False)
        control = ControlRegisters(protect, False, True, smep, smap)
        allowed, rule = right(Access(kind, mode == "user", check), control, translation)
        assert ("yes" if allowed else "no", rule.name) == row[9:], words
        tried += 1
    assert tried == 2 * 2 * 3 * 64


@pytest.mark.parametrize("paging", ["legacy", "pae"])
@pytest.mark.parametrize("no_execute", [False, True])
@pytest.mark.parametrize("smep", [False, True])
def test_error_codes(
    make_case: MakeCase, layout: Layout, paging: str, no_execute: bool, smep: bool
) -> None:
    setting = Setting.of(make_case(None, cpu="broadwell", paging=paging), layout)
    pdptes = tuple(setting.tables[0] + 4096 * (1 + gib) | 1 for gib in range(4))
    control = ControlRegisters(True, False, no_execute, smep, False, pdptes)
    fetch = 16 if smep or (no_execute and paging == "pae") else 0

    def code(access: Access, **entry: int) -> int:
        structures = PagingStructures(setting)
        structures.write(entry_address(setting, "page_table", 0x40000000), entry.get("pte", 0))
        walked = walk(setting, structures, control, 0x40000000)
        return error_code(setting, control, access, walked.obstacle)

    for kind, extra in (("read", 0), ("write", 2), ("execute", fetch)):
        assert code(Access(kind)) == extra
        assert code(Access(kind, user=True)) == 4 + extra
        assert code(Access(kind), pte=0x400001) == 1 + extra
        assert code(Access(kind, user=True), pte=0x400001) == 5 + extra
        if paging == "pae":
            assert code(Access(kind, user=True), pte=0x400001 | 1 << 51) == 13 + extra


class Memory:
    """The model's view of the oracle's paging structures."""

    def __init__(self, structures: PagingStructures) -> None:
        self.structures = structures

    def read(self, address: int, size: int) -> int:
        return self.structures.read(address)

    def set_bits(self, address: int, size: int, flags: int) -> None:
        """The flags are not compared."""


entry_flags = st.builds(
    lambda flags, high, reserved: flags | high | reserved,
    st.integers(0, 0xFFF).map(lambda flags: flags & ~0x80 | 1)
    | st.integers(0, 0xFFF).map(lambda flags: flags & ~0x80),
    st.sampled_from([0, 0, 0, 1 << 63]),
    st.sampled_from([0, 0, 0, 1 << 40, 1 << 51, 1 << 62]),
)


@settings(max_examples=300)
@given(
    data=st.data(),
    pae=st.booleans(),
    bits=st.tuples(*[st.booleans()] * 5),
    large=st.booleans(),
    linear=st.integers(0x40000000, 0x40007FFF),
    kind=st.sampled_from(["read", "write", "execute"]),
    user=st.booleans(),
    check=st.booleans(),
)
def test_the_walk_agrees_with_the_model(
    make_case: MakeCase,
    layout: Layout,
    data: st.DataObject,
    pae: bool,
    bits: tuple[bool, ...],
    large: bool,
    linear: int,
    kind: str,
    user: bool,
    check: bool,
) -> None:
    """Two statements of one manual, by different hands."""
    protect, pse, no_execute, smep, smap = bits
    setting = Setting.of(
        make_case(None, cpu="broadwell", paging="pae" if pae else "legacy"), layout
    )
    structures = PagingStructures(setting)
    width = (1 << 64 if pae else 1 << 32) - 1
    directory_address = entry_address(setting, "page_directory", linear)
    table = structures.read(directory_address) & ~0xFFF
    if large and (pae or pse):
        reserved = data.draw(st.sampled_from([0, 0, 1 << 13, 1 << 20] if pae else [0, 1 << 21]))
        upper = 0x400000 | 0x80 | reserved | data.draw(entry_flags) & ~0x1000
    else:
        upper = table | data.draw(entry_flags)
    structures.write(directory_address, upper & width)
    lower = 0x403000 | data.draw(entry_flags)
    structures.write(entry_address(setting, "page_table", linear), lower & width)

    pdptes: Any = tuple(structures.read(setting.tables[0] + 8 * n) if pae else 0 for n in range(4))
    control = ControlRegisters(protect, pse, no_execute, smep, smap, pdptes)
    access = Access(kind, user, check)
    walked = walk(setting, structures, control, linear)
    ours: tuple[str, int]
    if walked.translation is not None and right(access, control, walked.translation)[0]:
        page = walked.translation
        ours = "physical", page.physical + linear - page.start
    else:
        obstacle = walked.obstacle if walked.translation is None else None
        ours = "error code", error_code(setting, control, access, obstacle)

    state = ControlState(
        cr0=1 << 31 | protect << 16 | 1,
        cr3=setting.tables[0],
        cr4=pae << 5 | pse << 4 | smep << 20 | smap << 21,
        efer=no_execute << 11,
        alignment_check=check,
        pdptes=pdptes,
    )
    mmu = Mmu(Memory(structures), CpuProfile(maxphyaddr=40))  # type: ignore[arg-type]
    accesses = {"read": ModelAccess.READ, "write": ModelAccess.WRITE, "execute": ModelAccess.FETCH}
    privilege = Privilege.USER if user else Privilege.SUPERVISOR
    theirs: tuple[str, int]
    try:
        theirs = "physical", mmu.translate(state, linear, accesses[kind], privilege).physical
    except PageFault as fault:
        theirs = "error code", fault.error_code
        used = fault.left_open
    else:
        used = walked.used
    assert used == walked.used
    assert ours == theirs
