# Attempts that overflow a stack (TRACE.md, "The task stack pool").

#include "arch/x86/registers.h"
#include "protocol.h"

.section .text.overflows, "ax"

.globl fault_at_overflow_push
fault_at_overflow_push:
    push REGISTER(ax)
    jmp fault_at_overflow_push

.globl fault_at_overflow_call
fault_at_overflow_call:
    call fault_at_overflow_call

# The stack of who makes the attempt: below all that is still needed there.
.globl attempt_overflow_own, fault_at_overflow_own
attempt_overflow_own:
    mov caller_stack, REGISTER(sp)
fault_at_overflow_own:
    push REGISTER(ax)
    jmp fault_at_overflow_own

# CX: bytes of local variables.
.globl fault_at_overflow_recursion_call, fault_at_overflow_recursion_touch
fault_at_overflow_recursion_call:
    call 1f
1:  sub REGISTER(cx), REGISTER(sp)
fault_at_overflow_recursion_touch:
    movl %eax, (REGISTER(sp))
    jmp fault_at_overflow_recursion_call

# CX: bytes of the array.
.globl attempt_overflow_array, fault_at_overflow_array
attempt_overflow_array:
    sub REGISTER(cx), REGISTER(sp)
fault_at_overflow_array:
    movl %eax, (REGISTER(sp))
    jmp attempt_over

.globl fault_at_overflow_interrupt
fault_at_overflow_interrupt:
    .byte 0xCD, 3                       # not INT3, which has one byte
    jmp attempt_over

.globl fault_at_overflow_exception
fault_at_overflow_exception:
    ud2
    jmp attempt_over

# DF is set; DI: the first word; CX: words.
.globl fault_at_overflow_string
fault_at_overflow_string:
    rep stosl
    jmp attempt_over

# BX: the address.
.globl fault_at_overflow_straddle
fault_at_overflow_straddle:
    movl %eax, (REGISTER(bx))
    jmp attempt_over
.section .note.GNU-stack, "", @progbits
