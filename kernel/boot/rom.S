# The ROM's first instructions: from the reset vector to 32-bit protected mode.
#
# After a reset the processor fetches from 0xFFFFFFF0 with CS.base = 0xFFFF0000 in real-address mode
# (SDM vol. 3, 10.1.4). Everything here therefore lies in the last 64 KiB below 4 GiB, and 16-bit
# addresses are offsets from rom_base.

#include "protocol.h"

.section .rom16, "ax"
.globl rom_base, _start
rom_base:
_start:

.code16
rom_start:
    cli
    cld
    lgdtl %cs:(descriptor_table_register - rom_base)
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $0x08, $protected_mode

.code32
protected_mode:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl $rom_stack_top, %esp
    # Address line 20 through port 0x92; bit 0 would reset the machine.
    inb $0x92, %al
    orb $2, %al
    andb $0xFE, %al
    outb %al, $0x92
    # The ROM will not be mapped once the kernel has turned paging on: the table moves to RAM.
    movl $descriptor_table, %esi
    movl $BOOT_DESCRIPTOR_TABLE, %edi
    movl $(descriptor_table_end - descriptor_table) / 4, %ecx
    rep movsl
    subl $8, %esp
    movw $descriptor_table_end - descriptor_table - 1, (%esp)
    movl $BOOT_DESCRIPTOR_TABLE, 2(%esp)
    lgdtl (%esp)
    call rom_main

.balign 8
descriptor_table:
    .quad 0
    .quad 0x00CF9B000000FFFF            # code: base 0, limit 4 GiB, ring 0, accessed
    .quad 0x00CF93000000FFFF            # data: the same, writable
descriptor_table_end:
descriptor_table_register:
    .word descriptor_table_end - descriptor_table - 1
    .long descriptor_table

.globl enter_kernel
# void enter_kernel(entry, magic, information): does not return.
enter_kernel:
    movl 4(%esp), %ecx
    movl 8(%esp), %eax
    movl 12(%esp), %ebx
    jmp *%ecx

.section .reset, "ax"
.code16
    .byte 0xE9                          # jmp rel16, of which the offset wraps at 64 KiB
    .word (rom_start - rom_base - (0xFFF0 + 3)) & 0xFFFF
.section .note.GNU-stack, "", @progbits
