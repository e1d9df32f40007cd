"""The rules that decide the events of faults and paging, by short names that hold no numbers.

A name becomes a part of a signature: one root cause of a processor is one rule, whatever operation
shows it. `SDM` is the Intel Software Developer's Manual.
"""

from __future__ import annotations

from typing import Final

from conformance.oracle.expectation import Rule


def _sdm(name: str, section: str, *, sweeping: bool = False) -> Rule:
    return Rule(name, f"SDM vol. 3, {section}", sweeping)


def _iret(name: str) -> Rule:
    return Rule(f"IRET: {name}", "SDM vol. 2, IRET")


# Translations and rights.
NOT_PRESENT: Final = _sdm("entry not present", "4.7")
RESERVED_BIT: Final = _sdm("reserved bit set in an entry", "4.7")
SUPERVISOR_PAGE: Final = _sdm("supervisor page, user access", "4.6.1")
READ_ONLY: Final = _sdm("read-only page", "4.6.1")
EXECUTE_DISABLE: Final = _sdm("execute-disable", "4.6.1")
SMEP: Final = _sdm("SMEP", "4.6.1")
SMAP: Final = _sdm("SMAP", "4.6.1")
PERMITTED: Final = _sdm("access permitted", "4.6.1")
WRITE_PROTECT_OFF: Final = _sdm("CR0.WP clear", "4.6.1")
SMAP_LIFTED: Final = _sdm("EFLAGS.AC lifts SMAP", "4.6.1")
NOWHERE: Final = _sdm("address that is not canonical", "6.15, #GP")
NOWHERE_ON_STACK: Final = _sdm("address that is not canonical, in SS", "6.15, #SS")
CALL_TO_NOWHERE: Final = Rule(
    "target of a near CALL is not canonical", "SDM vol. 2, CALL", sweeping=True
)
RETURN_TO_NOWHERE: Final = Rule(
    "target of an IRETQ is not canonical", "SDM vol. 2, IRET", sweeping=True
)
FLAGS: Final = _sdm("accessed and dirty flags", "4.8")

# The registers of PAE paging.
PDPTE_REGISTERS: Final = _sdm("PDPTE registers", "4.4.1", sweeping=True)
PDPTE_ACCESSED: Final = _sdm("PDPTE has no accessed flag", "4.8")
PDPTE_LOAD: Final = _sdm("reserved bits are checked when PDPTEs are loaded", "4.4.1")
CONTROL_LOADED: Final = _sdm("control register loaded", "2.5")

# Invalidation.
INVLPG: Final = _sdm("INVLPG invalidates", "4.10.4.1", sweeping=True)
PAGE_FAULT_INVALIDATES: Final = _sdm("page fault invalidates", "4.10.4.1", sweeping=True)
RELOAD_INVALIDATES: Final = _sdm("MOV to a control register invalidates", "4.10.4.1", sweeping=True)

# What the manual leaves open.
STALE: Final = _sdm("translation not invalidated", "4.10.2.3 and 4.10.4.3")
FLAGS_ON_FAULT: Final = _sdm("accessed flags of an access that faults", "4.8 and 4.10.2.3")
FLAGS_OF_FIRST_PAGE: Final = _sdm("flags of the first page when the second one faults", "4.8")
FLAGS_OF_STALE: Final = _sdm("flags where a cached translation may be used", "4.8")
ABSENT_PDPTE: Final = _sdm("reserved bits of absent PDPTEs", "4.4.1, footnote 1")
DOUBLE_FAULT_CR2: Final = _sdm("CR2 of several page faults", "6.15, #PF")
ORDER_IN_A_CALL: Final = Rule("order of a near CALL's checks", "SDM vol. 2, CALL")
LIMIT_OF_4_GIB: Final = _sdm("segment limit at 4 GiB", "5.3")

# Segments, gates, and exceptions on purpose.
SEGMENT_LIMIT: Final = _sdm("segment limit", "5.3")
INSTRUCTION_LENGTH: Final = _sdm("instruction length", "6.15, #GP")
SOFTWARE_INTERRUPT: Final = _sdm("software interrupt", "6.4.2")
PAGE_FAULT_TWICE: Final = _sdm("double fault: page fault while one is delivered", "6.15, #DF")
CONTRIBUTORY_TWICE: Final = _sdm("double fault: contributory exceptions", "6.15, #DF")
IDT_ENTRY_IN_64_BIT_MODE: Final = _sdm(
    "error code of an IDT entry in 64-bit mode", "6.13", sweeping=True
)
RAISED: Final = {
    "divide_error": _sdm("divide error", "6.15, #DE"),
    "debug": _sdm("trap flag", "17.3.1.4"),
    "breakpoint": _sdm("breakpoint", "6.15, #BP"),
    "overflow": _sdm("overflow trap", "6.15, #OF"),
    "bound_range": _sdm("bound range", "6.15, #BR"),
    "invalid_opcode": _sdm("invalid opcode", "6.15, #UD"),
    "device_not_available": _sdm("device not available", "6.15, #NM"),
    "double_fault": CONTRIBUTORY_TWICE,
    "short_task": _sdm("gate to a task with a short segment", "6.15, #TS"),
    "absent_gate": _sdm("gate not present", "6.15, #NP"),
    "gate_beyond_limit": _sdm("gate beyond the IDT's limit", "6.15, #GP"),
    "absent_segment": _sdm("selector of an absent segment", "6.15, #NP"),
    "absent_stack": _sdm("selector of an absent stack segment", "6.15, #SS"),
    "selector_beyond_limit": _sdm("selector beyond the GDT's limit", "6.15, #GP"),
    "reserved_control_bit": _sdm("reserved bit of a control register", "6.15, #GP"),
    "privileged_instruction": _sdm("privileged instruction", "6.15, #GP"),
    "privileged_gate": _sdm("gate privilege", "6.12.1.1"),
    "alignment_check": _sdm("alignment check", "6.15, #AC"),
    "return_null_code": _iret("null code segment"),
    "return_code_beyond": _iret("code selector beyond the GDT's limit"),
    "return_data_as_code": _iret("data segment as code segment"),
    "return_absent_code": _iret("absent code segment"),
    "return_code_privilege": _iret("privilege of the code segment"),
    "return_null_stack": _iret("null stack segment"),
    "return_stack_privilege": _iret("privilege of the stack segment"),
    "return_code_as_stack": _iret("code segment as stack segment"),
    "return_absent_stack": _iret("absent stack segment"),
    "return_inward": _iret("inner level"),
    "return_nested_task": _iret("nested task that is none"),
}
"""By the protocol's `raise_cause`."""

RAISED_IN_64_BIT_MODE: Final = RAISED | {
    "overflow": RAISED["invalid_opcode"],
    "bound_range": RAISED["invalid_opcode"],
    # What these have in common is the one thing about them that 64-bit mode changes: how an entry's
    # number is found from what is now twice as long.
    "short_task": IDT_ENTRY_IN_64_BIT_MODE,
    "absent_gate": IDT_ENTRY_IN_64_BIT_MODE,
    "gate_beyond_limit": IDT_ENTRY_IN_64_BIT_MODE,
    "privileged_gate": IDT_ENTRY_IN_64_BIT_MODE,
    "return_nested_task": _iret("nested task in 64-bit mode"),
    "return_nowhere": RETURN_TO_NOWHERE,
    "return_user_nowhere": RETURN_TO_NOWHERE,
    "push_nowhere": NOWHERE_ON_STACK,
}
"""The same, where 64-bit mode is different."""
