// The Multiboot information (version 0.6.96): what of it the kernel uses, and where it lies.
#pragma once

#include "core/addresses.hpp"
#include "core/physical_window.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace core {

class MultibootInformation {
public:
    // Follows the pointers from the information structure on, as far as the window reaches.
    MultibootInformation(const PhysicalWindow& window, PhysicalAddress address);

    // Where the first object starts that is not wholly inside the window. If there is one, nothing
    // else here may be asked.
    [[nodiscard]] std::optional<PhysicalAddress> out_of_reach() const { return m_out_of_reach; }

    [[nodiscard]] const ByteRange& structure() const { return m_structure; }
    [[nodiscard]] const std::optional<ByteRange>& memory_map() const { return m_memory_map; }
    [[nodiscard]] std::optional<std::span<const std::byte>> memory_map_bytes() const;

    // The list of modules; nothing if there is no module.
    [[nodiscard]] const std::optional<ByteRange>& module_list() const { return m_module_list; }
    [[nodiscard]] std::uint32_t module_count() const;
    [[nodiscard]] ByteRange module(std::uint32_t index) const;
    [[nodiscard]] std::span<const std::byte> module_bytes(std::uint32_t index) const;

private:
    // Whether the window reaches a range; if not, it is the one that is out of reach.
    bool reach(const ByteRange& range);

    PhysicalWindow m_window;
    ByteRange m_structure;
    std::optional<ByteRange> m_memory_map;
    std::optional<ByteRange> m_module_list;
    std::optional<PhysicalAddress> m_out_of_reach;
};

} // namespace core
