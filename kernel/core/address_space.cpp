#include "core/address_space.hpp"

namespace core {

namespace {

using protocol::paging_level;

constexpr std::uint32_t frame_words = protocol::frame_size / sizeof(std::uint32_t);
constexpr std::uint32_t stack_area_size = protocol::maximum_stacks * protocol::task_stack_size;
// Inside an area, for which 32 bits are always enough.
constexpr std::uint32_t offset_in(LinearAddress area, LinearAddress address) {
    return static_cast<std::uint32_t>(address - area);
}

constexpr std::uint32_t probe_area_size = protocol::probe_slots * protocol::probe_slot_size;

} // namespace

AddressSpace::AddressSpace(const KernelMemory& memory, const ImageLayout& layout, PagingMode mode,
                           Entry no_execute)
    : m_words(memory.page_tables), m_page_tables(layout.page_tables.start),
      m_task_stacks(layout.task_stacks.start), m_user_code(layout.user_code),
      m_user_stack(layout.user_stack), m_mode(mode), m_structures(structures_of(mode)),
      m_no_execute(no_execute) {}

void AddressSpace::build() {
    const auto tables = m_words.subspan(m_structures.stack_tables * frame_words);
    __builtin_memset(tables.data(), 0, tables.size_bytes());
    build_tables(protocol::area::stacks, stack_area_size);
    build_tables(protocol::area::probe, probe_area_size);
    build_tables(protocol::area::user, 2 * protocol::frame_size);
    map(protocol::area::user, m_user_code, entry::user);
    map(protocol::area::user + protocol::frame_size, m_user_stack,
        entry::writable | entry::user | m_no_execute);
}

void AddressSpace::build_tables(LinearAddress start, std::uint32_t size) {
    const std::uint32_t table_size = 1u << m_structures.table_shift;
    for (std::uint32_t offset = 0; offset < size; offset += table_size)
        write(paging_level::page_directory, start + offset, table_entry(start + offset));
}

void AddressSpace::map(LinearAddress address, PhysicalAddress page, Entry rights) {
    write(paging_level::page_table, address, page.value() | rights | entry::present);
}

void AddressSpace::map_stack_page(std::uint32_t page) {
    const std::uint32_t offset = page * protocol::frame_size;
    map(protocol::area::stacks + offset, PhysicalAddress(m_task_stacks.value() + offset),
        entry::writable | m_no_execute);
}

void AddressSpace::unmap_stack_page(std::uint32_t page) {
    write(paging_level::page_table, protocol::area::stacks + page * protocol::frame_size, 0);
}

Entry AddressSpace::table_entry(LinearAddress address) const {
    const Table table = table_of(address);
    return (m_page_tables.value() + table.frame * protocol::frame_size) | table.rights;
}

AddressSpace::Table AddressSpace::table_of(LinearAddress address) const {
    constexpr Entry kernel_rights = entry::present | entry::writable;
    constexpr Entry user_rights = kernel_rights | entry::user;
    static_assert(protocol::area::probe < protocol::area::user &&
                  protocol::area::user < protocol::area::stacks);
    const std::uint32_t shift = m_structures.table_shift;
    if (address >= protocol::area::stacks)
        return {m_structures.stack_tables + (offset_in(protocol::area::stacks, address) >> shift),
                kernel_rights};
    if (address >= protocol::area::user)
        return {m_structures.user_table, user_rights};
    return {m_structures.probe_tables + (offset_in(protocol::area::probe, address) >> shift),
            user_rights};
}

std::uint32_t AddressSpace::place(paging_level level, LinearAddress address) const {
    const std::uint32_t entries = frame_words / m_structures.entry_words;
    const auto low = static_cast<std::uint32_t>(address);
    std::uint32_t frame = 0;
    std::uint32_t index = 0;
    switch (level) {
    case paging_level::page_table:
        frame = table_of(address).frame;
        index = (low >> frame_shift) & (entries - 1);
        break;
    case paging_level::page_directory:
        frame = m_structures.directories[low >> 30];
        index = (low >> m_structures.table_shift) & (entries - 1);
        break;
    case paging_level::pointer_table:
        // With PAE paging a table of four entries; one of 512 for a half of the address space.
        index = low >> 30;
        if (m_mode == PagingMode::four_level) {
            const bool is_low = address >> 32 == 0;
            frame = is_low ? low_pointer_table : high_pointer_table;
            index = is_low ? index : entries - 4 + index;
        }
        break;
    }
    return frame * frame_words + index * m_structures.entry_words;
}

Entry AddressSpace::read(paging_level level, LinearAddress address) const {
    // The processor writes here as well: accessed and dirty flags.
    const volatile std::uint32_t* words = &m_words[place(level, address)];
    const Entry lower = words[0];
    return m_structures.entry_words == 2 ? Entry{words[1]} << 32 | lower : lower;
}

void AddressSpace::write(paging_level level, LinearAddress address, Entry value) {
    volatile std::uint32_t* words = &m_words[place(level, address)];
    if (m_structures.entry_words == 2) {
        // The processor may look at any time (SDM vol. 3, 4.10.2.3). So that it never sees one
        // half of the old entry with the other of the new one, the entry is not present while its
        // upper half changes.
        words[0] = 0;
        words[1] = static_cast<std::uint32_t>(value >> 32);
    }
    words[0] = static_cast<std::uint32_t>(value);
}

} // namespace core
