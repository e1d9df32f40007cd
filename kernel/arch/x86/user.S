# Attempts in ring 3. This page appears at area.user: nothing here may be reached by its address in
# the kernel, nor reach the kernel but through INT.

#include "arch/x86/constants.h"

.section .user_code, "ax"

# Their addresses, by size, then base_register, then access_kind.
.pushsection .rodata.user, "a"
.balign REGISTER_SIZE
.globl user_accesses
user_accesses:
.popsection

# BX or BP: the address; or BX: the address less SP. AX: the value.
.macro user_access_attempt through, size, register, address:vararg
.globl fault_at_user_\through\()read_\size, fault_at_user_\through\()write_\size
fault_at_user_\through\()read_\size:
    mov \address, \register
    jmp user_attempt_over
fault_at_user_\through\()write_\size:
    mov \register, \address
    jmp user_attempt_over
.pushsection .rodata.user, "a"
    REGISTER_DATA fault_at_user_\through\()read_\size, fault_at_user_\through\()write_\size
.popsection
.endm

.macro user_access_attempts size, register
user_access_attempt , \size, \register, (REGISTER(bx))
user_access_attempt stack_, \size, \register, (REGISTER(sp), REGISTER(bx))
user_access_attempt frame_, \size, \register, (REGISTER(bp))
.endm

user_access_attempts 1, %al
user_access_attempts 2, %ax
user_access_attempts 4, %eax
#ifdef __x86_64__
user_access_attempts 8, %rax
#endif

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

# A return to ring 0, which is none of ring 3's business. AX: the stack pointer there; BX: where.
.globl fault_at_user_return_frame, fault_at_user_return_inward
fault_at_user_return_frame:
    push $SELECTOR_KERNEL_DATA
    push REGISTER(ax)
    push $EFLAGS_CLEAR
    push $SELECTOR_KERNEL_CODE
    push REGISTER(bx)
fault_at_user_return_inward:
    INTERRUPT_RETURN
    jmp user_attempt_over

#ifdef __x86_64__
# RSP is not canonical.
.globl fault_at_user_push
fault_at_user_push:
    pushq %rax
    jmp user_attempt_over
#endif
.section .note.GNU-stack, "", @progbits
