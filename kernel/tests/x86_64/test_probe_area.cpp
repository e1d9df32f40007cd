// What 4-level paging has that the other modes have not: entries at two more levels, huge pages.
#include "core/probe_area.hpp"
#include "tests/fake_processor.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace {

using core::Entry;
using core::LinearAddress;
using core::PagingMode;
using core::PhysicalAddress;
using core::ProbeArea;
using protocol::paging_level;
using protocol::rejection;

constexpr LinearAddress base = 0x40E00000;
constexpr LinearAddress second_slot = 0x80E00000;
constexpr Entry no_execute = Entry{1} << 63;
constexpr Entry upper = 0xFFFFFF00'00000000;

constexpr std::uint8_t writable = 1;
constexpr std::uint8_t user = 2;
constexpr std::uint8_t without_execution = 4;
constexpr std::uint8_t large = 8;
constexpr std::uint8_t huge = 16;

constexpr ProbeArea::Rejection accepted = std::nullopt;

ProbeArea::Rejection rejected(rejection reason) {
    return reason;
}

class Fixture {
public:
    explicit Fixture(std::uint32_t features) {
        processor.has = features;
        area.emplace(space, processor, PhysicalAddress(0xE00000));
        space.build();
        // As boot code does.
        for (const LinearAddress slot : {base, second_slot}) {
            constexpr auto level = paging_level::pointer_table;
            space.write(level, slot, space.table_entry(level, slot));
        }
        space.write(paging_level::root_table, base, 0x201007);
    }

    Entry table(LinearAddress address) { return space.read(paging_level::page_table, address); }
    Entry directory(LinearAddress address) {
        return space.read(paging_level::page_directory, address);
    }
    Entry pointer(LinearAddress address) {
        return space.read(paging_level::pointer_table, address);
    }

    // Whether these bits, and only these, may be set or cleared at a level.
    bool writable_are(LinearAddress address, paging_level level, Entry bits) {
        const Entry before = space.read(level, address);
        bool same = true;
        for (unsigned number = 0; number < 64; ++number) {
            const Entry bit = Entry{1} << number;
            const auto expected = (bits & bit) != 0 ? accepted : rejected(rejection::bad_bits);
            same &= area->write_entry(address, level, bit, 0) == expected;
            space.write(level, address, before);
            same &= area->write_entry(address, level, 0, bit) == expected;
            space.write(level, address, before);
        }
        return same;
    }

    rejection read_failure(LinearAddress address, paging_level level) {
        const auto entry = area->read_entry(address, level);
        REQUIRE_FALSE(entry.has_value());
        return entry.failure();
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
    core::AddressSpace space{memory, layout, PagingMode::four_level, no_execute};
    tests::FakeProcessor processor;
    std::optional<ProbeArea> area;
};

class WithHugePages : public Fixture {
public:
    WithHugePages() : Fixture(0x3F) {}
};

class WithoutHugePages : public Fixture {
public:
    WithoutHugePages() : Fixture(0x1F) {}
};

} // namespace

TEST_CASE("4-level paging: what is probeable is the first 32 KiB of each slot") {
    for (const LinearAddress slot : {base, second_slot}) {
        CHECK(ProbeArea::contains(slot, 1));
        CHECK(ProbeArea::contains(slot + 0x7FFC, 4));
        CHECK_FALSE(ProbeArea::contains(slot + 0x7FFD, 4));
        CHECK_FALSE(ProbeArea::contains(slot - 1, 2));
        CHECK_FALSE(ProbeArea::contains(slot + (1ull << 32), 1));
        CHECK_FALSE(ProbeArea::contains(slot + (1ull << 39), 1));
    }
    CHECK_FALSE(ProbeArea::contains(0x40000000, 1));
    CHECK_FALSE(ProbeArea::contains(0x41000000, 1));
    CHECK_FALSE(ProbeArea::contains(0xC0E00000, 1));
}

TEST_CASE_FIXTURE(WithHugePages, "pages of all three sizes are over the arena") {
    CHECK(area->map(base + 0x1234, 2, user) == accepted);
    CHECK(table(base + 0x1000) == 0xE02005);
    CHECK(area->map(base, 0, large | writable) == accepted);
    CHECK(directory(base) == 0xE00083);
    CHECK(area->map(second_slot, 0, huge | user | without_execution) == accepted);
    CHECK(pointer(second_slot) == (0x000085 | no_execute));
    CHECK(pointer(base) == 0x205007);
}

