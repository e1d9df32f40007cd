"""The segments of a task that has been switched to (7.3, step 13; tables 6-6 and 7-1)."""

from __future__ import annotations

from backends.unicorn_model.delivery.descriptors import (
    LDT,
    Descriptor,
    is_null,
    selector_error,
)
from backends.unicorn_model.delivery.machine import Machine, Segment
from backends.unicorn_model.delivery.transaction import Transaction
from backends.unicorn_model.delivery.vectors import NP, SS, TS, Fault

__all__ = ["qualify"]


def qualify(machine: Machine, external: bool) -> None:
    """7.3, step 13: the descriptors, "in the context of the new task".

    After the commit point, what was loaded before the first error stays loaded.
    """
    transaction = Transaction(machine)
    try:
        _Qualification(transaction, external).run()
    finally:
        transaction.commit()


class _Qualification:
    """Table 7-1 from its sixth row, in its order ("used in the P6 family processors")."""

    def __init__(self, transaction: Transaction, external: bool) -> None:
        self._transaction = transaction
        self._external = external

    def run(self) -> None:
        """Check and load LDTR and the segment registers."""
        registers = self._transaction.registers
        cpl, ldt, code, stack = registers.cpl, registers.ldtr, registers.cs, registers.ss
        error = {
            segment: selector_error(segment.selector, self._external)
            for segment in (ldt, code, stack)
        }
        # "LDT segment selector of new task is valid."
        local = self._local_table(ldt.selector, error[ldt])
        if local is not None and local.present:
            # Open: its presence is only checked below, after that of the stack segment. What is in
            # an LDT that is not present is not found.
            self._transaction.change(ldtr=Segment(ldt.selector, local))
        # "Code segment DPL matches segment selector RPL."
        new_code = self._find(code.selector)
        if new_code and new_code.is_code and not _fits(new_code, cpl):
            raise Fault(TS, error[code])
        # "SS segment selector is valid."
        new_stack = self._find(stack.selector)
        if new_stack is None or not new_stack.is_writable:
            raise Fault(TS, error[stack])
        # "Stack segment is present in memory."
        if not new_stack.present:
            raise Fault(SS, error[stack])
        # "Stack segment DPL matches CPL."
        if new_stack.dpl != cpl:
            raise Fault(TS, error[stack])
        # "LDT of new task is present in memory."
        if local is not None and not local.present:
            raise Fault(TS, error[ldt])
        # "CS segment selector is valid."
        if new_code is None or not new_code.is_code:
            raise Fault(TS, error[code])
        # "Code segment is present in memory."
        if not new_code.present:
            raise Fault(NP, error[code])
        self._take("cs", code.selector, new_code)
        # "Stack segment DPL matches selector RPL."
        if new_stack.dpl != stack.selector & 3:
            raise Fault(TS, error[stack])
        self._take("ss", stack.selector, new_stack)
        for name in ("ds", "es", "fs", "gs"):
            self._data_segment(name, cpl)

    def _local_table(self, selector: int, error: int) -> Descriptor | None:
        if is_null(selector):  # 7.2.1: a task may have no LDT
            return None
        # LDTR is not valid yet (7.3, step 12): a selector that says LDT finds nothing.
        table = self._find(selector)
        if table is None or table.kind != LDT:
            raise Fault(TS, error)
        return table

    def _data_segment(self, name: str, cpl: int) -> None:
        selector = getattr(self._transaction.registers, name).selector
        error = selector_error(selector, self._external)
        if is_null(selector):  # 3.4.2: a null selector may be loaded
            return
        # "DS, ES, FS, and GS segment selectors are valid", "… segments are readable".
        data = self._find(selector)
        if data is None or not data.is_readable:
            raise Fault(TS, error)
        # "… are present in memory."
        if not data.present:
            raise Fault(NP, error)
        # "… DPL greater than or equal to CPL (unless these are conforming segments)", and table
        # 6-6 has the RPL as well.
        if not data.is_conforming and data.dpl < max(cpl, selector & 3):
            raise Fault(TS, error)
        self._take(name, selector, data)

    def _find(self, selector: int) -> Descriptor | None:
        """The descriptor of a selector that is not null and lies within its table."""
        address = None if is_null(selector) else self._transaction.locate(selector)
        return None if address is None else self._transaction.descriptor_at(address)

    def _take(self, name: str, selector: int, descriptor: Descriptor) -> None:
        address = self._transaction.locate(selector)
        assert address is not None
        loaded = self._transaction.mark_accessed(address, descriptor)
        self._transaction.change(**{name: Segment(selector, loaded)})


def _fits(code: Descriptor, cpl: int) -> bool:
    """Table 6-6: a conforming segment's DPL is at most the CPL, another's is the CPL."""
    return code.dpl <= cpl if code.is_conforming else code.dpl == cpl
