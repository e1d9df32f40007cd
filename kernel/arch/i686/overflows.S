# Attempts that overflow a stack (TRACE.md, "The task stack pool").

#include "protocol.h"

.code32
.section .text.overflows, "ax"

.globl fault_at_overflow_push
fault_at_overflow_push:
    pushl %eax
    jmp fault_at_overflow_push

.globl fault_at_overflow_call
fault_at_overflow_call:
    call fault_at_overflow_call

# The stack of who makes the attempt: below all that is still needed there.
.globl attempt_overflow_own, fault_at_overflow_own
attempt_overflow_own:
    movl caller_stack, %esp
fault_at_overflow_own:
    pushl %eax
    jmp fault_at_overflow_own

# ECX: bytes of local variables.
.globl fault_at_overflow_recursion_call, fault_at_overflow_recursion_touch
fault_at_overflow_recursion_call:
    call 1f
1:  subl %ecx, %esp
fault_at_overflow_recursion_touch:
    movl %eax, (%esp)
    jmp fault_at_overflow_recursion_call

# ECX: bytes of the array.
.globl attempt_overflow_array, fault_at_overflow_array
attempt_overflow_array:
    subl %ecx, %esp
fault_at_overflow_array:
    movl %eax, (%esp)
    jmp attempt_over

.globl fault_at_overflow_interrupt
fault_at_overflow_interrupt:
    .byte 0xCD, 3                       # not INT3, which has one byte
    jmp attempt_over

.globl fault_at_overflow_exception
fault_at_overflow_exception:
    ud2
    jmp attempt_over

# DF is set; EDI: the first word; ECX: words.
.globl fault_at_overflow_string
fault_at_overflow_string:
    rep stosl
    jmp attempt_over

# EBX: the address.
.globl fault_at_overflow_straddle
fault_at_overflow_straddle:
    movl %eax, (%ebx)
    jmp attempt_over
.section .note.GNU-stack, "", @progbits
