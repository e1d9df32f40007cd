# The Multiboot entry point: records the state the loader left, enters long mode, moves to the
# kernel's virtual addresses. Code before `high` runs at its physical address.

#include "arch/x86/entry.h"
#include "constants.h"
#include "protocol.h"

.set page_present_writable, 3
.set page_present_writable_user, 7
.set page_accessed, 1 << 5
.set window_tables, BOOT_KERNEL_WINDOW_SIZE / 0x200000

# Frames of the page table region (TRACE.md, "Address space").
.set probe_pointers_frame, 1
.set high_pointers_frame, 2
.set map_pointers_frame, 3
.set user_pointers_frame, 4
.set probe_directories_frame, 5
.set user_directory_frame, 7
.set kernel_directory_frame, 8
.set map_directory_frame, 9
.set window_tables_frame, 10

# Where the entries for an address are in the root table and in a pointer table.
#define ROOT_ENTRY(address) ((address >> 39 & 511) * 8)
#define POINTER_ENTRY(address) ((address >> 30 & 511) * 8)

.set efer_register, 0xC0000080
.set efer_long_mode, 1 << 8
.set efer_no_execute, 1 << 11
.set has_no_execute, 1 << 20            # CPUID.80000001H:EDX
.set no_execute, 1 << 31                # in the upper half of an entry

.section .boot, "ax"
.code32
.globl _start
_start:
    record_entry_state

    # With no such leaf the processor has no long mode either, and what follows is a triple fault.
    movl $0x80000001, %eax
    cpuid
    movl %edx, %ebp
    movl $efer_register, %ecx
    rdmsr
    orl $efer_long_mode, %eax
    testl $has_no_execute, %ebp
    jz 1f
    orl $efer_no_execute, %eax
1:  wrmsr
    movl $PHYSICAL(page_tables_start), %esi
    call build_tables
    movl $cr4_physical_address_extension, %eax
    movl %eax, %cr4
    movl %esi, %cr3
    movl %cr0, %eax
    andl $~(cr0_emulation | cr0_task_switched | cr0_alignment_mask), %eax
    orl $(cr0_paging | cr0_write_protect), %eax     # WP: ring 0 honours read-only pages
    movl %eax, %cr0
    # Long mode is active, in a 32-bit segment (SDM vol. 3, 10.8.5).
    lgdtl low_table_register
    ljmpl $SELECTOR_KERNEL_CODE, $long_mode

# The tables of the window, the entries above them, and above all other tables. ESI is the physical
# address of the region, which the loader has filled with 0. EBP: the processor's features.
build_tables:
    leal window_tables_frame * FRAME_SIZE(%esi), %edi
    movl $page_present_writable, %eax
    movl $window_pages, %ecx
    call write_entries
    leal kernel_directory_frame * FRAME_SIZE(%esi), %edi
    leal window_tables_frame * FRAME_SIZE + page_present_writable(%esi), %eax
    movl $window_tables, %ecx
    call write_entries
    # The physical map has the same tables, and is never executed: its entry in the root table says
    # so for all of it.
    leal map_directory_frame * FRAME_SIZE(%esi), %edi
    leal window_tables_frame * FRAME_SIZE + page_present_writable(%esi), %eax
    movl $window_tables, %ecx
    call write_entries
    leal map_directory_frame * FRAME_SIZE + page_present_writable(%esi), %eax
    movl %eax, map_pointers_frame * FRAME_SIZE(%esi)
    leal map_pointers_frame * FRAME_SIZE + page_present_writable(%esi), %eax
    movl %eax, 256 * 8(%esi)
    testl $has_no_execute, %ebp
    jz 1f
    movl $no_execute, 256 * 8 + 4(%esi)
1:  leal kernel_directory_frame * FRAME_SIZE + page_present_writable(%esi), %eax
    movl %eax, high_pointers_frame * FRAME_SIZE + 511 * 8(%esi)
    leal high_pointers_frame * FRAME_SIZE + page_present_writable(%esi), %eax
    movl %eax, 511 * 8(%esi)
    leal probe_pointers_frame * FRAME_SIZE + POINTER_ENTRY(AREA_PROBE)(%esi), %edi
    leal probe_directories_frame * FRAME_SIZE + page_present_writable_user(%esi), %eax
    movl $PROBE_SLOTS, %ecx
    call write_entries
    leal probe_pointers_frame * FRAME_SIZE + page_present_writable_user(%esi), %eax
    movl %eax, ROOT_ENTRY(AREA_PROBE)(%esi)
    leal user_directory_frame * FRAME_SIZE + page_present_writable_user(%esi), %eax
    movl %eax, user_pointers_frame * FRAME_SIZE + POINTER_ENTRY(AREA_USER)(%esi)
    leal user_pointers_frame * FRAME_SIZE + page_present_writable_user(%esi), %eax
    movl %eax, ROOT_ENTRY(AREA_USER)(%esi)
    # For the time being, physical memory is at 0 as well, below the probe area.
    leal map_directory_frame * FRAME_SIZE + page_present_writable(%esi), %eax
    movl %eax, probe_pointers_frame * FRAME_SIZE(%esi)
    ret

# ECX entries from EDI up, for frames in order; EAX is the first.
write_entries:
    movl %eax, (%edi)
    addl $FRAME_SIZE, %eax
    addl $8, %edi
    loop write_entries
    ret

.code64
long_mode:
    movq $high, %rax
    jmp *%rax

.balign 8
low_table_register:
    .word SELECTOR_BEYOND - 1
    .long PHYSICAL(descriptor_table)

.section .text.entry, "ax"
.code64
high:
    # The loader's descriptor table, and where ours was just now, will not be mapped any more.
    lgdt descriptor_table_register
    movl $SELECTOR_KERNEL_DATA, %eax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movq $boot_stack_top, %rsp
    movq $0, page_tables_start + probe_pointers_frame * FRAME_SIZE
    # The entry above it was used until now, and the processor has left its mark.
    andb $~page_accessed, page_tables_start + ROOT_ENTRY(AREA_PROBE)
    movq %cr3, %rax
    movq %rax, %cr3
    xorl %ebp, %ebp
    call kernel_main
1:  hlt
    jmp 1b

.section .rodata.descriptor_table_register, "a"
descriptor_table_register:
    .word SELECTOR_BEYOND - 1
    .quad descriptor_table
.section .note.GNU-stack, "", @progbits
