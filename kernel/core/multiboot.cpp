#include "core/multiboot.hpp"

#include "core/unaligned.hpp"

namespace core {

namespace {

// Section 3.3. The kernel needs none of the fields that are not named.
struct [[gnu::packed]] Information {
    std::uint32_t flags;
    std::byte before_modules[16];
    std::uint32_t module_count;
    std::uint32_t module_list;
    std::byte before_map[16];
    std::uint32_t map_length;
    std::uint32_t map_address;
    std::byte after_map[64];
};
static_assert(offsetof(Information, module_count) == 20);
static_assert(offsetof(Information, map_length) == 44);
static_assert(sizeof(Information) == 116);

struct [[gnu::packed]] Module {
    std::uint32_t start;
    std::uint32_t end;
    std::uint32_t string;
    std::uint32_t reserved;
};
static_assert(sizeof(Module) == 16);

constexpr std::uint32_t has_modules = 1 << 3;
constexpr std::uint32_t has_memory_map = 1 << 6;

} // namespace

MultibootInformation::MultibootInformation(const PhysicalWindow& window, PhysicalAddress address)
    : m_window(window), m_structure(ByteRange::from_length(address, sizeof(Information))) {
    if (!reach(m_structure))
        return;
    const auto information = load<Information>(m_window.bytes(m_structure).data());
    if ((information.flags & has_memory_map) != 0) {
        m_memory_map = ByteRange::from_length(PhysicalAddress(information.map_address),
                                              information.map_length);
        if (!reach(*m_memory_map))
            return;
    }
    if ((information.flags & has_modules) != 0 && information.module_count != 0) {
        m_module_list =
            ByteRange::from_length(PhysicalAddress(information.module_list),
                                   std::uint64_t{information.module_count} * sizeof(Module));
        if (!reach(*m_module_list))
            return;
    }
    for (std::uint32_t index = 0; index < module_count(); ++index) {
        if (!reach(module(index)))
            return;
    }
}

std::optional<std::span<const std::byte>> MultibootInformation::memory_map_bytes() const {
    return m_memory_map ? std::optional(m_window.bytes(*m_memory_map)) : std::nullopt;
}

std::uint32_t MultibootInformation::module_count() const {
    static_assert((sizeof(Module) & (sizeof(Module) - 1)) == 0, "or this is a 64-bit division");
    return m_module_list ? static_cast<std::uint32_t>(m_module_list->size() / sizeof(Module)) : 0;
}

ByteRange MultibootInformation::module(std::uint32_t index) const {
    const auto list = m_window.bytes(*m_module_list);
    const auto entry = load<Module>(list.subspan(index * sizeof(Module)).data());
    return {PhysicalAddress(entry.start), PhysicalAddress(entry.end)};
}

std::span<const std::byte> MultibootInformation::module_bytes(std::uint32_t index) const {
    return m_window.bytes(module(index));
}

bool MultibootInformation::reach(const ByteRange& range) {
    if (m_window.reaches(range))
        return true;
    m_out_of_reach = range.start;
    return false;
}

} // namespace core
