# Computations (TASKS.md, "Computations"): instructions whose outcome is known, however often they
# are interrupted. Each has a symbol `compute_KIND_N`: N counts from 0.

#include "constants.h"
#include "protocol.h"

.code64
.section .text.computations, "ax"

# void begin_computation(ComputationRegisters&, const std::byte* code, std::uint32_t eflags). R12 and
# R10 are none of the registers of a computation.
.globl begin_computation
begin_computation:
    pushq %rbp
    pushq %rbx
    pushq %r12
    movq %rdi, %r12
    movq %rsi, %r10
    pushq %rdx                          # the flags, for POPF
    movl COMPUTATION_EAX(%r12), %eax
    movl COMPUTATION_ECX(%r12), %ecx
    movl COMPUTATION_EDX(%r12), %edx
    movl COMPUTATION_EBX(%r12), %ebx
    movl COMPUTATION_EBP(%r12), %ebp
    movl COMPUTATION_ESI(%r12), %esi
    movslq COMPUTATION_EDI(%r12), %rdi  # may be an address, in the upper half
    jmp *%r10

# Where all of them end, with the flags clear.
computation_over:
    movl %eax, COMPUTATION_EAX(%r12)
    movl %ecx, COMPUTATION_ECX(%r12)
    movl %edx, COMPUTATION_EDX(%r12)
    movl %ebx, COMPUTATION_EBX(%r12)
    movl %ebp, COMPUTATION_EBP(%r12)
    movl %esi, COMPUTATION_ESI(%r12)
    movl %edi, COMPUTATION_EDI(%r12)
    popq %r12
    popq %rbx
    popq %rbp
    ret

.macro instruction kind, number, text:vararg
.globl compute_\kind\()_\number
compute_\kind\()_\number:
    \text
.endm

# POPF lets interruptions in; they come after the next instruction (SDM vol. 3, 17.3.1.4).
.macro begin kind
.globl compute_\kind
compute_\kind:
    popfq
.endm

.macro end kind
    instruction \kind, end_0, pushq $EFLAGS_CLEAR
    instruction \kind, end_1, popfq
    instruction \kind, end_2, jmp computation_over
.endm

.globl computations_start, computations_end
computations_start:

begin arithmetic
instruction arithmetic, 0, addl %ebx, %eax
instruction arithmetic, 1, adcl %edx, %ebx
instruction arithmetic, 2, roll $1, %edx
instruction arithmetic, 3, subl %eax, %esi
instruction arithmetic, 4, leal 1(%rdi,%rsi), %edi
instruction arithmetic, 5, sbbl %edi, %ebp
instruction arithmetic, 6, decl %ecx
instruction arithmetic, 7, jnz compute_arithmetic_0
end arithmetic

begin string
instruction string, 0, movl $3, %ecx
instruction string, 1, rep stosl
instruction string, 2, subq $12, %rdi
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
instruction flags, 0, pushfq
instruction flags, 1, popq %rdx
instruction flags, 2, pushq %rdx
instruction flags, 3, popfq
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

# void spin_until(const volatile std::uint32_t& clock, std::uint32_t tick): with interrupts enabled.
.globl spin_until
spin_until:
    sti
1:  cmpl %esi, (%rdi)
    jb 1b
    cli
    ret

# INT vector_nothing.
.globl return_from_interrupt
return_from_interrupt:
    iretq

# What string computations write to.
.section .bss.computations, "aw", @nobits
.balign 4
.globl compute_scratch
compute_scratch:
    .skip 12
.section .note.GNU-stack, "", @progbits
