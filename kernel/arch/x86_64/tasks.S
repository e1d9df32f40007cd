# Switching tasks: what is saved is on the stack of the task that is left.

#include "constants.h"

.code64
.section .text.tasks, "ax"

# void switch_filled(TaskSwitch&): puts the pattern into the registers, switches, and when the task
# that was left runs again says what is in them.
.globl switch_filled
switch_filled:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdi
    movq %rdi, %rcx
    movq SWITCH_SAVE(%rcx), %rax
    movq SWITCH_LOAD(%rcx), %rdx
    movw SWITCH_FS(%rcx), %fs
    movw SWITCH_GS(%rcx), %gs
    movq SWITCH_EBX(%rcx), %rbx
    movq SWITCH_ESI(%rcx), %rsi
    movq SWITCH_EDI(%rcx), %rdi
    movq SWITCH_EBP(%rcx), %rbp
    movq SWITCH_R8(%rcx), %r8
    movq SWITCH_R8+8(%rcx), %r9
    movq SWITCH_R8+16(%rcx), %r10
    movq SWITCH_R8+24(%rcx), %r11
    movq SWITCH_R8+32(%rcx), %r12
    movq SWITCH_R8+40(%rcx), %r13
    movq SWITCH_R8+48(%rcx), %r14
    movq SWITCH_R8+56(%rcx), %r15
    pushq SWITCH_EFLAGS(%rcx)
    popfq
    call switch_stacks
    pushfq                              # first of all, before something changes them
    movq 8(%rsp), %rcx
    popq SWITCH_EFLAGS(%rcx)
    movq %rbx, SWITCH_EBX(%rcx)
    movq %rsi, SWITCH_ESI(%rcx)
    movq %rdi, SWITCH_EDI(%rcx)
    movq %rbp, SWITCH_EBP(%rcx)
    movq %r8, SWITCH_R8(%rcx)
    movq %r9, SWITCH_R8+8(%rcx)
    movq %r10, SWITCH_R8+16(%rcx)
    movq %r11, SWITCH_R8+24(%rcx)
    movq %r12, SWITCH_R8+32(%rcx)
    movq %r13, SWITCH_R8+40(%rcx)
    movq %r14, SWITCH_R8+48(%rcx)
    movq %r15, SWITCH_R8+56(%rcx)
    movl %fs, %eax
    movq %rax, SWITCH_FS(%rcx)
    movl %gs, %eax
    movq %rax, SWITCH_GS(%rcx)
    movl $SELECTOR_KERNEL_DATA, %eax
    movw %ax, %fs
    movw %ax, %gs
    pushq $EFLAGS_CLEAR
    popfq
    popq %rdi
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret

# RAX: where the stack pointer is saved; RDX: where the other one is. What a task that has not run
# yet finds on its stack is TaskStart.
switch_stacks:
    pushfq
    pushq %rbp
    pushq %rbx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %fs
    pushq %gs
    movq %rsp, (%rax)
    movq (%rdx), %rsp
    popq %gs
    popq %fs
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rbx
    popq %rbp
    popfq
    ret

# Where `switch_stacks` returns to when a task runs for the first time: its argument is on the stack.
.globl start_task
start_task:
    popq %rdi
    call enter_task
    ud2
.section .note.GNU-stack, "", @progbits
