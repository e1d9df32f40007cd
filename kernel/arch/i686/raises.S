# Attempts that raise an exception on purpose (TRACE.md, `raise` and `interrupt`).

#include "constants.h"
#include "protocol.h"

.code32
.section .text.raises, "ax"

# A fault: the saved instruction pointer is the instruction itself.
.macro fault_attempt name, instruction:vararg
.globl fault_at_raise_\name
fault_at_raise_\name:
    \instruction
    jmp attempt_over
.endm

# A trap: it is the next one.
.macro trap_attempt name, instruction:vararg
.globl attempt_\name, fault_at_raise_\name
attempt_\name:
    \instruction
fault_at_raise_\name:
    jmp attempt_over
.endm

fault_attempt divide_error, divl %ecx   # ECX is 0
trap_attempt breakpoint, int3
trap_attempt overflow, into             # OF is set
fault_attempt invalid_opcode, ud2
fault_attempt device_not_available, fnop        # CR0.TS is set
fault_attempt double_fault, divl %ecx   # ECX is 0, the gate is absent
fault_attempt short_task, int $VECTOR_SHORT_TASK
fault_attempt absent_gate, int $VECTOR_ABSENT
fault_attempt gate_beyond_limit, int $VECTOR_BEYOND
fault_attempt absent_segment, movw %cx, %fs     # ECX is the selector
fault_attempt absent_stack, movw %cx, %ss
fault_attempt selector_beyond_limit, movw %cx, %fs
fault_attempt reserved_control_bit, movl %eax, %cr4

# As bytes, for assemblers disagree on the order of the operands: BOUND EAX, [bounds]. EAX is 0.
.globl fault_at_raise_bound_range
fault_at_raise_bound_range:
    .byte 0x62, 0x05
    .long bounds
    jmp attempt_over

# The trap comes after the instruction that follows POPF (SDM vol. 3, 17.3.1.4).
.globl attempt_debug, fault_at_raise_debug
attempt_debug:
    pushfl
    orl $EFLAGS_TRAP, (%esp)
    popfl
    nop
fault_at_raise_debug:
    jmp attempt_over

# As bytes, for INT 3 in two of them is not INT3.
.macro interrupt_attempt vector
.globl fault_at_interrupt_\vector
attempt_interrupt_\vector:
    .byte 0xCD, \vector
fault_at_interrupt_\vector:
    jmp attempt_over
.endm

# Without those that have an error code, which INT n does not push.
.irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 9, 15, 16, 18, 19, 20
    interrupt_attempt \vector
.endr
.irp vector, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    interrupt_attempt \vector
.endr

.section .rodata.raises, "a"
.balign 4
bounds:
    .long 1, 2

.macro interrupt_address vector
    .long attempt_interrupt_\vector
.endm

# By vector; 0 where there is none.
.globl interrupt_attempts
interrupt_attempts:
.irp vector, 0, 1, 2, 3, 4, 5, 6, 7
    interrupt_address \vector
.endr
    .long 0
    interrupt_address 9
    .long 0, 0, 0, 0, 0
    interrupt_address 15
    interrupt_address 16
    .long 0
    interrupt_address 18
    interrupt_address 19
    interrupt_address 20
    .long 0
.irp vector, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    interrupt_address \vector
.endr
.section .note.GNU-stack, "", @progbits
