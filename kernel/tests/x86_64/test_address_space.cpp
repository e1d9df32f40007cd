#include "core/address_space.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <vector>

namespace {

using core::AddressSpace;
using core::Entry;
using core::PagingMode;
using core::PhysicalAddress;
using protocol::paging_level;

constexpr Entry no_execute = Entry{1} << 63;

// By frame of the page tables and number in it.
using Entries = std::map<std::pair<std::uint32_t, std::uint32_t>, Entry>;

class Fixture {
public:
    Fixture() {
        // As boot code leaves it, all 0; and behind it what an earlier run left.
        for (std::uint32_t word = 18 * 1024; word < words.size(); ++word)
            words[word] = 0x63;
        space.build();
    }

    Entries entries() const {
        Entries found;
        for (std::uint32_t entry = 0; entry < words.size() / 2; ++entry) {
            const Entry value = Entry{words[2 * entry + 1]} << 32 | words[2 * entry];
            if (value != 0)
                found[{entry / 512, entry % 512}] = value;
        }
        return found;
    }

    std::vector<std::uint32_t> words = std::vector<std::uint32_t>(25 * 1024);
    core::KernelMemory memory{.frame_bitmap = {},
                              .frame_owned = {},
                              .page_tables = words,
                              .probe_arena = {},
                              .trace_buffer = {},
                              .stack_area = nullptr};
    core::ImageLayout layout{.kernel_image = {},
                             .page_tables = {PhysicalAddress(0x200000), PhysicalAddress(0x219000)},
                             .task_stacks = {PhysicalAddress(0x600000), PhysicalAddress(0xE00000)},
                             .probe_arena = {},
                             .trace_buffer = {},
                             .user_code = PhysicalAddress(0x106000),
                             .user_stack = PhysicalAddress(0x107000)};
    AddressSpace space{memory, layout, PagingMode::four_level, no_execute};
};

const Entries start{{{5, 7}, 0x216007}, // probe area: a table for the beginning of each slot,
                    {{6, 7}, 0x217007}, // frames 22 and 23
                    {{7, 0}, 0x218007}, // user area: frame 24
                    {{8, 128}, 0x212003}, {{8, 129}, 0x213003},
                    {{8, 130}, 0x214003}, {{8, 131}, 0x215003}, // stacks: frames 18 to 21
                    {{24, 0}, 0x106005},  {{24, 1}, 0x107007 | no_execute}};

constexpr core::LinearAddress last_stack_page = 0xFFFF'FFFF'D07F'F000;

} // namespace

TEST_CASE_FIXTURE(Fixture, "4-level paging: what is there at start-up") {
    CHECK(entries() == start);
}

TEST_CASE_FIXTURE(Fixture, "4-level paging: task stacks") {
    space.map_stack_page(0);
    space.map_stack_page(2047);
    Entries expected = start;
    expected[{18, 0}] = 0x600003 | no_execute;
    expected[{21, 511}] = 0xDFF003 | no_execute;
    CHECK(entries() == expected);
    CHECK(space.read(paging_level::page_table, last_stack_page) == (0xDFF003 | no_execute));
    space.unmap_stack_page(0);
    space.unmap_stack_page(2047);
    CHECK(entries() == start);
}

TEST_CASE_FIXTURE(Fixture, "4-level paging: where each entry is") {
    const auto place = [this](paging_level level, core::LinearAddress address) {
        Fixture other;
        other.space.write(level, address, 0xABC0000000000123);
        for (const auto& [at, value] : other.entries()) {
            if (value == 0xABC0000000000123)
                return at;
        }
        return std::pair<std::uint32_t, std::uint32_t>{99, 99};
    };
    using Place = std::pair<std::uint32_t, std::uint32_t>;
    CHECK(place(paging_level::page_table, 0x40E00000) == Place{22, 0});
    CHECK(place(paging_level::page_table, 0x80E01000) == Place{23, 1});
    CHECK(place(paging_level::page_table, 0x8000001000) == Place{24, 1});
    CHECK(place(paging_level::page_directory, 0x40E07FFF) == Place{5, 7});
    CHECK(place(paging_level::page_directory, 0x80E00000) == Place{6, 7});
    CHECK(place(paging_level::page_directory, 0x8000000000) == Place{7, 0});
    CHECK(place(paging_level::page_directory, last_stack_page) == Place{8, 131});
    CHECK(place(paging_level::pointer_table, 0x40E00000) == Place{1, 1});
    CHECK(place(paging_level::pointer_table, 0x80E01000) == Place{1, 2});
    CHECK(place(paging_level::pointer_table, 0x8000001000) == Place{4, 0});
    CHECK(place(paging_level::pointer_table, last_stack_page) == Place{2, 511});
    CHECK(place(paging_level::root_table, 0x80E00000) == Place{0, 0});
    CHECK(place(paging_level::root_table, 0x8000001000) == Place{0, 1});
    CHECK(place(paging_level::root_table, last_stack_page) == Place{0, 511});
}

TEST_CASE_FIXTURE(Fixture, "4-level paging: what leads to a page table and to a page directory") {
    CHECK(space.table_entry(paging_level::page_directory, 0x80E07000) == 0x217007);
    CHECK(space.table_entry(paging_level::pointer_table, 0x40E00000) == 0x205007);
    CHECK(space.table_entry(paging_level::pointer_table, 0x80E07000) == 0x206007);
}
