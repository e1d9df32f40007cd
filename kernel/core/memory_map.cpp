#include "core/memory_map.hpp"

#include "core/unaligned.hpp"

namespace core {

namespace {

// Multiboot 0.6.96, section 3.3: `size` is at -4 there, and does not count itself.
struct [[gnu::packed]] Entry {
    std::uint32_t size;
    std::uint64_t base;
    std::uint64_t length;
    std::uint32_t type;
};
constexpr std::uint32_t size_field = sizeof(std::uint32_t);
constexpr std::uint32_t smallest_size = sizeof(Entry) - size_field;
static_assert(smallest_size == 20);

} // namespace

MemoryMapReader::MemoryMapReader(std::optional<std::span<const std::byte>> map)
    : m_problem(map ? protocol::map_problem::none : protocol::map_problem::absent) {
    if (map)
        m_rest = *map;
}

std::optional<MemoryRegion> MemoryMapReader::next() {
    if (m_rest.empty())
        return std::nullopt;
    if (m_rest.size() < size_field)
        return stop(protocol::map_problem::truncated_entry);
    const auto size = load<std::uint32_t>(m_rest.data());
    if (size < smallest_size)
        return stop(protocol::map_problem::small_entry);
    // Not `size + size_field > m_rest.size()`: that sum can wrap.
    if (size > m_rest.size() - size_field)
        return stop(protocol::map_problem::truncated_entry);
    const auto entry = load<Entry>(m_rest.data());
    m_rest = m_rest.subspan(size_field + size);
    return MemoryRegion{PhysicalAddress(entry.base), entry.length, entry.type, size};
}

std::optional<MemoryRegion> MemoryMapReader::stop(protocol::map_problem problem) {
    m_problem = problem;
    m_rest = {};
    return std::nullopt;
}

} // namespace core
