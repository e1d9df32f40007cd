# Computations (TASKS.md, "Computations"): instructions whose outcome is known, however often they
# are interrupted. Each has a symbol `compute_KIND_N`: N counts from 0.

#include "constants.h"
#include "protocol.h"

.code32
.section .text.computations, "ax"

# void begin_computation(ComputationRegisters&, const std::byte* code, std::uint32_t eflags)
.globl begin_computation
begin_computation:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    pushl 24(%esp)                      # the code, for the jump
    movl 24(%esp), %edi
    pushl 32(%esp)                      # the flags, for POPF
    movl COMPUTATION_EAX(%edi), %eax
    movl COMPUTATION_ECX(%edi), %ecx
    movl COMPUTATION_EDX(%edi), %edx
    movl COMPUTATION_EBX(%edi), %ebx
    movl COMPUTATION_EBP(%edi), %ebp
    movl COMPUTATION_ESI(%edi), %esi
    movl COMPUTATION_EDI(%edi), %edi
    jmp *4(%esp)

# Where all of them end, with the flags clear.
computation_over:
    pushl %edi
    movl 28(%esp), %edi
    movl %eax, COMPUTATION_EAX(%edi)
    movl %ecx, COMPUTATION_ECX(%edi)
    movl %edx, COMPUTATION_EDX(%edi)
    movl %ebx, COMPUTATION_EBX(%edi)
    movl %ebp, COMPUTATION_EBP(%edi)
    movl %esi, COMPUTATION_ESI(%edi)
    popl COMPUTATION_EDI(%edi)
    popl %ecx                           # the code
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
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
    popfl
.endm

.macro end kind
    instruction \kind, end_0, pushl $EFLAGS_CLEAR
    instruction \kind, end_1, popfl
    instruction \kind, end_2, jmp computation_over
.endm

.globl computations_start, computations_end
computations_start:

begin arithmetic
instruction arithmetic, 0, addl %ebx, %eax
instruction arithmetic, 1, adcl %edx, %ebx
instruction arithmetic, 2, roll $1, %edx
instruction arithmetic, 3, subl %eax, %esi
instruction arithmetic, 4, leal 1(%edi,%esi), %edi
instruction arithmetic, 5, sbbl %edi, %ebp
instruction arithmetic, 6, decl %ecx
instruction arithmetic, 7, jnz compute_arithmetic_0
end arithmetic

begin string
instruction string, 0, movl $3, %ecx
instruction string, 1, rep stosl
instruction string, 2, subl $12, %edi
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
instruction flags, 0, pushfl
instruction flags, 1, popl %edx
instruction flags, 2, pushl %edx
instruction flags, 3, popfl
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
    movl 4(%esp), %ecx
    movl 8(%esp), %edx
    sti
1:  cmpl %edx, (%ecx)
    jb 1b
    cli
    ret

# INT vector_nothing.
.globl return_from_interrupt
return_from_interrupt:
    iretl

# What string computations write to.
.section .bss.computations, "aw", @nobits
.balign 4
.globl compute_scratch
compute_scratch:
    .skip 12
.section .note.GNU-stack, "", @progbits
