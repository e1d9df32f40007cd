// What a switch of tasks has on the stack and in registers, in 32-bit code (tasks.S).
#pragma once

#include "constants.h"
#include "core/task_processor.hpp"

#include <cstddef>
#include <cstdint>

extern "C" const std::byte start_task[];

namespace x86 {

// What a switch saves and loads, and the registers around it: a pattern before, and what is there
// when the task runs again.
struct TaskSwitch {
    std::uintptr_t* save;
    const std::uintptr_t* load;
    std::uintptr_t ebx, esi, edi, ebp, eflags, fs, gs;

    // The registers that only this architecture has.
    void fill_others(std::uint32_t) {}
    [[nodiscard]] bool has_others_of(const TaskSwitch&) const { return true; }
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

// A pattern of 32 bits, as wide as a register.
constexpr std::uintptr_t widened(std::uint32_t pattern) {
    return pattern;
}

// What a task that has never run has on its stack, as if it had been left.
struct TaskStart {
    explicit TaskStart(core::TaskEntry& task) : entry(&task) {}

    std::uint32_t gs = SELECTOR_KERNEL_DATA, fs = SELECTOR_KERNEL_DATA;
    std::uint32_t edi = 0, esi = 0, ebx = 0, ebp = 0, eflags = EFLAGS_CLEAR;
    const std::byte* eip = start_task;
    core::TaskEntry* entry; // the argument of `enter_task`
};

} // namespace x86
