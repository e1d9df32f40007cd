# Attempts to return from an interrupt with something wrong (TRACE.md, `raise`). What the registers
# hold is put together in returns.cpp.

#ifdef __x86_64__
.code64
#define RETURN_FRAME %rbp, %rdi, %rsi, %rcx, %rdx
#define INTERRUPT_RETURN iretq
#define ADDRESS .quad
#else
.code32
#define RETURN_FRAME %ebp, %edi, %esi, %ecx, %edx
#define INTERRUPT_RETURN iretl
#define ADDRESS .long
#endif

.section .rodata.returns, "a"
.balign 8
# By raise_cause, from return_null_code on; 0 where there is none.
.globl return_attempts
return_attempts:

.section .text.returns, "ax"

.macro return_attempt cause
.globl fault_at_raise_\cause
attempt_\cause:
.irp register, RETURN_FRAME
    push \register
.endr
fault_at_raise_\cause:
    INTERRUPT_RETURN
.pushsection .rodata.returns, "a"
    ADDRESS attempt_\cause
.popsection
.endm

.irp cause, null_code, code_beyond, data_as_code, absent_code, code_privilege
    return_attempt return_\cause
.endr
.irp cause, null_stack, stack_privilege, code_as_stack, absent_stack
    return_attempt return_\cause
.endr

# return_inward is ring 3's.
.pushsection .rodata.returns, "a"
    ADDRESS 0
.popsection

return_attempt return_unmapped
return_attempt return_nested_task
#ifdef __x86_64__
return_attempt return_nowhere
return_attempt return_user_nowhere
return_attempt push_nowhere
#endif
.section .note.GNU-stack, "", @progbits
