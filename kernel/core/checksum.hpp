// Fletcher's sum over 32-bit words (TRACE.md, "Checksums").
#pragma once

#include <cstdint>
#include <span>

namespace core {

// Only the bits of `mask` count.
[[nodiscard]] constexpr std::uint64_t checksum(std::span<const std::uint32_t> words,
                                               std::uint32_t mask) {
    std::uint32_t sum = 0;
    std::uint32_t sum_of_sums = 0;
    for (const std::uint32_t word : words) {
        sum += word & mask;
        sum_of_sums += sum;
    }
    return std::uint64_t{sum_of_sums} << 32 | sum;
}

} // namespace core
