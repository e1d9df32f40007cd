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

static_assert(protocol::area::probe < protocol::area::user &&
              protocol::area::user < protocol::area::stacks);
constexpr bool is_in_stack_area(LinearAddress address) {
    return address >= protocol::area::stacks;
}
constexpr bool is_in_user_area(LinearAddress address) {
    return address >= protocol::area::user && !is_in_stack_area(address);
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
    build_tables(protocol::area::stacks, stack_area_size, m_structures.table_shift);
    build_tables(protocol::area::probe, probe_area_size, m_structures.probe_shift);
    build_tables(protocol::area::user, 2 * protocol::frame_size, m_structures.table_shift);
    map(protocol::area::user, m_user_code, entry::user);
    map(protocol::area::user + protocol::frame_size, m_user_stack,
        entry::writable | entry::user | m_no_execute);
}

void AddressSpace::build_tables(LinearAddress start, std::uint32_t size, std::uint32_t shift) {
    for (std::uint32_t offset = 0; offset < size; offset += 1u << shift) {
        constexpr auto level = paging_level::page_directory;
        write(level, start + offset, table_entry(level, start + offset));
    }
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

Entry AddressSpace::table_entry(paging_level level, LinearAddress address) const {
    const std::uint32_t frame =
        level == paging_level::page_directory ? table_frame(address) : directory_frame(address);
    const Entry rights =
        entry::present | entry::writable | (is_in_stack_area(address) ? Entry{0} : entry::user);
    return (m_page_tables.value() + frame * protocol::frame_size) | rights;
}

std::uint32_t AddressSpace::table_frame(LinearAddress address) const {
    if (is_in_stack_area(address))
        return m_structures.stack_tables +
               (offset_in(protocol::area::stacks, address) >> m_structures.table_shift);
    if (is_in_user_area(address))
        return m_structures.user_table;
    return m_structures.probe_tables +
           (offset_in(protocol::area::probe, address) >> m_structures.probe_shift);
}

std::uint32_t AddressSpace::directory_frame(LinearAddress address) const {
    switch (m_mode) {
    case PagingMode::legacy:
        break;
    case PagingMode::pae:
        return 1 + (static_cast<std::uint32_t>(address) >> 30);
    case PagingMode::four_level:
        if (is_in_stack_area(address))
            return 8;
        if (is_in_user_area(address))
            return 7;
        return 5 + (offset_in(protocol::area::probe, address) >> m_structures.probe_shift);
    }
    return 0;
}

std::uint32_t AddressSpace::pointer_table_frame(LinearAddress address) const {
    if (m_mode != PagingMode::four_level)
        return 0;
    if (is_in_stack_area(address))
        return 2;
    return is_in_user_area(address) ? 4 : 1;
}

std::uint32_t AddressSpace::place(paging_level level, LinearAddress address) const {
    const std::uint32_t entries = frame_words / m_structures.entry_words;
    const auto low = static_cast<std::uint32_t>(address);
    std::uint32_t frame = 0;
    std::uint32_t index = 0;
    switch (level) {
    case paging_level::page_table:
        frame = table_frame(address);
        index = low >> frame_shift;
        break;
    case paging_level::page_directory:
        frame = directory_frame(address);
        index = low >> m_structures.table_shift;
        break;
    case paging_level::pointer_table:
        // With PAE paging it has four entries, and there are no addresses for more.
        frame = pointer_table_frame(address);
        index = static_cast<std::uint32_t>(address >> 30);
        break;
    case paging_level::root_table:
        index = static_cast<std::uint32_t>(address >> 39);
        break;
    }
    return frame * frame_words + (index & (entries - 1)) * m_structures.entry_words;
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
