# Attempts start and end here; and those that access memory or load control registers.
#
# A symbol `fault_at_…` is the instruction pointer that is saved when the attempt faults: the
# instruction for a fault, the one after it for a trap (TRACE.md, "Faults").

#include "constants.h"
#include "protocol.h"

.code32
.section .text.attempts, "ax"

# std::uint32_t begin_attempt(const AttemptStart&): EAX at the end.
.globl begin_attempt
begin_attempt:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl %esp, caller_stack
    movl 20(%esp), %edx
    movl START_EIP(%edx), %eax
    movl %eax, attempt_code
    # Here and not on the attempt's stack, which may have no room, and must not be written to.
    pushl START_EFLAGS(%edx)
    popfl
    movl START_EAX(%edx), %eax
    movl START_ECX(%edx), %ecx
    movl START_EBX(%edx), %ebx
    movl START_EBP(%edx), %ebp
    movl START_ESI(%edx), %esi
    movl START_EDI(%edx), %edi
    movl START_ESP(%edx), %esp
    movl START_EDX(%edx), %edx
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
    movl caller_stack, %esp
    pushl $EFLAGS_CLEAR
    popfl
    clts                                # set by task switches as well
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    ret

# EDX: where, in ring 3. ESI: EFLAGS there.
.globl attempt_in_ring3
attempt_in_ring3:
    pushl $SELECTOR_USER_DATA
    pushl $AREA_USER + 2 * FRAME_SIZE
    pushl %esi
    pushl $SELECTOR_USER_CODE
    pushl %edx
    movl $SELECTOR_USER_DATA, %ecx
    movw %cx, %ds
    movw %cx, %es
    movw %cx, %fs
    movw %cx, %gs
    iretl

# Their addresses, by size, then base_register, then access_kind.
.pushsection .rodata.attempts, "a"
.balign 4
.globl kernel_accesses
kernel_accesses:
.popsection

# EBX or EBP: the address; or EBX: the address less ESP. EAX: the value.
.macro access_attempt through, size, register, address:vararg
.globl fault_at_\through\()read_\size, fault_at_\through\()write_\size
fault_at_\through\()read_\size:
    mov \address, \register
    jmp attempt_over
fault_at_\through\()write_\size:
    mov \register, \address
    jmp attempt_over
.pushsection .rodata.attempts, "a"
    .long fault_at_\through\()read_\size, fault_at_\through\()write_\size
.popsection
.endm

.macro access_attempts size, register
access_attempt , \size, \register, (%ebx)
access_attempt stack_, \size, \register, (%esp, %ebx)
access_attempt frame_, \size, \register, (%ebp)
.endm

access_attempts 1, %al
access_attempts 2, %ax
access_attempts 4, %eax

.globl fault_at_call
fault_at_call:
    call *%ebx
    int $VECTOR_USER_RETURN

# ECX: the selector; EBP: the offset (an address with EBP is one in SS); EAX: the value.
.macro segment_attempt target, size, register
.globl attempt_\target\()_read_\size, attempt_\target\()_write_\size
.globl fault_at_\target\()_read_\size, fault_at_\target\()_write_\size
attempt_\target\()_read_\size:
    movw %cx, %\target
fault_at_\target\()_read_\size:
    mov %\target:(%ebp), \register
    jmp attempt_over
attempt_\target\()_write_\size:
    movw %cx, %\target
fault_at_\target\()_write_\size:
    mov \register, %\target:(%ebp)
    jmp attempt_over
.endm

segment_attempt fs, 1, %al
segment_attempt fs, 2, %ax
segment_attempt fs, 4, %eax
segment_attempt ss, 1, %al
segment_attempt ss, 2, %ax
segment_attempt ss, 4, %eax

# EAX: what is loaded; EBX: CR3, which is loaded afterwards. ECX and EDX: as WRMSR wants them.
.globl fault_at_control_cr0, fault_at_control_cr4, fault_at_control_efer, fault_at_reload
fault_at_control_cr0:
    movl %eax, %cr0
    jmp fault_at_reload
fault_at_control_cr4:
    movl %eax, %cr4
    jmp fault_at_reload
fault_at_control_efer:
    wrmsr
fault_at_reload:
    movl %ebx, %cr3
    jmp attempt_over

.section .bss.attempts, "aw", @nobits
.balign 4
.globl caller_stack
caller_stack:
    .skip 4
attempt_code:
    .skip 4
.section .note.GNU-stack, "", @progbits
