# Attempts in ring 3. This page appears at area.user: nothing here may be reached by its address in
# the kernel, nor reach the kernel but through INT.

#include "arch/x86/registers.h"
#include "arch/x86/user_access.h"
#include "protocol.h"

.section .user_code, "ax"

# BX: the address; AX: the value.
user_access_attempt 1, REGISTER(bx), %al
user_access_attempt 2, REGISTER(bx), %ax
user_access_attempt 4, REGISTER(bx), %eax

.globl fault_at_user_call
fault_at_user_call:
    call *REGISTER(bx)
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

# AC is set, and so is CR0.AM. BX: the address.
.globl fault_at_user_alignment_check
fault_at_user_alignment_check:
    movl (REGISTER(bx)), %eax
    jmp user_attempt_over
.section .note.GNU-stack, "", @progbits
