// Linear addresses, and ranges of them.
#pragma once

#include <cstdint>

namespace core {

// As wide as the widest image has them. Arithmetic on it must not wrap at 2^32, so that what a
// 32-bit image cannot reach is found outside of every range.
using LinearAddress = std::uint64_t;

// Linear addresses [start, end). The last byte of the address space cannot be inside.
struct LinearRange {
    LinearAddress start;
    LinearAddress end;

    // Whether `size` bytes from an address up, at least one, are all inside. An access that goes
    // past the end of the address space is not.
    [[nodiscard]] constexpr bool contains(LinearAddress address, std::uint32_t size) const {
        return start <= address && address < end && size <= end - address;
    }

    // Whether a stack that fills the range can have its stack pointer here: a stack pointer that
    // is at the end has nothing on the stack; one at the start is below all of it.
    [[nodiscard]] constexpr bool is_stack_of(LinearAddress stack_pointer) const {
        return start < stack_pointer && stack_pointer <= end;
    }
};

} // namespace core
