# The kernel's large static memory, between symbols that the harness reads from outside.

#include "protocol.h"

.set trace_bytes, 256 * 1024
#ifdef __x86_64__
.set page_table_frames, 25
#else
.set page_table_frames, 22              # with PAE; 32-bit paging needs 10
#endif
.set boot_stack_bytes, 4 * FRAME_SIZE
.set fault_stack_bytes, 4 * FRAME_SIZE

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

# What the entry code records, and where it and `kernel_main` run.
.section .bss.entry, "aw", @nobits
.balign 16
.globl entry_state, boot_stack_top
entry_state:
    .skip 32
.balign 16
    .skip boot_stack_bytes
boot_stack_top:

# Probes run here, and so do the handlers of their faults.
.section .bss.probe_stack, "aw", @nobits
.balign 4096
.globl probe_stack_start, probe_stack_end
probe_stack_start:
    .skip fault_stack_bytes
probe_stack_end:

# The only page of the kernel that user-mode code can write to.
.section .bss.user_stack, "aw", @nobits
.balign 4096
.globl user_stack_start, user_stack_end
user_stack_start:
    .skip FRAME_SIZE
user_stack_end:

# Where the idle task runs.
.section .bss.idle_stack, "aw", @nobits
.balign 16
.globl idle_stack_start, idle_stack_end
idle_stack_start:
    .skip FRAME_SIZE
idle_stack_end:

# Where the handlers of faults in ring 3 run, and of those that have a stack, or a task, of their own.
.section .bss.fault_stacks, "aw", @nobits
.balign 16
.globl ring3_fault_stack_end, double_fault_stack_end
    .skip fault_stack_bytes
ring3_fault_stack_end:
    .skip fault_stack_bytes
double_fault_stack_end:
#ifdef __x86_64__
.globl page_fault_stack_end, nmi_stack_end
    .skip fault_stack_bytes
page_fault_stack_end:
    .skip fault_stack_bytes
nmi_stack_end:
#endif

.section .page_tables, "aw", @nobits
.balign 4096
    .skip page_table_frames * FRAME_SIZE

.section .trace_buffer, "aw", @nobits
.balign 4096
    .skip trace_bytes

.section .task_stacks, "aw", @nobits
.balign 4096
    .skip MAXIMUM_STACKS * TASK_STACK_SIZE

.section .probe_arena, "aw", @nobits
.balign 4096
    .skip ARENA_FRAMES * FRAME_SIZE
.section .note.GNU-stack, "", @progbits
