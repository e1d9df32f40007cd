// The boot loader's memory map, which may be anything: it is read entry by entry, with care.
#pragma once

#include "core/addresses.hpp"
#include "protocol.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace core {

struct MemoryRegion {
    static constexpr std::uint32_t available = 1;

    PhysicalAddress base;
    std::uint64_t length;
    std::uint32_t type;
    std::uint32_t entry_size; // as the entry says: without the size field itself

    [[nodiscard]] constexpr ByteRange bytes() const { return ByteRange::from_length(base, length); }
};

class MemoryMapReader {
public:
    // Nothing stands for a boot loader that reported no map.
    explicit MemoryMapReader(std::optional<std::span<const std::byte>> map);

    // The next entry, in the map's order; nothing at the end, or where the map is broken.
    [[nodiscard]] std::optional<MemoryRegion> next();

    // Once there is no next entry: why.
    [[nodiscard]] protocol::map_problem problem() const { return m_problem; }

private:
    std::optional<MemoryRegion> stop(protocol::map_problem problem);

    std::span<const std::byte> m_rest;
    protocol::map_problem m_problem;
};

} // namespace core
