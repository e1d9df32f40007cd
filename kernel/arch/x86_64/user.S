# Attempts in ring 3. This page appears at area.user: nothing here may be reached by its address in
# the kernel, nor reach the kernel but through INT.

#include "protocol.h"

.code64
.section .user_code, "ax"

# RBX: the address; RAX: the value.
.macro user_access_attempt size, register
.globl fault_at_user_read_\size, fault_at_user_write_\size
fault_at_user_read_\size:
    mov (%rbx), \register
    jmp user_attempt_over
fault_at_user_write_\size:
    mov \register, (%rbx)
    jmp user_attempt_over
.endm

user_access_attempt 1, %al
user_access_attempt 2, %ax
user_access_attempt 4, %eax

.globl fault_at_user_call
fault_at_user_call:
    call *%rbx
.globl user_attempt_over
user_attempt_over:
    int $VECTOR_USER_RETURN

.globl fault_at_user_privileged_instruction
fault_at_user_privileged_instruction:
    cli
    jmp user_attempt_over

.globl fault_at_user_privileged_gate
fault_at_user_privileged_gate:
    int $13
    jmp user_attempt_over

# AC is set, and so is CR0.AM. RBX: the address.
.globl fault_at_user_alignment_check
fault_at_user_alignment_check:
    movl (%rbx), %eax
    jmp user_attempt_over
.section .note.GNU-stack, "", @progbits
