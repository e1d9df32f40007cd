# The Multiboot entry point: records the state the loader left, turns paging on, moves to the
# kernel's virtual addresses. Code before `high` runs at its physical address.

#include "arch/x86/entry.h"
#include "constants.h"
#include "protocol.h"

.set page_present, 1
.set page_present_writable, 3
.set window_tables, BOOT_KERNEL_WINDOW_SIZE / 0x400000
.set window_tables_pae, BOOT_KERNEL_WINDOW_SIZE / 0x200000
.set window_directory_entry, BOOT_KERNEL_WINDOW / 0x400000

# Frames of the page table region (TRACE.md, "Address space").
.set window_tables_frame, 1
.set first_directory_frame_pae, 1
.set last_directory_frame_pae, 4        # of the last GiB, where the window begins
.set window_tables_frame_pae, 5

.section .boot, "ax"
.code32
.globl _start
_start:
    record_entry_state

    movl $PHYSICAL(page_tables_start), %esi
    call choose_paging
    testl $cr4_physical_address_extension, %ebp
    jnz 1f
    call build_tables
    jmp 2f
1:  call build_tables_pae
2:  movl %ebp, %cr4                     # before paging is on: PAE cannot be changed afterwards
    movl %esi, %cr3
    movl %cr0, %eax
    andl $~(cr0_emulation | cr0_task_switched | cr0_alignment_mask), %eax
    orl $(cr0_paging | cr0_write_protect), %eax     # WP: ring 0 honours read-only pages
    movl %eax, %cr0
    movl $high, %eax
    jmp *%eax

# What CR4 is to be, in EBP: with PAE if the first module begins with a program's header that says
# so. Nobody has checked any of these pointers; without paging every address can be read, as long
# as nothing wraps at 4 GiB.
choose_paging:
    xorl %ebp, %ebp
    cmpl $MULTIBOOT_BOOTLOADER_MAGIC, PHYSICAL(entry_state) + 0
    jne 1f
    movl PHYSICAL(entry_state) + 4, %ebx
    cmpl $-116, %ebx                    # bytes of the Multiboot information
    ja 1f
    testl $8, (%ebx)                    # flags: there are modules
    jz 1f
    cmpl $0, 20(%ebx)                   # how many
    je 1f
    movl 24(%ebx), %ebx                 # their list
    cmpl $-16, %ebx
    ja 1f
    movl 4(%ebx), %eax                  # the first one's end
    movl (%ebx), %ebx                   # and start
    subl %ebx, %eax
    jb 1f
    cmpl $PROGRAM_HEADER_SIZE, %eax
    jb 1f
    cmpl $PROGRAM_MAGIC, PROGRAM_OFFSET_MAGIC(%ebx)
    jne 1f
    testl $PROGRAM_FLAG_PAE, PROGRAM_OFFSET_FLAGS(%ebx)
    jz 1f
    movl $cr4_physical_address_extension, %ebp
1:  ret

# The tables of the window, and the entries above them: at its address, and for the time being at
# 0 as well. ESI is the physical address of the region.
build_tables:
    movl $4, %edx
    leal window_tables_frame * FRAME_SIZE(%esi), %edi
    movl $page_present_writable, %eax
    movl $window_pages, %ecx
    call write_entries
    movl %esi, %edi
    leal window_tables_frame * FRAME_SIZE + page_present_writable(%esi), %eax
    movl $window_tables, %ecx
    call write_entries
    leal window_directory_entry * 4(%esi), %edi
    leal window_tables_frame * FRAME_SIZE + page_present_writable(%esi), %eax
    movl $window_tables, %ecx
    jmp write_entries

build_tables_pae:
    movl $8, %edx
    movl %esi, %edi
    leal first_directory_frame_pae * FRAME_SIZE + page_present(%esi), %eax
    movl $4, %ecx
    call write_entries
    leal window_tables_frame_pae * FRAME_SIZE(%esi), %edi
    movl $page_present_writable, %eax
    movl $window_pages, %ecx
    call write_entries
    leal first_directory_frame_pae * FRAME_SIZE(%esi), %edi
    leal window_tables_frame_pae * FRAME_SIZE + page_present_writable(%esi), %eax
    movl $window_tables_pae, %ecx
    call write_entries
    leal last_directory_frame_pae * FRAME_SIZE(%esi), %edi
    leal window_tables_frame_pae * FRAME_SIZE + page_present_writable(%esi), %eax
    movl $window_tables_pae, %ecx

# ECX entries of EDX bytes from EDI up, for frames in order; EAX is the first. The upper halves of
# entries of 8 bytes stay 0, which the loader has filled the region with.
write_entries:
    movl %eax, (%edi)
    addl $FRAME_SIZE, %eax
    addl %edx, %edi
    loop write_entries
    ret

.section .text.entry, "ax"
high:
    # The loader's descriptor table is not mapped any more once the low entries are gone.
    lgdtl descriptor_table_register
    ljmpl $SELECTOR_KERNEL_CODE, $1f
1:  movw $SELECTOR_KERNEL_DATA, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl $boot_stack_top, %esp
    # The low entries: of the directory of the first GiB, or of the only one.
    movl $page_tables_start, %edi
    testl $cr4_physical_address_extension, %ebp
    jz 2f
    addl $first_directory_frame_pae * FRAME_SIZE, %edi
2:  movl $window_tables_pae * 8 / 4, %ecx
    xorl %eax, %eax
    rep stosl
    movl %cr3, %eax
    movl %eax, %cr3
    xorl %ebp, %ebp
    call kernel_main
3:  hlt
    jmp 3b

.section .rodata.descriptor_table_register, "a"
descriptor_table_register:
    .word SELECTOR_BEYOND - 1
    .long descriptor_table
.section .note.GNU-stack, "", @progbits
