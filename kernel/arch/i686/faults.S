# Where the gates lead. A handler runs on the stack of what it interrupts (ring 0), on
# ring3_fault_stack, or, after a double fault, in a task of its own.

#include "constants.h"
#include "protocol.h"

.code32

# The vectors for which the processor pushes an error code (SDM vol. 3, 6.13). Vector 8 has a task.
.macro fault_stub vector
fault_stub_\vector:
    .if (\vector - 10) * (\vector - 11) * (\vector - 12) * (\vector - 13) * (\vector - 14) * (\vector - 17) * (\vector - 21)
    pushl $0
    .endif
    pushl $\vector
    jmp fault_common
.endm

.macro fault_stub_address vector
    .long fault_stub_\vector
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
    pushl $0
    pushl $TIMER_VECTOR

fault_common:
    cld                                 # what faulted may have set DF
    pushal
    movl %cr2, %eax                     # before another page fault can change it
    pushl %eax
    # A program may have given SS a limit, and ring 3 has its own segments.
    movl $SELECTOR_KERNEL_DATA, %eax
    movw %ax, %ss
    movw %ax, %ds
    movw %ax, %es
    pushl %esp
    call handle_fault
    addl $8, %esp                       # the argument, CR2
    popal
    addl $8, %esp                       # vector, error code
    iretl

# The task starts here the first time, and after IRET each other time: it was left there. The
# processor has pushed the error code, which is the argument.
.globl double_fault_task
double_fault_task:
    cld
    call handle_double_fault
    addl $4, %esp
    iretl                               # NT is set: back to the task that was left
    jmp double_fault_task

# INT vector_user_return.
.globl user_return
user_return:
    jmp attempt_over

.section .rodata.faults, "a"
.balign 4
.globl fault_stubs
fault_stubs:
.irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    fault_stub_address \vector
.endr
.irp vector, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    fault_stub_address \vector
.endr
.section .note.GNU-stack, "", @progbits
