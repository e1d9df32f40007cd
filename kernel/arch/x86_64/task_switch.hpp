// What a switch of tasks has on the stack and in registers, in 64-bit code (tasks.S).
#pragma once

#include "constants.h"
#include "core/task_processor.hpp"

#include <cstddef>
#include <cstdint>

extern "C" const std::byte start_task[];

namespace x86 {

// A pattern of 32 bits, as wide as a register.
constexpr std::uintptr_t widened(std::uint32_t pattern) {
    return std::uintptr_t{pattern} << 32 | pattern;
}

// What a switch saves and loads, and the registers around it: a pattern before, and what is there
// when the task runs again.
struct TaskSwitch {
    std::uintptr_t* save;
    const std::uintptr_t* load;
    std::uintptr_t ebx, esi, edi, ebp, eflags, fs, gs;
    std::uintptr_t r8_to_r15[8];

    // The registers that only this architecture has.
    void fill_others(std::uint32_t number) {
        for (std::uint32_t index = 0; index < 8; ++index)
            r8_to_r15[index] = widened(core::register_pattern(number, 5 + index));
    }
    [[nodiscard]] bool has_others_of(const TaskSwitch& other) const {
        for (std::uint32_t index = 0; index < 8; ++index)
            if (r8_to_r15[index] != other.r8_to_r15[index])
                return false;
        return true;
    }
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
static_assert(offsetof(TaskSwitch, r8_to_r15) == SWITCH_R8);

// What a task that has never run has on its stack, as if it had been left.
struct TaskStart {
    explicit TaskStart(core::TaskEntry& task) : entry(&task) {}

    std::uint64_t gs = SELECTOR_KERNEL_DATA, fs = SELECTOR_KERNEL_DATA;
    std::uint64_t r15_to_r8[8] = {};
    std::uint64_t rdi = 0, rsi = 0, rbx = 0, rbp = 0, rflags = EFLAGS_CLEAR;
    const std::byte* rip = start_task;
    core::TaskEntry* entry; // the argument of `enter_task`
};

} // namespace x86
