# Attempts that overflow a stack (TRACE.md, "The task stack pool").

#include "protocol.h"

.code64
.section .text.overflows, "ax"

.globl fault_at_overflow_push
fault_at_overflow_push:
    pushq %rax
    jmp fault_at_overflow_push

.globl fault_at_overflow_call
fault_at_overflow_call:
    call fault_at_overflow_call

# The stack of who makes the attempt: below all that is still needed there.
.globl attempt_overflow_own, fault_at_overflow_own
attempt_overflow_own:
    movq caller_stack, %rsp
fault_at_overflow_own:
    pushq %rax
    jmp fault_at_overflow_own

# RCX: bytes of local variables.
.globl fault_at_overflow_recursion_call, fault_at_overflow_recursion_touch
fault_at_overflow_recursion_call:
    call 1f
1:  subq %rcx, %rsp
fault_at_overflow_recursion_touch:
    movl %eax, (%rsp)
    jmp fault_at_overflow_recursion_call

# RCX: bytes of the array.
.globl attempt_overflow_array, fault_at_overflow_array
attempt_overflow_array:
    subq %rcx, %rsp
fault_at_overflow_array:
    movl %eax, (%rsp)
    jmp attempt_over

.globl fault_at_overflow_interrupt
fault_at_overflow_interrupt:
    .byte 0xCD, 3                       # not INT3, which has one byte
    jmp attempt_over

.globl fault_at_overflow_exception
fault_at_overflow_exception:
    ud2
    jmp attempt_over

# DF is set; RDI: the first word; RCX: words.
.globl fault_at_overflow_string
fault_at_overflow_string:
    rep stosl
    jmp attempt_over

# RBX: the address.
.globl fault_at_overflow_straddle
fault_at_overflow_straddle:
    movl %eax, (%rbx)
    jmp attempt_over
.section .note.GNU-stack, "", @progbits