TEST_CASE_FIXTURE(WithHugePages, "a huge page stands before the tables, and goes again") {
    CHECK(area->map(base + 0x1000, 5, 0) == accepted);
    CHECK(area->map(base, 0, large) == accepted);
    CHECK(area->map(base, 0, huge | user) == accepted);
    CHECK(area->protect(base + 0x7000, writable) == accepted);
    CHECK(pointer(base) == 0x000083);
    for (const std::uint8_t size : {std::uint8_t{0}, large, huge})
        CHECK(area->map(base, 0, size) == rejected(rejection::already_mapped));
    CHECK(area->unmap(base + 0x2000) == accepted);
    CHECK(pointer(base) == 0x205007);
    CHECK(directory(base) == 0xE00081);
    CHECK(area->map(base, 0, large) == rejected(rejection::already_mapped));
    CHECK(area->unmap(base) == accepted);
    CHECK(directory(base) == 0x216007);
    CHECK(area->unmap(base + 0x1000) == accepted);
    CHECK(area->unmap(base + 0x1000) == rejected(rejection::not_mapped));
}

TEST_CASE_FIXTURE(WithHugePages, "a huge page that is not present is none") {
    CHECK(area->map(base, 0, huge) == accepted);
    CHECK(area->write_entry(base, paging_level::pointer_table, 1, 0) == accepted);
    CHECK(area->unmap(base) == rejected(rejection::not_mapped));
    CHECK(area->map(base, 3, 0) == accepted);
    CHECK(area->protect(base, writable) == accepted);
    CHECK(table(base) == 0xE03003);
    CHECK(area->map(base, 0, huge) == accepted);
    CHECK(pointer(base) == 0x000081);
}

TEST_CASE_FIXTURE(WithHugePages, "a huge page: what is wrong is named in this order") {
    CHECK(area->map(0, 8, huge | large) == rejected(rejection::bad_value));
    CHECK(area->map(0, 8, huge | 32) == rejected(rejection::bad_value));
    CHECK(area->map(0x40000000, 8, huge) == rejected(rejection::bad_address));
    CHECK(area->map(base + 0x1000, 1, huge) == rejected(rejection::bad_frame));
    CHECK(area->map(base + 0x1000, 0, huge) == rejected(rejection::bad_address));
    CHECK(area->protect(0, huge) == rejected(rejection::bad_value));
    CHECK(pointer(base) == 0x205007);
}

TEST_CASE_FIXTURE(WithoutHugePages, "a processor without huge pages") {
    CHECK(area->map(base + 0x1000, 0, huge) == rejected(rejection::bad_address));
    CHECK(area->map(base, 0, huge) == rejected(rejection::no_feature));
    // There PS is a reserved bit, and the entry still leads to the tables below.
    CHECK(area->write_entry(base, paging_level::pointer_table, 0, 0x80) == accepted);
    CHECK(area->map(base, 1, 0) == accepted);
    CHECK(area->read_entry(base, paging_level::page_table).has_value());
    CHECK(area->write_entry(base, paging_level::pointer_table, 0x2000, 0) ==
          rejected(rejection::bad_bits));
}

TEST_CASE_FIXTURE(WithHugePages, "4-level paging: which bits of an entry may be written") {
    CHECK(writable_are(base, paging_level::page_table, upper | 0xF7F));
    CHECK(writable_are(base, paging_level::page_directory, upper | 0xF7F));
    CHECK(writable_are(base, paging_level::pointer_table, upper | 0xF7F));
    CHECK(writable_are(base, paging_level::root_table, upper | 0xFFF));
    CHECK(area->map(base, 0, large) == accepted);
    CHECK(writable_are(base, paging_level::page_directory, upper | 0x1FEF7F));
    CHECK(area->map(base, 0, huge) == accepted);
    CHECK(writable_are(base, paging_level::pointer_table, upper | 0x3FFFEF7F));
}

TEST_CASE_FIXTURE(WithoutHugePages, "4-level paging without huge pages: the bits of a PDPTE") {
    CHECK(writable_are(base, paging_level::pointer_table, upper | 0xFFF));
}

TEST_CASE_FIXTURE(WithHugePages, "4-level paging: at which levels an address has an entry") {
    CHECK(area->map(base, 0, large) == accepted);
    CHECK(read_failure(base, paging_level::page_table) == rejection::bad_level);
    CHECK(area->read_entry(base, paging_level::page_directory).has_value());
    CHECK(area->map(base, 0, huge) == accepted);
    CHECK(read_failure(base, paging_level::page_table) == rejection::bad_level);
    CHECK(read_failure(base, paging_level::page_directory) == rejection::bad_level);
    const auto entry = area->read_entry(base + 0x7000, paging_level::root_table);
    REQUIRE(entry.has_value());
    CHECK(entry.value() == 0x201007);
    CHECK(read_failure(base, paging_level{4}) == rejection::bad_level);
}
