# Where computations start and end; and a wait for the timer.

#include "constants.h"

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
.globl computation_over
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
.section .note.GNU-stack, "", @progbits
