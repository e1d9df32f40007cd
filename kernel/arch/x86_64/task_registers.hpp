// What tasks have in registers and on the stack, in 64-bit code (tasks.S).
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

// The registers that only this architecture has.
struct OtherRegisters {
    std::uintptr_t r8_to_r15[8];

    void fill(std::uint32_t number) {
        for (std::uint32_t index = 0; index < 8; ++index)
            r8_to_r15[index] = widened(core::register_pattern(number, 5 + index));
    }
    [[nodiscard]] bool match(const OtherRegisters& expected) const {
        for (std::uint32_t index = 0; index < 8; ++index)
            if (r8_to_r15[index] != expected.r8_to_r15[index])
                return false;
        return true;
    }
};

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
