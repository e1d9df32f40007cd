// The descriptor tables and the two tasks: the main one, and that of the double fault.
#pragma once

#include "protocol.hpp"

#include <cstdint>

namespace i686 {

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

// Loads the tables and the task register.
void install_descriptors();

// Makes selector_probe a writable 32-bit data segment of DPL 0.
//   limit: effective, in bytes; from 2^20 up its low 12 bits are all 1.
void describe_probe_segment(std::uint32_t base, std::uint32_t limit, bool expand_down);

enum class GatePresence { absent, present };

void set_gate_presence(protocol::exception vector, GatePresence presence);

// LIDT with limit 0, then UD2.
void shut_down();

} // namespace i686
