// What the descriptor tables consist of, for what each architecture has in them of its own.
#pragma once

#include "arch/x86/constants.h"
#include "protocol.hpp"

#include <cstddef>
#include <cstdint>

namespace x86 {

// Bits 40 to 47 and 52 to 55 of a segment descriptor (SDM vol. 3, 3.4.5, 8.2.2 and 8.2.3).
namespace segment {
constexpr std::uint32_t accessed = 1;
constexpr std::uint32_t writable = 2;
constexpr std::uint32_t expand_down = 4;
constexpr std::uint32_t code = 0x1A;
constexpr std::uint32_t data = 0x10;
constexpr std::uint32_t available_task = 0x09;
constexpr std::uint32_t ring3 = 3 << 5;
constexpr std::uint32_t present = 1 << 7;
constexpr std::uint32_t is_64_bit = 1 << 13;
constexpr std::uint32_t is_32_bit = 1 << 14;
constexpr std::uint32_t in_pages = 1 << 15;
} // namespace segment

// Bits 40 to 47 of a gate (SDM vol. 3, 6.11 and 6.14.1).
namespace gate {
constexpr std::uint32_t task = 0x05; // not in long mode
constexpr std::uint32_t interrupt = 0x0E;
constexpr std::uint32_t ring3 = 3 << 5;
constexpr std::uint32_t present = 1 << 7;
} // namespace gate

// `limit` is what the field says: in bytes, or in pages.
constexpr std::uint64_t make_segment(std::uint32_t base, std::uint32_t limit,
                                     std::uint32_t attributes) {
    return (std::uint64_t{limit} & 0xFFFF) | (std::uint64_t{base} & 0xFFFFFF) << 16 |
           std::uint64_t{attributes} << 40 | (std::uint64_t{limit} >> 16 & 0xF) << 48 |
           (std::uint64_t{base} >> 24) << 56;
}

struct Gate {
    std::uint64_t low;
#ifdef __x86_64__
    std::uint64_t high;
#endif
};

constexpr Gate make_gate(std::uint32_t selector, std::uintptr_t offset, std::uint32_t attributes) {
    return {
        .low = (offset & 0xFFFF) | std::uint64_t{selector} << 16 | std::uint64_t{attributes} << 40 |
               std::uint64_t{offset >> 16 & 0xFFFF} << 48,
#ifdef __x86_64__
        .high = offset >> 32,
#endif
    };
}

inline constexpr std::size_t vector_count = protocol::vector_absent + 1;
extern Gate interrupt_table[vector_count];

[[nodiscard]] std::uint64_t& descriptor(std::uint32_t selector);

template <typename T> std::uintptr_t address_of(const T* object) {
    return reinterpret_cast<std::uintptr_t>(object);
}

// What each architecture fills in itself: its tasks, and the gates that it has of its own or whose
// handlers have a stack or a task of their own.
void fill_tasks();
void fill_own_gates();

} // namespace x86
