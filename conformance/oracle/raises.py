"""Exceptions that are raised on purpose (kernel/TRACE.md, `raise` and `interrupt`)."""

from __future__ import annotations

from typing import Final

from conformance.case.attempt_operations import Interrupt, Raise
from conformance.oracle import rules
from conformance.oracle.accesses import Fault, Part, reach
from conformance.oracle.delivery import Place, faulted, probe_place, user_place
from conformance.oracle.setting import Setting
from conformance.oracle.translation import Access
from conformance.oracle.worlds import Performance
from conformance.protocol import PROTOCOL

__all__ = ["interrupt", "raise_exception"]

_NOWHERE: Final = PROTOCOL.images["x86_64"].constants["nowhere"]
_RETURN_FRAME: Final = 5
"""Words of it."""


def _in_idt(vector: str) -> int:
    """An error code that names an IDT entry (6.13)."""
    return PROTOCOL.constants[vector] << 3 | 1 << 1


def _selector(name: str) -> int:
    """An error code that names a segment: its selector, with EXT and not with an RPL (6.13)."""
    return PROTOCOL.constants[f"selector_{name}"] & ~3


# By cause: the exception, and the error code: a selector, an IDT entry, or 0. EXT is 0 in each:
# it is an instruction of the program that asks for the gate or the segment (6.13).
_RAISED: Final = {
    "divide_error": ("divide_error", 0),
    "debug": ("debug", 0),
    "breakpoint": ("breakpoint", 0),
    "overflow": ("overflow", 0),
    "bound_range": ("bound_range", 0),
    "invalid_opcode": ("invalid_opcode", 0),
    "device_not_available": ("device_not_available", 0),
    "double_fault": ("double_fault", 0),
    "short_task": ("invalid_tss", _selector("short_task")),
    "absent_gate": ("segment_not_present", _in_idt("vector_absent")),
    "gate_beyond_limit": ("general_protection", _in_idt("vector_beyond")),
    "absent_segment": ("segment_not_present", _selector("absent")),
    "absent_stack": ("stack_segment", _selector("absent")),
    "selector_beyond_limit": ("general_protection", _selector("beyond")),
    "reserved_control_bit": ("general_protection", 0),
    "privileged_instruction": ("general_protection", 0),
    "privileged_gate": ("general_protection", 13 << 3 | 1 << 1),
    "alignment_check": ("alignment_check", 0),
    "return_null_code": ("general_protection", 0),
    "return_code_beyond": ("general_protection", _selector("beyond")),
    "return_data_as_code": ("general_protection", _selector("kernel_data")),
    "return_absent_code": ("segment_not_present", _selector("absent_code")),
    "return_code_privilege": ("general_protection", _selector("kernel_code")),
    "return_null_stack": ("general_protection", 0),
    "return_stack_privilege": ("general_protection", _selector("kernel_data")),
    "return_code_as_stack": ("general_protection", _selector("user_code")),
    "return_absent_stack": ("stack_segment", _selector("absent_user_data")),
    "return_inward": ("general_protection", _selector("kernel_code")),
    # What the back link of the TSS holds: 0.
    "return_nested_task": ("invalid_tss", 0),
}
# Where 64-bit mode is different: it has no INTO and no BOUND, no tasks (6.14.1, 7.7), and
# addresses that are not canonical.
_RAISED_IN_64_BIT_MODE: Final = _RAISED | {
    "overflow": ("invalid_opcode", 0),
    "bound_range": ("invalid_opcode", 0),
    "short_task": ("general_protection", _in_idt("vector_short_task")),
    "return_nested_task": ("general_protection", 0),
    "return_nowhere": ("general_protection", 0),
    "return_user_nowhere": ("general_protection", 0),
    "push_nowhere": ("stack_segment", 0),
}
_NO_FAULT_OF_ITS_OWN: Final = "return_unmapped"
_IN_RING_3: Final = ("privileged_instruction", "privileged_gate", "alignment_check")
# Vectors that have an error code, which INT n would not push.
_NO_SOFTWARE_INTERRUPT: Final = (8, 10, 11, 12, 13, 14, 17, 21)


def raise_exception(performance: Performance, operation: Raise) -> None:
    """`raise`."""
    setting, cause = performance.world.setting, operation.cause
    if cause == _NO_FAULT_OF_ITS_OWN:
        return _return_to_no_page(performance)
    raised = _RAISED_IN_64_BIT_MODE if setting.long_mode else _RAISED
    if cause not in raised:
        return performance.reject("no_feature")
    if cause == "return_inward" and _frame_faults(performance):
        return None
    vector, error_code = raised[cause]
    if cause == "return_absent_stack":
        # Volume 2 says both: #SS in what IRET does, #NP in the list of its exceptions.
        permitted = (vector, "segment_not_present")
        vector = performance.decide(rules.RAISED[cause], permitted)
    rule = (rules.RAISED_IN_64_BIT_MODE if setting.long_mode else rules.RAISED)[cause]
    return faulted(performance, Fault(vector, rule, error_code), _place(setting, cause))


def interrupt(performance: Performance, operation: Interrupt) -> None:
    """`interrupt`."""
    vector = operation.vector
    if vector >= 32 or vector in _NO_SOFTWARE_INTERRUPT:
        return performance.reject("bad_vector")
    name = PROTOCOL.enums["exception"][vector]
    at = probe_place(performance.world.setting, f"fault_at_interrupt_{vector}")
    return faulted(performance, Fault(name, rules.SOFTWARE_INTERRUPT), at)


def _place(setting: Setting, cause: str) -> Place:
    """Where a cause has its exception."""
    if cause == "push_nowhere":
        return Place(setting.user_symbol("fault_at_user_push"), _NOWHERE, 3)
    frame = _RETURN_FRAME * setting.word
    if cause == "return_inward":
        at = setting.user_symbol("fault_at_user_return_inward")
        return Place(at, setting.user_stack_top - frame, 3)
    if cause in _IN_RING_3:
        return user_place(setting, f"fault_at_user_{cause}")
    symbol = f"fault_at_raise_{cause}"
    if cause.startswith("return_"):
        return Place(setting.symbol(symbol), setting.probe_stack[1] - frame)
    return probe_place(setting, symbol)


def _return_to_no_page(performance: Performance) -> None:
    """The IRET is done, and the instruction that it leads to cannot be fetched."""
    behind = performance.world.setting.user_stack_top
    fetched = Part(performance, Access("execute", user=True), behind, 1).fault()
    assert fetched is not None
    faulted(performance, fetched, Place(behind, behind, 3))


def _frame_faults(performance: Performance) -> bool:
    """Whether ring 3 cannot even push its frame: without NXE, XD is a reserved bit (4.4.2)."""
    setting = performance.world.setting
    write = Access("write", user=True)
    pushed = reach(performance, write, setting.user_stack_top - setting.word, setting.word)
    if isinstance(pushed, Fault):
        faulted(performance, pushed, user_place(setting, "fault_at_user_return_frame"))
        return True
    return False
