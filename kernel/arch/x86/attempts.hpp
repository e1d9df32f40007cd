// The code of the attempts: attempts.S, raises.S, overflows.S and user.S.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

// Access, by size, then base_register, then access_kind (read or write). EBX or EBP: the address;
// or EBX: the address less ESP. EAX: the value.
extern const std::byte* const kernel_accesses[];
extern const std::byte* const user_accesses[];
// EBX: the address.
extern const std::byte fault_at_call[], fault_at_user_call[];

// Control registers. EAX: what is loaded; EBX: CR3; for WRMSR, ECX and EDX as it wants them.
extern const std::byte fault_at_control_cr0[], fault_at_control_cr4[], fault_at_control_efer[];
extern const std::byte fault_at_reload[];

// Exceptions: see raises.S for the registers that each needs.
extern const std::byte fault_at_raise_divide_error[], attempt_debug[], attempt_breakpoint[];
extern const std::byte attempt_overflow[], fault_at_raise_bound_range[];
extern const std::byte fault_at_raise_invalid_opcode[], fault_at_raise_device_not_available[];
extern const std::byte fault_at_raise_double_fault[], fault_at_raise_short_task[];
extern const std::byte fault_at_raise_absent_gate[], fault_at_raise_gate_beyond_limit[];
extern const std::byte fault_at_raise_absent_segment[], fault_at_raise_absent_stack[];
extern const std::byte fault_at_raise_selector_beyond_limit[];
extern const std::byte fault_at_raise_reserved_control_bit[];
extern const std::byte fault_at_user_privileged_instruction[], fault_at_user_privileged_gate[];
extern const std::byte fault_at_user_alignment_check[];
extern const std::byte fault_at_user_return_frame[], fault_at_user_push[];
extern const std::byte* const interrupt_attempts[]; // by vector

// Overflows: see overflows.S for the registers that each needs.
extern const std::byte fault_at_overflow_push[], fault_at_overflow_call[];
extern const std::byte fault_at_overflow_recursion_call[], attempt_overflow_array[];
extern const std::byte fault_at_overflow_interrupt[], fault_at_overflow_exception[];
extern const std::byte fault_at_overflow_string[], fault_at_overflow_straddle[];
extern const std::byte attempt_overflow_own[];

// EDX: the code in ring 3, as an address there; ESI: EFLAGS there.
extern const std::byte attempt_in_ring3[];

extern const std::byte user_code_start[], user_code_end[];
extern const std::byte probe_stack_start[], probe_stack_end[];
}
