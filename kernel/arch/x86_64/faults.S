# Where the gates lead. A handler runs on the stack of what it interrupts (ring 0), on
# ring3_fault_stack, or, after a double fault, a page fault or an NMI, on a stack of its own.

#include "constants.h"
#include "protocol.h"

.code64

# The vectors for which the processor pushes an error code (SDM vol. 3, 6.13).
.macro fault_stub vector
fault_stub_\vector:
    .if (\vector - 8) * (\vector - 10) * (\vector - 11) * (\vector - 12) * (\vector - 13) * (\vector - 14) * (\vector - 17) * (\vector - 21)
    pushq $0
    .endif
    pushq $\vector
    jmp fault_common
.endm

.macro fault_stub_address vector
    .quad fault_stub_\vector
.endm

.section .text.faults, "ax"
.irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    fault_stub \vector
.endr
.irp vector, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    fault_stub \vector
.endr

.globl timer_interrupt
timer_interrupt:
    pushq $0
    pushq $TIMER_VECTOR

fault_common:
    cld                                 # what faulted may have set DF
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rbx
    pushq %rbp
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    movq %cr2, %rax                     # before another page fault can change it
    pushq %rax
    # SS is that of ring 0 already, or null (SDM vol. 3, 6.14.3): nothing here looks at it.
    movl $SELECTOR_KERNEL_DATA, %eax
    movw %ax, %ds
    movw %ax, %es
    movq %rsp, %rdi
    # The processor has aligned the stack by 16 bytes, and 19 words have been pushed.
    subq $8, %rsp
    call handle_fault
    addq $16, %rsp                      # that, CR2
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rbp
    popq %rbx
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp                      # vector, error code
    iretq

# INT vector_user_return.
.globl user_return
user_return:
    jmp attempt_over

.section .rodata.faults, "a"
.balign 8
.globl fault_stubs
fault_stubs:
.irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    fault_stub_address \vector
.endr
.irp vector, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    fault_stub_address \vector
.endr
.section .note.GNU-stack, "", @progbits
