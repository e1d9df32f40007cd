# The Multiboot entry point: records the state the loader left, turns paging on, moves to the
# kernel's virtual addresses. Code before `high` runs at its physical address.

#include "protocol.h"

#define PHYSICAL(symbol) (symbol - BOOT_KERNEL_WINDOW)

#define LOAD_ADDRESS 0x100000

.set page_present_writable, 3
.set window_tables, BOOT_KERNEL_WINDOW_SIZE / 0x400000
.set first_directory_entry, BOOT_KERNEL_WINDOW / 0x400000
.set multiboot_magic, 0x1BADB002

.section .multiboot, "a"
.balign 4
.globl multiboot_header
multiboot_header:
    .long multiboot_magic                    # Multiboot 0.6.96, section 3.1
    .long 0                             # no wishes: the map comes where there is one
    .long -multiboot_magic

.section .boot, "ax"
.code32
.globl _start
_start:
    # Nothing may be changed before it is recorded, except what recording needs.
    movl %eax, PHYSICAL(entry_state) + 0
    movl %ebx, PHYSICAL(entry_state) + 4
    movl $PHYSICAL(boot_stack_top), %esp
    pushfl
    popl PHYSICAL(entry_state) + 12
    cli
    cld
    movl %cr0, %eax
    movl %eax, PHYSICAL(entry_state) + 8
    # A20: without it the header at 1 MiB would also be at 0. Change what is at 0 and look again.
    movl multiboot_header - LOAD_ADDRESS, %ecx
    notl multiboot_header - LOAD_ADDRESS
    xorl %eax, %eax
    cmpl $multiboot_magic, multiboot_header
    sete %al
    movl %ecx, multiboot_header - LOAD_ADDRESS
    movl %eax, PHYSICAL(entry_state) + 16
    movw %cs, %ax
    lsl %eax, %ecx
    movl %ecx, PHYSICAL(entry_state) + 20
    movw %ds, %ax
    lsl %eax, %ecx
    movl %ecx, PHYSICAL(entry_state) + 24
    movw %ss, %ax
    lsl %eax, %ecx
    movl %ecx, PHYSICAL(entry_state) + 28

    # The window's page tables: physical 0, 1, 2, … frames, in order.
    movl $PHYSICAL(page_tables_start) + 4096, %edi
    movl $page_present_writable, %eax
    movl $window_tables * 1024, %ecx
1:  movl %eax, (%edi)
    addl $4096, %eax
    addl $4, %edi
    loop 1b
    # The page directory: the window, and for the time being the same at 0.
    movl $PHYSICAL(page_tables_start), %edi
    leal 4096 + page_present_writable(%edi), %eax
    movl $window_tables, %ecx
2:  movl %eax, (%edi)
    movl %eax, first_directory_entry * 4(%edi)
    addl $4096, %eax
    addl $4, %edi
    loop 2b

    movl $PHYSICAL(page_tables_start), %eax
    movl %eax, %cr3
    movl %cr0, %eax
    orl $0x80010000, %eax               # PG; WP, so that ring 0 honours read-only pages
    movl %eax, %cr0
    movl $high, %eax
    jmp *%eax

.section .text.entry, "ax"
high:
    # The loader's descriptor table is not mapped any more once the low entries are gone.
    lgdtl descriptor_table_register
    ljmpl $0x08, $3f
3:  movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl $boot_stack_top, %esp
    movl $page_tables_start, %edi
    movl $window_tables, %ecx
    xorl %eax, %eax
    rep stosl
    movl %cr3, %eax
    movl %eax, %cr3
    xorl %ebp, %ebp
    call kernel_main
4:  hlt
    jmp 4b

.section .data.descriptor_table, "aw"
.balign 8
descriptor_table:
    .quad 0
    .quad 0x00CF9B000000FFFF            # code: base 0, limit 4 GiB, ring 0, accessed
    .quad 0x00CF93000000FFFF            # data: the same, writable
descriptor_table_register:
    .word descriptor_table_register - descriptor_table - 1
    .long descriptor_table

.section .bss.entry, "aw", @nobits
.balign 16
.globl entry_state
entry_state:
    .skip 32
.balign 16
boot_stack:
    .skip 16384
boot_stack_top:
.section .note.GNU-stack, "", @progbits
