#include "core/address_space.hpp"
#include "tests/machine.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <vector>

namespace {

using core::AddressSpace;
using core::Entry;
using core::PagingMode;
using protocol::paging_level;
using tests::Machine;

constexpr Entry no_execute = Entry{1} << 63;

// Which entries are not 0, by their number in the page tables: 4 or 8 bytes each.
using Entries = std::map<std::uint32_t, Entry>;

class Fixture {
public:
    static constexpr std::uint32_t frame_words = 1024;

    AddressSpace build(PagingMode mode, Entry flag = 0) {
        AddressSpace space(machine.platform().memory, Machine::layout, mode, flag);
        // As boot code leaves it: page directories and the window's tables, all 0 in this test.
        const std::uint32_t boot_frames = mode == PagingMode::pae ? 13 : 5;
        for (std::uint32_t word = 0; word < boot_frames * frame_words; ++word)
            machine.page_tables[word] = 0;
        space.build();
        return space;
    }

    Entries entries(PagingMode mode) const {
        Entries found;
        const std::vector<std::uint32_t>& words = machine.page_tables;
        const std::uint32_t size = mode == PagingMode::pae ? 2 : 1;
        for (std::uint32_t word = 0; word < words.size(); word += size) {
            const Entry entry =
                size == 2 ? Entry{words[word + 1]} << 32 | words[word] : words[word];
            if (entry != 0)
                found[word / size] = entry;
        }
        return found;
    }

    Machine machine;
};

// The page tables are at 0x10A000 in this machine, user-mode code and stack at 0x106000 and
// 0x107000, task stacks at 0x1000000. The numbers below follow from that and from the layout.
const Entries legacy_start{
    {0x100, 0x111007},    {0x101, 0x112007}, // probe area: tables in frames 7 and 8
    {0x200, 0x113007},                       // user area: frame 9
    {0x340, 0x10F003},    {0x341, 0x110003}, // stacks: frames 5 and 6
    {9 * 1024, 0x106005}, {9 * 1024 + 1, 0x107007}};

Entries pae_start(Entry flag) {
    return {{2 * 512 + 0, 0x11B007}, // probe area: frames 17 to 20, in the second GiB's directory
            {2 * 512 + 1, 0x11C007},   {2 * 512 + 2, 0x11D007},        {2 * 512 + 3, 0x11E007},
            {3 * 512 + 0, 0x11F007},   // user area: frame 21
            {4 * 512 + 128, 0x117003}, // stacks: frames 13 to 16
            {4 * 512 + 129, 0x118003}, {4 * 512 + 130, 0x119003},      {4 * 512 + 131, 0x11A003},
            {21 * 512, 0x106005},      {21 * 512 + 1, 0x107007 | flag}};
}

} // namespace

TEST_CASE_FIXTURE(Fixture, "32-bit paging: what is there at start-up, whatever was there before") {
    build(PagingMode::legacy);
    CHECK(entries(PagingMode::legacy) == legacy_start);
    build(PagingMode::legacy).map_stack_page(77);
    build(PagingMode::legacy);
    CHECK(entries(PagingMode::legacy) == legacy_start);
}

TEST_CASE_FIXTURE(Fixture, "PAE paging: what is there at start-up") {
    build(PagingMode::pae);
    CHECK(entries(PagingMode::pae) == pae_start(0));
    build(PagingMode::pae, no_execute);
    CHECK(entries(PagingMode::pae) == pae_start(no_execute));
}

TEST_CASE_FIXTURE(Fixture, "what boot code built stays as it is") {
    AddressSpace space(machine.platform().memory, Machine::layout, PagingMode::pae, 0);
    const auto before = machine.page_tables;
    space.build();
    const auto own = pae_start(0);
    for (std::uint32_t entry = 0; entry < 13 * 512; ++entry) {
        if (!own.contains(entry)) {
            REQUIRE(machine.page_tables[2 * entry] == before[2 * entry]);
            REQUIRE(machine.page_tables[2 * entry + 1] == before[2 * entry + 1]);
        }
    }
}

