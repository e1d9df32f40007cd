// The two tasks: the main one, and that of the double fault.
#pragma once

#include <cstdint>

namespace x86 {

// A 32-bit task state segment (SDM vol. 3, 8.2.1).
struct TaskState {
    std::uint32_t previous_task;
    std::uint32_t esp0, ss0, esp1, ss1, esp2, ss2;
    std::uint32_t cr3;
    std::uint32_t eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    std::uint32_t es, cs, ss, ds, fs, gs, local_descriptor_table;
    std::uint16_t debug_trap, permission_map;
};
static_assert(sizeof(TaskState) == 104);

// What the processor saves here when a task gate leads away, and loads when IRET leads back.
extern TaskState main_task;

} // namespace x86
