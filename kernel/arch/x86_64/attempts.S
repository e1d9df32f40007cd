# Attempts start and end here; and those that access memory or load control registers.
#
# A symbol `fault_at_…` is the instruction pointer that is saved when the attempt faults: the
# instruction for a fault, the one after it for a trap (TRACE.md, "Faults").

#include "constants.h"
#include "protocol.h"

.code64
.section .text.attempts, "ax"

# std::uint64_t begin_attempt(const AttemptStart&): RAX at the end.
.globl begin_attempt
begin_attempt:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, caller_stack
    movq START_EIP(%rdi), %rax
    movq %rax, attempt_code
    # Here and not on the attempt's stack, which may have no room, and must not be written to.
    pushq START_EFLAGS(%rdi)
    popfq
    movq START_EAX(%rdi), %rax
    movq START_ECX(%rdi), %rcx
    movq START_EDX(%rdi), %rdx
    movq START_EBX(%rdi), %rbx
    movq START_EBP(%rdi), %rbp
    movq START_ESI(%rdi), %rsi
    movq START_ESP(%rdi), %rsp
    movq START_EDI(%rdi), %rdi
    jmp *attempt_code

# Whatever the attempt left behind: on any stack, with any segments and flags.
.globl attempt_over
attempt_over:
    movl $SELECTOR_KERNEL_DATA, %ecx
    movw %cx, %ds
    movw %cx, %es
    movw %cx, %fs
    movw %cx, %gs
    movw %cx, %ss
    movq caller_stack, %rsp
    pushq $EFLAGS_CLEAR
    popfq
    clts                                # `raise` sets it
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret

# RDX: where, in ring 3. RSI: RFLAGS there.
.globl attempt_in_ring3
attempt_in_ring3:
    pushq $SELECTOR_USER_DATA
    movabsq $AREA_USER + 2 * FRAME_SIZE, %rcx
    pushq %rcx
    pushq %rsi
    pushq $SELECTOR_USER_CODE
    pushq %rdx
    movl $SELECTOR_USER_DATA, %ecx
    movw %cx, %ds
    movw %cx, %es
    movw %cx, %fs
    movw %cx, %gs
    iretq

# Their addresses, by size, then base_register, then access_kind.
.pushsection .rodata.attempts, "a"
.balign 8
.globl kernel_accesses
kernel_accesses:
.popsection

# RBX or RBP: the address; or RBX: the address less RSP. RAX: the value.
.macro access_attempt through, size, register, address:vararg
.globl fault_at_\through\()read_\size, fault_at_\through\()write_\size
fault_at_\through\()read_\size:
    mov \address, \register
    jmp attempt_over
fault_at_\through\()write_\size:
    mov \register, \address
    jmp attempt_over
.pushsection .rodata.attempts, "a"
    .quad fault_at_\through\()read_\size, fault_at_\through\()write_\size
.popsection
.endm

.macro access_attempts size, register
access_attempt , \size, \register, (%rbx)
access_attempt stack_, \size, \register, (%rsp, %rbx)
access_attempt frame_, \size, \register, (%rbp)
.endm

access_attempts 1, %al
access_attempts 2, %ax
access_attempts 4, %eax
access_attempts 8, %rax

.globl fault_at_call
fault_at_call:
    call *%rbx
    int $VECTOR_USER_RETURN

# RAX: what is loaded; RBX: CR3, which is loaded afterwards. ECX and EDX: as WRMSR wants them.
.globl fault_at_control_cr0, fault_at_control_cr4, fault_at_control_efer, fault_at_reload
fault_at_control_cr0:
    movq %rax, %cr0
    jmp fault_at_reload
fault_at_control_cr4:
    movq %rax, %cr4
    jmp fault_at_reload
fault_at_control_efer:
    wrmsr
fault_at_reload:
    movq %rbx, %cr3
    jmp attempt_over

.section .bss.attempts, "aw", @nobits
.balign 8
.globl caller_stack
caller_stack:
    .skip 8
attempt_code:
    .skip 8
.section .note.GNU-stack, "", @progbits
