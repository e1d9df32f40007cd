/* What the entry code of both architectures begins with: 32-bit code at its physical address. */

#include "protocol.h"

#define PHYSICAL(symbol) (symbol - BOOT_KERNEL_WINDOW)

#define LOAD_ADDRESS 0x100000

.set multiboot_magic, 0x1BADB002
.set multiboot_has_addresses, 1 << 16
.set window_pages, BOOT_KERNEL_WINDOW_SIZE / FRAME_SIZE

.set cr0_emulation, 1 << 2
.set cr0_task_switched, 1 << 3
.set cr0_write_protect, 1 << 16
.set cr0_alignment_mask, 1 << 18
.set cr0_paging, 1 << 31
.set cr4_physical_address_extension, 1 << 5

.section .multiboot, "a"
.balign 4
.globl multiboot_header
multiboot_header:
    # Multiboot 0.6.96, section 3.1. With addresses, for there are loaders that read no 64-bit ELF.
    .long multiboot_magic
    .long multiboot_has_addresses
    .long -(multiboot_magic + multiboot_has_addresses)
    .long multiboot_header
    .long LOAD_ADDRESS
    .long PHYSICAL(data_end)
    .long PHYSICAL(page_tables_end)
    .long _start

/* The state the loader left. Afterwards interrupts are off, DF is clear, and there is a stack. */
.macro record_entry_state
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
.endm
