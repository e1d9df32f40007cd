// What tasks have in registers and on the stack, in 32-bit code (tasks.S).
#pragma once

#include "constants.h"
#include "core/task_processor.hpp"

#include <cstddef>
#include <cstdint>

extern "C" const std::byte start_task[];

namespace x86 {

// A pattern of 32 bits, as wide as a register.
constexpr std::uintptr_t widened(std::uint32_t pattern) {
    return pattern;
}

// The registers that only this architecture has.
struct OtherRegisters {
    void fill(std::uint32_t) {}
    [[nodiscard]] bool match(const OtherRegisters&) const { return true; }
};

// What a task that has never run has on its stack, as if it had been left.
struct TaskStart {
    explicit TaskStart(core::TaskEntry& task) : entry(&task) {}

    std::uint32_t gs = SELECTOR_KERNEL_DATA, fs = SELECTOR_KERNEL_DATA;
    std::uint32_t edi = 0, esi = 0, ebx = 0, ebp = 0, eflags = EFLAGS_CLEAR;
    const std::byte* eip = start_task;
    core::TaskEntry* entry; // the argument of `enter_task`
};

} // namespace x86
