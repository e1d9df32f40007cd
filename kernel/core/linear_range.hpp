// Ranges of linear addresses.
#pragma once

#include <cstdint>

namespace core {

// Linear addresses [start, end). The last byte of the address space cannot be inside.
struct LinearRange {
    std::uint32_t start;
    std::uint32_t end;

    // Whether `size` bytes from an address up, at least one, are all inside. An access that goes
    // past the end of the address space is not.
    [[nodiscard]] constexpr bool contains(std::uint32_t address, std::uint32_t size) const {
        return start <= address && address < end && size <= end - address;
    }

    // Whether a stack that fills the range can have its stack pointer here: a stack pointer that
    // is at the end has nothing on the stack; one at the start is below all of it.
    [[nodiscard]] constexpr bool is_stack_of(std::uint32_t stack_pointer) const {
        return start < stack_pointer && stack_pointer <= end;
    }
};

} // namespace core
