# Where computations start and end; and a wait for the timer.

#include "constants.h"

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
.globl computation_over
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
.section .note.GNU-stack, "", @progbits
