# The exit path; see run_end.hpp. Linked into the ROM and into the kernels.

#include "protocol.h"

.section .text.end_run, "ax"
#ifdef __x86_64__
#define MAILBOX %rbp
#define TEXT %rsi
.code64
#else
#define MAILBOX %ebp
#define TEXT %esi
.code32
#endif
.globl end_run
.type end_run, @function
end_run:
    cli
#ifdef __x86_64__
    movq %rdi, MAILBOX
    movl %esi, %edi                     # power off
#else
    movl 4(%esp), MAILBOX
    movl 8(%esp), %edi                  # power off
#endif
    movb $0x04, %al
    outb %al, $0xE9                     # QEMU: the debug console is the harness's door bell
    xchgw %bx, %bx                      # Bochs: back to the debugger's prompt
    # Bochs has put the next payload into place, if it asked to be restarted.
    cmpl $MAILBOX_MAGIC, MAILBOX_OFFSET_MAGIC(MAILBOX)
    jne 1f
    cmpl $MAILBOX_CONTROL_RESTART, MAILBOX_OFFSET_CONTROL(MAILBOX)
    jne 1f
    movb $0xFE, %al
    outb %al, $0x64                     # 8042: pulse the reset line
1:
    testl %edi, %edi
    jz 3f
    xorl %eax, %eax
    outb %al, $0xF4                     # QEMU: isa-debug-exit, status 1
    mov $4f, TEXT
    movw $0x8900, %dx
    movl $8, %ecx
    rep outsb                           # Bochs: ends the emulator
3:  hlt
    jmp 3b
4:  .ascii "Shutdown"
.size end_run, . - end_run
.section .note.GNU-stack, "", @progbits