TEST_CASE_FIXTURE(Fixture, "task stacks: the first page, the last one, and gone again") {
    SUBCASE("32-bit paging") {
        AddressSpace space = build(PagingMode::legacy);
        Entries expected = legacy_start;
        space.map_stack_page(0);
        expected[5 * 1024] = 0x1000003;
        CHECK(entries(PagingMode::legacy) == expected);
        space.map_stack_page(2047);
        expected[5 * 1024 + 2047] = 0x17FF003;
        CHECK(entries(PagingMode::legacy) == expected);
        space.unmap_stack_page(0);
        space.unmap_stack_page(2047);
        CHECK(entries(PagingMode::legacy) == legacy_start);
    }
    SUBCASE("PAE paging") {
        AddressSpace space = build(PagingMode::pae, no_execute);
        Entries expected = pae_start(no_execute);
        space.map_stack_page(0);
        expected[13 * 512] = 0x1000003 | no_execute;
        space.map_stack_page(2047);
        expected[13 * 512 + 2047] = 0x17FF003 | no_execute;
        CHECK(entries(PagingMode::pae) == expected);
        space.unmap_stack_page(0);
        space.unmap_stack_page(2047);
        CHECK(entries(PagingMode::pae) == pae_start(no_execute));
    }
}

TEST_CASE_FIXTURE(Fixture, "where the entries of an address are, with 32-bit paging") {
    AddressSpace space = build(PagingMode::legacy);
    const auto place = [&](paging_level level, std::uint32_t address) {
        const Entries before = entries(PagingMode::legacy);
        space.write(level, address, 0xABCDE000);
        CHECK(space.read(level, address) == 0xABCDE000);
        std::uint32_t changed = 0;
        for (const auto& [number, entry] : entries(PagingMode::legacy)) {
            if (!before.contains(number) || before.at(number) != entry)
                changed = number;
        }
        space.write(level, address, before.contains(changed) ? before.at(changed) : 0);
        return changed;
    };
    CHECK(place(paging_level::page_table, 0x40000000) == 7 * 1024);
    CHECK(place(paging_level::page_table, 0x40007FFF) == 7 * 1024 + 7);
    CHECK(place(paging_level::page_table, 0x403FFFFF) == 7 * 1024 + 1023);
    CHECK(place(paging_level::page_table, 0x40400000) == 8 * 1024);
    CHECK(place(paging_level::page_table, 0x80001000) == 9 * 1024 + 1);
    CHECK(place(paging_level::page_table, 0xD0000000) == 5 * 1024);
    CHECK(place(paging_level::page_directory, 0x403FFFFF) == 0x100);
    CHECK(place(paging_level::page_directory, 0x40400000) == 0x101);
    CHECK(entries(PagingMode::legacy) == legacy_start);
}

TEST_CASE_FIXTURE(Fixture, "where the entries of an address are, with PAE paging") {
    AddressSpace space = build(PagingMode::pae);
    const auto number = [&](paging_level level, std::uint32_t address) {
        constexpr Entry mark = 0xFEDCBA98'76543000;
        space.write(level, address, mark);
        CHECK(space.read(level, address) == mark);
        for (const auto& [place, entry] : entries(PagingMode::pae)) {
            if (entry == mark) {
                space.write(level, address, 0);
                return place;
            }
        }
        return ~0u;
    };
    CHECK(number(paging_level::page_table, 0x40000000) == 17 * 512);
    CHECK(number(paging_level::page_table, 0x401FFFFF) == 17 * 512 + 511);
    CHECK(number(paging_level::page_table, 0x40200000) == 18 * 512);
    CHECK(number(paging_level::page_table, 0x40400000) == 19 * 512);
    CHECK(number(paging_level::page_table, 0x40407000) == 19 * 512 + 7);
    CHECK(number(paging_level::page_table, 0x80000000) == 21 * 512);
    CHECK(number(paging_level::page_directory, 0x40000000) == 2 * 512);
    CHECK(number(paging_level::page_directory, 0x40400000) == 2 * 512 + 2);
    CHECK(number(paging_level::page_directory, 0xD0200000) == 4 * 512 + 129);
    CHECK(number(paging_level::pointer_table, 0x40000000) == 1);
    CHECK(number(paging_level::pointer_table, 0xD0000000) == 3);
}

TEST_CASE_FIXTURE(Fixture, "an entry stays where it is when those above it say something else") {
    AddressSpace space = build(PagingMode::pae);
    space.write(paging_level::page_directory, 0x40000000, 0);
    space.write(paging_level::pointer_table, 0x40000000, 0);
    space.write(paging_level::page_table, 0x40001000, 0x400063);
    CHECK(entries(PagingMode::pae).at(17 * 512 + 1) == 0x400063);
    CHECK(space.table_entry(paging_level::page_directory, 0x40001000) == 0x11B007);
}
