#include "core/probe_area.hpp"

#include "core/features.hpp"

namespace core {

namespace {

using protocol::paging_level;
using protocol::rejection;
using protocol::rights_flag;

constexpr std::uint32_t arena_size = protocol::arena_frames * protocol::frame_size;
constexpr std::uint32_t slot_mask = protocol::probe_slot_size - 1;
static_assert((protocol::area::probe & slot_mask) == 0);

constexpr std::uint32_t cr4_page_size_extensions = 1 << 4;

constexpr Entry granted_bits = entry::writable | entry::user | entry::no_execute;

Entry bits_of(std::uint8_t rights) {
    return (has(rights, rights_flag::writable) ? entry::writable : 0) |
           (has(rights, rights_flag::user) ? entry::user : 0) |
           (has(rights, rights_flag::no_execute) ? entry::no_execute : 0);
}

// Bits [first, end) of an entry, all of whose bounds are known to the compiler: the kernel lacks
// the library that shifts 64 bits by a variable.
template <unsigned first, unsigned end> constexpr Entry bits() {
    static_assert(first < end && end <= 64);
    return (~Entry{0} >> (64 - (end - first))) << first;
}

} // namespace

bool ProbeArea::contains(LinearAddress address, std::uint32_t size) {
    const LinearAddress offset = address - protocol::area::probe;
    if (offset >= protocol::probe_slots * protocol::probe_slot_size)
        return false;
    return LinearRange{0, arena_size}.contains(offset & slot_mask, size);
}

ProbeArea::Rejection ProbeArea::map(LinearAddress address, std::uint32_t frame,
                                    std::uint8_t rights) {
    const bool large = has(rights, rights_flag::large_page);
    if (!can_give(rights))
        return rejection::bad_value;
    if (!contains(address, 1))
        return rejection::bad_address;
    if (frame >= protocol::arena_frames || (large && frame != 0))
        return rejection::bad_frame;
    if (large && (address & slot_mask) != 0)
        return rejection::bad_address;
    if (large && !has_large_pages_on())
        return rejection::no_feature;
    // A large page may be put over a table with pages in it.
    const auto obstacle = mapping_level(address);
    if (obstacle == paging_level::page_directory || (!large && obstacle))
        return rejection::already_mapped;
    const Entry page = (m_arena.value() + frame * protocol::frame_size) | bits_of(rights);
    if (large)
        m_space.write(paging_level::page_directory, address,
                      page | entry::page_size | entry::present);
    else
        m_space.write(paging_level::page_table, address, page | entry::present);
    return std::nullopt;
}

ProbeArea::Rejection ProbeArea::unmap(LinearAddress address) {
    if (!contains(address, 1))
        return rejection::bad_address;
    const auto level = mapping_level(address);
    if (!level)
        return rejection::not_mapped;
    const bool large = *level == paging_level::page_directory;
    m_space.write(*level, address, large ? m_space.table_entry(address) : 0);
    return std::nullopt;
}

ProbeArea::Rejection ProbeArea::protect(LinearAddress address, std::uint8_t rights) {
    if (!can_give(rights) || has(rights, rights_flag::large_page))
        return rejection::bad_value;
    if (!contains(address, 1))
        return rejection::bad_address;
    const auto level = mapping_level(address);
    if (!level)
        return rejection::not_mapped;
    const Entry kept = m_space.read(*level, address) & ~granted_bits;
    m_space.write(*level, address, kept | bits_of(rights));
    return std::nullopt;
}

ProbeArea::Rejection ProbeArea::write_entry(LinearAddress address, paging_level level, Entry clear,
                                            Entry set) {
    if (!contains(address, 1))
        return rejection::bad_address;
    if (!has_level(address, level))
        return rejection::bad_level;
    const Entry old = m_space.read(level, address);
    if (((clear | set) & ~writable_bits(level, old)) != 0)
        return rejection::bad_bits;
    m_space.write(level, address, (old & ~clear) | set);
    return std::nullopt;
}

Result<Entry, rejection> ProbeArea::read_entry(LinearAddress address, paging_level level) const {
    if (!contains(address, 1))
        return rejection::bad_address;
    if (!has_level(address, level))
        return rejection::bad_level;
    return m_space.read(level, address);
}

bool ProbeArea::has_large_page() const {
    // Only the first PDE of a slot can be one.
    for (std::uint32_t slot = 0; slot < protocol::probe_slots; ++slot) {
        const std::uint32_t start = protocol::area::probe + slot * protocol::probe_slot_size;
        if ((m_space.read(paging_level::page_directory, start) & entry::page_size) != 0)
            return true;
    }
    return false;
}

bool ProbeArea::can_give(std::uint8_t rights) const {
    if ((rights & ~protocol::every_rights_flag) != 0)
        return false;
    if (!has(rights, rights_flag::no_execute))
        return true;
    return has_wide_entries(m_space.mode()) && has(m_processor.features(), Feature::no_execute);
}

// SDM vol. 3, 4.3: with 32-bit paging, a PDE's PS flag counts only while CR4.PSE is set.
bool ProbeArea::has_large_pages_on() const {
    return has_wide_entries(m_space.mode()) ||
           (m_processor.control_registers().cr4 & cr4_page_size_extensions) != 0;
}

// PSE is never cleared while a PDE has PS: who sees the one flag need not ask for the other.
bool ProbeArea::is_large(LinearAddress address) const {
    constexpr Entry large = entry::present | entry::page_size;
    return (m_space.read(paging_level::page_directory, address) & large) == large;
}

// Where the entry is that maps the page at an address, if there is one.
std::optional<paging_level> ProbeArea::mapping_level(LinearAddress address) const {
    if (is_large(address))
        return paging_level::page_directory;
    if ((m_space.read(paging_level::page_table, address) & entry::present) != 0)
        return paging_level::page_table;
    return std::nullopt;
}

bool ProbeArea::has_level(LinearAddress address, paging_level level) const {
    switch (level) {
    case paging_level::page_table:
        return !is_large(address);
    case paging_level::page_directory:
        return true;
    case paging_level::pointer_table:
        return m_space.mode() == PagingMode::pae;
    }
    return false;
}

// What programs may write: flags and reserved bits, but nothing that would map another frame, make
// a table a large page, or a large page a table.
Entry ProbeArea::writable_bits(paging_level level, Entry entry) const {
    constexpr Entry flags = bits<0, 7>() | bits<8, 12>();
    constexpr Entry upper = bits<40, 64>();
    const bool wide = has_wide_entries(m_space.mode());
    if (level == paging_level::pointer_table)
        return bits<0, 12>() | upper;
    Entry writable = wide ? flags | upper : flags;
    // Reserved in an entry that maps a large page (SDM vol. 3, 4.3, table 4-4; 4.4.2, table 4-9).
    if (level == paging_level::page_directory && (entry & entry::page_size) != 0)
        writable |= wide ? bits<13, 21>() : bits<21, 22>();
    return writable;
}

} // namespace core
