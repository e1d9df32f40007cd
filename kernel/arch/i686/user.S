# Attempts in ring 3. This page appears at area.user: nothing here may be reached by its address in
# the kernel, nor reach the kernel but through INT.

#include "constants.h"
#include "protocol.h"

.code32
.section .user_code, "ax"

# Their addresses, by size, then base_register, then access_kind.
.pushsection .rodata.user, "a"
.balign 4
.globl user_accesses
user_accesses:
.popsection

# EBX or EBP: the address; or EBX: the address less ESP. EAX: the value.
.macro user_access_attempt through, size, register, address:vararg
.globl fault_at_user_\through\()read_\size, fault_at_user_\through\()write_\size
fault_at_user_\through\()read_\size:
    mov \address, \register
    jmp user_attempt_over
fault_at_user_\through\()write_\size:
    mov \register, \address
    jmp user_attempt_over
.pushsection .rodata.user, "a"
    .long fault_at_user_\through\()read_\size, fault_at_user_\through\()write_\size
.popsection
.endm

.macro user_access_attempts size, register
user_access_attempt , \size, \register, (%ebx)
user_access_attempt stack_, \size, \register, (%esp, %ebx)
user_access_attempt frame_, \size, \register, (%ebp)
.endm

user_access_attempts 1, %al
user_access_attempts 2, %ax
user_access_attempts 4, %eax

.globl fault_at_user_call
fault_at_user_call:
    call *%ebx
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

# AC is set, and so is CR0.AM. EBX: the address.
.globl fault_at_user_alignment_check
fault_at_user_alignment_check:
    movl (%ebx), %eax
    jmp user_attempt_over

# A return to ring 0, which is none of ring 3's business. EAX: the stack pointer there; EBX: where.
.globl fault_at_user_return_frame, fault_at_user_return_inward
fault_at_user_return_frame:
    push $SELECTOR_KERNEL_DATA
    push %eax
    push $EFLAGS_CLEAR
    push $SELECTOR_KERNEL_CODE
    push %ebx
fault_at_user_return_inward:
    iretl
    jmp user_attempt_over
.section .note.GNU-stack, "", @progbits
