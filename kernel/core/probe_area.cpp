#include "core/probe_area.hpp"

namespace core {

namespace {

using protocol::paging_level;
using protocol::rejection;
using protocol::rights_flag;

constexpr std::uint32_t arena_size = protocol::arena_frames * protocol::frame_size;
constexpr std::uint32_t slot_mask = protocol::probe_slot_size - 1;

// From the start of the slot that an address is in.
constexpr std::uint32_t offset_in_slot(LinearAddress address) {
    return static_cast<std::uint32_t>(address - protocol::area::probe) & slot_mask;
}

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
    return LinearRange{0, arena_size}.contains(offset_in_slot(address), size);
}

ProbeArea::Rejection ProbeArea::map(LinearAddress address, std::uint32_t frame,
                                    std::uint8_t rights) {
    const bool large = has(rights, rights_flag::large_page);
    const bool huge = has(rights, rights_flag::huge_page);
    if (!can_give(rights) || (large && huge))
        return rejection::bad_value;
    if (!contains(address, 1))
        return rejection::bad_address;
    if (frame >= protocol::arena_frames || ((large || huge) && frame != 0))
        return rejection::bad_frame;
    if ((large || huge) && offset_in_slot(address) != 0)
        return rejection::bad_address;
    if ((large && !has_large_pages_on()) || (huge && !m_has_huge_pages))
        return rejection::no_feature;
    const auto level = huge    ? paging_level::pointer_table
                       : large ? paging_level::page_directory
                               : paging_level::page_table;
    // A large or a huge page may be put over tables with pages in them.
    const auto obstacle = mapping_level(address);
    if (obstacle && *obstacle >= level)
        return rejection::already_mapped;
    // The slot is where a huge page over physical address 0 shows the arena.
    const std::uint64_t page = huge ? 0 : m_arena.value() + frame * protocol::frame_size;
    const Entry size = large || huge ? entry::page_size : 0;
    m_space.write(level, address, page | size | bits_of(rights) | entry::present);
    return std::nullopt;
}

ProbeArea::Rejection ProbeArea::unmap(LinearAddress address) {
    if (!contains(address, 1))
        return rejection::bad_address;
    const auto level = mapping_level(address);
    if (!level)
        return rejection::not_mapped;
    const bool small = *level == paging_level::page_table;
    m_space.write(*level, address, small ? 0 : m_space.table_entry(*level, address));
    return std::nullopt;
}

ProbeArea::Rejection ProbeArea::protect(LinearAddress address, std::uint8_t rights) {
    if (!can_give(rights) || has(rights, rights_flag::large_page) ||
        has(rights, rights_flag::huge_page))
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
        const LinearAddress start = protocol::area::probe + slot * protocol::probe_slot_size;
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

// Whether the entry of a level above the page tables maps a page. PSE is never cleared while a PDE
// has PS: who sees the one flag need not ask for the other.
bool ProbeArea::maps_page(paging_level level, LinearAddress address) const {
    if (level == paging_level::pointer_table && !m_has_huge_pages)
        return false;
    constexpr Entry large = entry::present | entry::page_size;
    return (m_space.read(level, address) & large) == large;
}

// Where the entry is that maps the page at an address, if there is one.
std::optional<paging_level> ProbeArea::mapping_level(LinearAddress address) const {
    for (const auto level : {paging_level::pointer_table, paging_level::page_directory}) {
        if (maps_page(level, address))
            return level;
    }
    if ((m_space.read(paging_level::page_table, address) & entry::present) != 0)
        return paging_level::page_table;
    return std::nullopt;
}

bool ProbeArea::has_level(LinearAddress address, paging_level level) const {
    const PagingMode mode = m_space.mode();
    switch (level) {
    case paging_level::page_table:
        return !maps_page(paging_level::pointer_table, address) &&
               !maps_page(paging_level::page_directory, address);
    case paging_level::page_directory:
        return !maps_page(paging_level::pointer_table, address);
    case paging_level::pointer_table:
        return mode == PagingMode::pae || mode == PagingMode::four_level;
    case paging_level::root_table:
        return mode == PagingMode::four_level;
    }
    return false;
}

// What programs may write: flags and reserved bits, but nothing that would map another frame, make
// a table a large page, or a large page a table.
Entry ProbeArea::writable_bits(paging_level level, Entry entry) const {
    constexpr Entry flags = bits<0, 7>() | bits<8, 12>();
    constexpr Entry upper = bits<40, 64>();
    const bool wide = has_wide_entries(m_space.mode());
    const bool has_page_size = (entry & entry::page_size) != 0;
    const Entry usual = wide ? flags | upper : flags;
    switch (level) {
    case paging_level::page_table:
        break;
    case paging_level::page_directory:
        // Reserved in an entry that maps a large page (SDM vol. 3, 4.3, table 4-4; 4.4.2, table
        // 4-9).
        if (has_page_size)
            return usual | (wide ? bits<13, 21>() : bits<21, 22>());
        break;
    case paging_level::pointer_table:
        // Where it could map a huge page PS is not written; otherwise it is reserved, or ignored.
        if (!m_has_huge_pages)
            return usual | entry::page_size;
        // SDM vol. 3, 4.5, table 4-16.
        if (has_page_size)
            return usual | bits<13, 30>();
        break;
    case paging_level::root_table:
        return usual | entry::page_size; // reserved: 4.5, table 4-15
    }
    return usual;
}

} // namespace core
