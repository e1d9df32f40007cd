# Switching tasks: what is saved is on the stack of the task that is left.

#include "constants.h"

.code32
.section .text.tasks, "ax"

# void switch_filled(TaskSwitch&): puts the pattern into the registers, switches, and when the task
# that was left runs again says what is in them.
.globl switch_filled
switch_filled:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl 20(%esp), %ecx
    movl SWITCH_SAVE(%ecx), %eax
    movl SWITCH_LOAD(%ecx), %edx
    movw SWITCH_FS(%ecx), %fs
    movw SWITCH_GS(%ecx), %gs
    movl SWITCH_EBX(%ecx), %ebx
    movl SWITCH_ESI(%ecx), %esi
    movl SWITCH_EDI(%ecx), %edi
    movl SWITCH_EBP(%ecx), %ebp
    pushl SWITCH_EFLAGS(%ecx)
    popfl
    call switch_stacks
    pushfl                              # first of all, before something changes them
    movl 24(%esp), %ecx
    popl SWITCH_EFLAGS(%ecx)
    movl %ebx, SWITCH_EBX(%ecx)
    movl %esi, SWITCH_ESI(%ecx)
    movl %edi, SWITCH_EDI(%ecx)
    movl %ebp, SWITCH_EBP(%ecx)
    movl %fs, %eax
    movl %eax, SWITCH_FS(%ecx)
    movl %gs, %eax
    movl %eax, SWITCH_GS(%ecx)
    movl $SELECTOR_KERNEL_DATA, %eax
    movw %ax, %fs
    movw %ax, %gs
    pushl $EFLAGS_CLEAR
    popfl
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    ret

# EAX: where the stack pointer is saved; EDX: where the other one is. What a task that has not run
# yet finds on its stack is TaskStart.
switch_stacks:
    pushfl
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    pushl %fs
    pushl %gs
    movl %esp, (%eax)
    movl (%edx), %esp
    popl %gs
    popl %fs
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    popfl
    ret

# Where `switch_stacks` returns to when a task runs for the first time: its argument is on the stack.
.globl start_task
start_task:
    call enter_task
    ud2
.section .note.GNU-stack, "", @progbits
