# Computations (TASKS.md, "Computations"): instructions whose outcome is known, however often they
# are interrupted. Each has a symbol `compute_KIND_N`: N counts from 0.

#include "arch/x86/constants.h"
#include "protocol.h"

.section .text.computations, "ax"

.macro instruction kind, number, text:vararg
.globl compute_\kind\()_\number
compute_\kind\()_\number:
    \text
.endm

# POPF lets interruptions in; they come after the next instruction (SDM vol. 3, 17.3.1.4).
.macro begin kind
.globl compute_\kind
compute_\kind:
    popf
.endm

.macro end kind
    instruction \kind, end_0, push $EFLAGS_CLEAR
    instruction \kind, end_1, popf
    instruction \kind, end_2, jmp computation_over
.endm

.globl computations_start, computations_end
computations_start:

begin arithmetic
instruction arithmetic, 0, addl %ebx, %eax
instruction arithmetic, 1, adcl %edx, %ebx
instruction arithmetic, 2, roll $1, %edx
instruction arithmetic, 3, subl %eax, %esi
instruction arithmetic, 4, leal 1(REGISTER(di),REGISTER(si)), %edi
instruction arithmetic, 5, sbbl %edi, %ebp
instruction arithmetic, 6, decl %ecx
instruction arithmetic, 7, jnz compute_arithmetic_0
end arithmetic

begin string
instruction string, 0, movl $3, %ecx
instruction string, 1, rep stosl
instruction string, 2, sub $12, REGISTER(di)
instruction string, 3, addl %ebx, %eax
instruction string, 4, decl %ebp
instruction string, 5, jnz compute_string_0
end string

begin stack_segment
instruction stack_segment, 0, movl %ss, %edx
instruction stack_segment, 1, movw %dx, %ss
instruction stack_segment, 2, addl %ebx, %eax
instruction stack_segment, 3, decl %ecx
instruction stack_segment, 4, jnz compute_stack_segment_0
end stack_segment

begin flags
instruction flags, 0, pushf
instruction flags, 1, pop REGISTER(dx)
instruction flags, 2, push REGISTER(dx)
instruction flags, 3, popf
instruction flags, 4, addl %ebx, %eax
instruction flags, 5, decl %ecx
instruction flags, 6, jnz compute_flags_0
end flags

begin interrupt
instruction interrupt, 0, int $VECTOR_NOTHING
instruction interrupt, 1, addl %ebx, %eax
instruction interrupt, 2, decl %ecx
instruction interrupt, 3, jnz compute_interrupt_0
end interrupt
computations_end:

# What string computations write to.
.section .bss.computations, "aw", @nobits
.balign 4
.globl compute_scratch
compute_scratch:
    .skip 12
.section .note.GNU-stack, "", @progbits
