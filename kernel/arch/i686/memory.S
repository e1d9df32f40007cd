# The kernel's large static memory, between symbols that the harness reads from outside.

#include "protocol.h"

.set trace_bytes, 256 * 1024

.section .bitmaps, "aw", @nobits
.balign 4096
.globl frame_bitmap_start, frame_bitmap_end
frame_bitmap_start:
    .skip FRAME_COUNT / 8
frame_bitmap_end:

.section .bitmaps, "aw", @nobits
.balign 4096
.globl frame_owned_start, frame_owned_end
frame_owned_start:
    .skip FRAME_COUNT / 8
frame_owned_end:

# The page directory, then the page tables of the kernel window.
.section .page_tables, "aw", @nobits
.balign 4096
    .skip 4096 + BOOT_KERNEL_WINDOW_SIZE / 0x400000 * 4096

.section .trace_buffer, "aw", @nobits
.balign 4096
    .skip trace_bytes
.section .note.GNU-stack, "", @progbits
