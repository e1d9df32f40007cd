// The part of physical memory that the kernel can read.
#pragma once

#include "core/addresses.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace core {

class PhysicalWindow {
public:
    // `start` is where physical address 0 appears.
    constexpr PhysicalWindow(const std::byte* start, std::uint32_t size)
        : m_start(start), m_size(size) {}

    // Whether a range is one (it does not end before it starts) and lies wholly inside.
    [[nodiscard]] constexpr bool reaches(const ByteRange& range) const {
        return range.start <= range.end && range.end.value() <= m_size;
    }

    // The bytes of a range that the window reaches.
    [[nodiscard]] constexpr std::span<const std::byte> bytes(const ByteRange& range) const {
        return {m_start + static_cast<std::uint32_t>(range.start.value()),
                static_cast<std::uint32_t>(range.size())};
    }

private:
    const std::byte* m_start;
    std::uint32_t m_size;
};

} // namespace core
