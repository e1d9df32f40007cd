// The paging structures of all modes, as plain words (TRACE.md, "Address space").
#pragma once

#include "core/addresses.hpp"
#include "core/linear_range.hpp"
#include "core/paging_mode.hpp"
#include "core/platform.hpp"
#include "protocol.hpp"

#include <cstdint>
#include <span>

namespace core {

// A paging-structure entry of any mode: with 32-bit paging the upper half is 0.
using Entry = std::uint64_t;

// Bits of an entry (SDM vol. 3, 4.3 to 4.5).
namespace entry {
inline constexpr Entry present = 1 << 0;
inline constexpr Entry writable = 1 << 1;
inline constexpr Entry user = 1 << 2;
inline constexpr Entry page_size = 1 << 7; // of a PDE: it maps a large page; of a PDPTE: a huge one
inline constexpr Entry no_execute = Entry{1} << 63;
} // namespace entry

class AddressSpace {
public:
    // `no_execute`: what data pages of the kernel get of entry::no_execute, all of it or nothing.
    AddressSpace(const KernelMemory& memory, const ImageLayout& layout, PagingMode mode,
                 Entry no_execute);

    // Everything but the window, which boot code has built: tables for all areas, and the pages of
    // the user area. Whatever an earlier run left is gone.
    void build();

    // Pages of the stack area, numbered from its start. Nothing is invalidated here.
    void map_stack_page(std::uint32_t page);
    void unmap_stack_page(std::uint32_t page);

    [[nodiscard]] PagingMode mode() const { return m_mode; }

    // The entry of a level for an address of the probe, the user or the stack area. Its place is
    // the one it was given at start-up, whatever the entries above say now.
    [[nodiscard]] Entry read(protocol::paging_level level, LinearAddress address) const;
    void write(protocol::paging_level level, LinearAddress address, Entry value);

    // The entry that leads from a level above the page tables to the next one: what was there at
    // start-up. Of the levels above the page directory, only the pointer table of 4-level paging.
    [[nodiscard]] Entry table_entry(protocol::paging_level level, LinearAddress address) const;

private:
    // Where the structures of a mode are, as frames from the start of the page tables.
    struct Structures {
        std::uint32_t entry_words;
        std::uint32_t table_shift;  // a page table maps 2^table_shift bytes
        std::uint32_t probe_shift;  // 2^probe_shift bytes of the probe area share a page table
        std::uint32_t stack_tables; // the first frame after the window's tables
        std::uint32_t probe_tables;
        std::uint32_t user_table;
    };
    static constexpr Structures legacy_structures{1, 22, 22, 5, 7, 9};
    static constexpr Structures pae_structures{2, 21, 21, 13, 17, 21};
    // A slot has a table for its beginning only: nothing else of it is ever mapped by one.
    static constexpr Structures four_level_structures{2, 21, 30, 18, 22, 24};

    [[nodiscard]] static constexpr const Structures& structures_of(PagingMode mode) {
        switch (mode) {
        case PagingMode::legacy:
            break;
        case PagingMode::pae:
            return pae_structures;
        case PagingMode::four_level:
            return four_level_structures;
        }
        return legacy_structures;
    }

    // Where the structure of a level is that has the entry for an address.
    [[nodiscard]] std::uint32_t table_frame(LinearAddress address) const;
    [[nodiscard]] std::uint32_t directory_frame(LinearAddress address) const;
    [[nodiscard]] std::uint32_t pointer_table_frame(LinearAddress address) const;
    // The number of an entry's first word.
    [[nodiscard]] std::uint32_t place(protocol::paging_level level, LinearAddress address) const;
    // For an area, the entries that lead to page tables of 2^shift bytes each.
    void build_tables(LinearAddress start, std::uint32_t size, std::uint32_t shift);
    void map(LinearAddress address, PhysicalAddress page, Entry rights);

    std::span<std::uint32_t> m_words;
    PhysicalAddress m_page_tables;
    PhysicalAddress m_task_stacks;
    PhysicalAddress m_user_code;
    PhysicalAddress m_user_stack;
    PagingMode m_mode;
    const Structures& m_structures;
    Entry m_no_execute;
};

} // namespace core
