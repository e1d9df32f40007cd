// What programs map, and the checks that keep it harmless (TRACE.md, "Operations on paging").
#pragma once

#include "core/address_space.hpp"
#include "core/features.hpp"
#include "core/processor.hpp"
#include "core/result.hpp"
#include "protocol.hpp"

#include <cstdint>
#include <optional>

namespace core {

class ProbeArea {
public:
    // Why nothing was done; nothing if it was.
    using Rejection = std::optional<protocol::rejection>;

    ProbeArea(AddressSpace& space, const Processor& processor, PhysicalAddress arena)
        : m_space(space), m_processor(processor), m_arena(arena),
          m_has_huge_pages(space.mode() == PagingMode::four_level &&
                           has(processor.features(), Feature::huge_pages)) {}

    [[nodiscard]] PagingMode mode() const { return m_space.mode(); }

    // Whether all bytes of an access are probeable.
    [[nodiscard]] static bool contains(LinearAddress address, std::uint32_t size);

    // None of these invalidates anything. `rights` are bits of rights_flag.
    [[nodiscard]] Rejection map(LinearAddress address, std::uint32_t frame, std::uint8_t rights);
    [[nodiscard]] Rejection unmap(LinearAddress address);
    [[nodiscard]] Rejection protect(LinearAddress address, std::uint8_t rights);

    // The entry becomes `(entry & ~clear) | set`.
    [[nodiscard]] Rejection write_entry(LinearAddress address, protocol::paging_level level,
                                        Entry clear, Entry set);
    [[nodiscard]] Result<Entry, protocol::rejection> read_entry(LinearAddress address,
                                                                protocol::paging_level level) const;

    // Whether a PDE of the area, present or not, has the flag that makes it map a large page.
    [[nodiscard]] bool has_large_page() const;

private:
    [[nodiscard]] bool can_give(std::uint8_t rights) const;
    [[nodiscard]] bool has_large_pages_on() const;
    [[nodiscard]] bool maps_page(protocol::paging_level level, LinearAddress address) const;
    [[nodiscard]] std::optional<protocol::paging_level> mapping_level(LinearAddress address) const;
    [[nodiscard]] bool has_level(LinearAddress address, protocol::paging_level level) const;
    [[nodiscard]] Entry writable_bits(protocol::paging_level level, Entry entry) const;

    AddressSpace& m_space;
    const Processor& m_processor;
    PhysicalAddress m_arena;
    bool m_has_huge_pages;
};

} // namespace core
