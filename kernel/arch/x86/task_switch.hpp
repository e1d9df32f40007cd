// What a switch of tasks has in registers (tasks.S).
#pragma once

#include "arch/x86/constants.h"
#include "task_registers.hpp"

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace x86 {

// What a switch saves and loads, and the registers around it: a pattern before, and what is there
// when the task runs again.
struct TaskSwitch {
    std::uintptr_t* save;
    const std::uintptr_t* load;
    std::uintptr_t ebx, esi, edi, ebp, eflags, fs, gs;
    [[no_unique_address]] OtherRegisters others;
};
static_assert(offsetof(TaskSwitch, save) == SWITCH_SAVE);
static_assert(offsetof(TaskSwitch, load) == SWITCH_LOAD);
static_assert(offsetof(TaskSwitch, ebx) == SWITCH_EBX);
static_assert(offsetof(TaskSwitch, esi) == SWITCH_ESI);
static_assert(offsetof(TaskSwitch, edi) == SWITCH_EDI);
static_assert(offsetof(TaskSwitch, ebp) == SWITCH_EBP);
static_assert(offsetof(TaskSwitch, eflags) == SWITCH_EFLAGS);
static_assert(offsetof(TaskSwitch, fs) == SWITCH_FS);
static_assert(offsetof(TaskSwitch, gs) == SWITCH_GS);
static_assert(std::is_empty_v<OtherRegisters> || offsetof(TaskSwitch, others) == SWITCH_OTHERS);

} // namespace x86
