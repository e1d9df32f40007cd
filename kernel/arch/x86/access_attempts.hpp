// What the attempts that access memory share.
#pragma once

#include "arch/x86/attempts.hpp"
#include "arch/x86/faults.hpp"
#include "core/processor.hpp"

#include <cstddef>
#include <cstdint>

namespace x86 {

// What programs write: the end of a frame of the arena, which therefore remains what it was.
inline constexpr std::uint32_t frame_end = 0xC32E2E2E;

constexpr std::uintptr_t value_to_write(core::Access access) {
    constexpr std::uint64_t longest = 0xC32E2E2E'2E2E2E2E;
    const bool is_write = access.kind == protocol::access_kind::write;
    return is_write ? static_cast<std::uintptr_t>(longest >> (64 - 8 * access.size)) : 0;
}

inline std::uintptr_t probe_stack_top() {
    return reinterpret_cast<std::uintptr_t>(probe_stack_end);
}

inline constexpr std::uintptr_t user_stack_top = protocol::area::user + 2 * protocol::frame_size;

// The same attempt for accesses of 1, 2 and 4 bytes.
struct AccessCode {
    const std::byte* read[3];
    const std::byte* write[3];

    [[nodiscard]] const std::byte* of(core::Access access) const {
        const std::uint32_t index = access.size / 2;
        return access.kind == protocol::access_kind::read ? read[index] : write[index];
    }
};

inline core::Attempt run_access(const AttemptStart& start, protocol::access_kind kind) {
    const AttemptEnd end = attempt(start);
    if (end.faulted)
        return {protocol::attempt::faulted, 0};
    const bool has_value = kind == protocol::access_kind::read;
    return {protocol::attempt::done, has_value ? end.eax : 0};
}

} // namespace x86
