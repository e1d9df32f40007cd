#include "core/probe_area.hpp"
#include "tests/machine.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>

namespace {

using core::Entry;
using core::PagingMode;
using core::ProbeArea;
using protocol::paging_level;
using protocol::rejection;
using tests::Machine;

constexpr std::uint32_t base = 0x40000000;
constexpr std::uint32_t second_slot = 0x40400000;
constexpr Entry no_execute = Entry{1} << 63;

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
    explicit Fixture(PagingMode mode) : space(machine.platform().memory, Machine::layout, mode, 0) {
        space.build();
    }

    void set_page_size_extensions() { machine.processor.registers.cr4 |= 0x10; }

    // An entry, read past all the checks.
    Entry table(core::LinearAddress address) {
        return space.read(paging_level::page_table, address);
    }
    Entry directory(core::LinearAddress address) {
        return space.read(paging_level::page_directory, address);
    }

    // Whether these bits, and only these, may be set or cleared at a level.
    bool writable_are(core::LinearAddress address, paging_level level, Entry bits) {
        const Entry before = space.read(level, address);
        bool same = true;
        for (unsigned number = 0; number < 64; ++number) {
            const Entry bit = Entry{1} << number;
            const auto expected = (bits & bit) != 0 ? accepted : rejected(rejection::bad_bits);
            same &= area.write_entry(address, level, bit, 0) == expected;
            space.write(level, address, before);
            same &= area.write_entry(address, level, 0, bit) == expected;
            space.write(level, address, before);
        }
        return same;
    }

    Machine machine;
    core::AddressSpace space;
    ProbeArea area{space, machine.processor, Machine::layout.probe_arena.start};
};

class Legacy : public Fixture {
public:
    Legacy() : Fixture(PagingMode::legacy) {}
};

class Pae : public Fixture {
public:
    Pae() : Fixture(PagingMode::pae) {}
};

} // namespace

TEST_CASE("what is probeable: the first 32 KiB of each slot") {
    for (const std::uint32_t slot : {base, second_slot}) {
        CHECK(ProbeArea::contains(slot, 1));
        CHECK(ProbeArea::contains(slot, 4));
        CHECK(ProbeArea::contains(slot + 0x0FFE, 4));
        CHECK(ProbeArea::contains(slot + 0x7FFC, 4));
        CHECK(ProbeArea::contains(slot + 0x7FFF, 1));
        CHECK_FALSE(ProbeArea::contains(slot + 0x7FFD, 4));
        CHECK_FALSE(ProbeArea::contains(slot + 0x7FFF, 2));
        CHECK_FALSE(ProbeArea::contains(slot + 0x8000, 1));
        CHECK_FALSE(ProbeArea::contains(slot + (1ull << 32), 1));
        CHECK_FALSE(ProbeArea::contains(slot + 0x3FFFFF, 1));
        CHECK_FALSE(ProbeArea::contains(slot - 1, 2));
    }
    CHECK_FALSE(ProbeArea::contains(0x40800000, 1));
    CHECK_FALSE(ProbeArea::contains(0x3FFFFFFF, 1));
    CHECK_FALSE(ProbeArea::contains(0, 1));
    CHECK_FALSE(ProbeArea::contains(0xFFFFFFFF, 4));
}

TEST_CASE_FIXTURE(Legacy, "mapped pages have the frame and the rights that were asked for") {
    CHECK(area.map(base, 0, 0) == accepted);
    CHECK(table(base) == 0x400001);
    CHECK(area.map(base + 0x7FFF, 7, writable) == accepted);
    CHECK(table(base + 0x7000) == 0x407003);
    CHECK(area.map(second_slot + 0x1234, 2, user) == accepted);
    CHECK(table(second_slot + 0x1000) == 0x402005);
    CHECK(area.map(second_slot, 3, writable | user) == accepted);
    CHECK(table(second_slot) == 0x403007);
    CHECK(directory(base) == 0x111007);
}

TEST_CASE_FIXTURE(Pae, "with PAE paging a page may be one that is not executed") {
    CHECK(area.map(base, 1, without_execution) == accepted);
    CHECK(table(base) == (0x401001 | no_execute));
    CHECK(area.map(second_slot, 0, writable | user | without_execution | large) == accepted);
    CHECK(directory(second_slot) == (0x400087 | no_execute));
    CHECK(directory(second_slot + 0x200000) == 0x11E007);
}

TEST_CASE_FIXTURE(Legacy, "a large page stands before the table, and goes again") {
    set_page_size_extensions();
    CHECK(area.map(base + 0x1000, 5, 0) == accepted);
    CHECK(area.map(base, 4, 0) == accepted);
    CHECK(area.map(base, 0, large | user) == accepted);
    CHECK(directory(base) == 0x400085);
    CHECK(table(base) == 0x404001);
    CHECK(directory(second_slot) == 0x112007);
    CHECK(area.protect(base + 0x7000, writable) == accepted);
    CHECK(directory(base) == 0x400083);
    // Neither the table nor what is in it is reached now.
    CHECK(area.map(base + 0x2000, 1, 0) == rejected(rejection::already_mapped));
    CHECK(area.map(base, 0, large) == rejected(rejection::already_mapped));
    CHECK(area.unmap(base + 0x1000) == accepted);
    CHECK(directory(base) == 0x111007);
    CHECK(table(base + 0x1000) == 0x405001);
    CHECK(area.unmap(base + 0x1000) == accepted);
    CHECK(area.unmap(base + 0x1000) == rejected(rejection::not_mapped));
}

TEST_CASE_FIXTURE(Pae, "a large page needs no CR4.PSE with PAE paging") {
    CHECK(area.map(base, 0, large) == accepted);
    CHECK(directory(base) == 0x400081);
    CHECK(area.unmap(base) == accepted);
    CHECK(directory(base) == 0x11B007);
}

TEST_CASE_FIXTURE(Legacy, "mapping: what is wrong is named in this order") {
    const std::uint32_t outside = base + 0x8000;
    CHECK(area.map(outside, 8, 32) == rejected(rejection::bad_value));
    CHECK(area.map(outside, 8, 0x80 | large) == rejected(rejection::bad_value));
    CHECK(area.map(outside, 8, huge | large) == rejected(rejection::bad_value));
    CHECK(area.map(outside, 8, without_execution) == rejected(rejection::bad_value));
    CHECK(area.map(outside, 8, 0) == rejected(rejection::bad_address));
    CHECK(area.map(base, 8, 0) == rejected(rejection::bad_frame));
    CHECK(area.map(base, 0xFFFFFFFF, 0) == rejected(rejection::bad_frame));
    CHECK(area.map(base + 0x1000, 1, large) == rejected(rejection::bad_frame));
    CHECK(area.map(base + 0x1000, 0, large) == rejected(rejection::bad_address));
    CHECK(area.map(base + 1, 0, large) == rejected(rejection::bad_address));
    CHECK(area.map(base, 0, large) == rejected(rejection::no_feature));
    CHECK(area.map(base + 0x1000, 0, huge) == rejected(rejection::bad_address));
    CHECK(area.map(base, 0, huge) == rejected(rejection::no_feature));
    CHECK(area.map(base, 0, 0) == accepted);
    CHECK(area.map(base, 0, large) == rejected(rejection::no_feature));
    CHECK(area.map(base + 0xFFF, 1, 0) == rejected(rejection::already_mapped));
    CHECK(table(base) == 0x400001);
}

TEST_CASE_FIXTURE(Pae,
                  "no page is made one that is not executed where the processor cannot do it") {
    machine.processor.has = 0x1B;
    CHECK(area.map(base, 0, without_execution) == rejected(rejection::bad_value));
    CHECK(area.map(base, 0, 0) == accepted);
    CHECK(area.protect(base, without_execution) == rejected(rejection::bad_value));
    machine.processor.has = 4;
    CHECK(area.protect(base, without_execution) == accepted);
}

TEST_CASE_FIXTURE(Pae, "a page that is there, but not present, may be mapped") {
    CHECK(area.map(base, 3, writable) == accepted);
    CHECK(area.write_entry(base, paging_level::page_table, 1, 0) == accepted);
    CHECK(area.unmap(base) == rejected(rejection::not_mapped));
    CHECK(area.protect(base, 0) == rejected(rejection::not_mapped));
    CHECK(area.map(base, 4, 0) == accepted);
    CHECK(table(base) == 0x404001);
}

TEST_CASE_FIXTURE(Pae, "a large page that is not present is none: the table below is worked on") {
    CHECK(area.map(base, 0, large) == accepted);
    CHECK(area.write_entry(base, paging_level::page_directory, 1, 0) == accepted);
    CHECK(area.has_large_page());
    CHECK(area.unmap(base) == rejected(rejection::not_mapped));
    CHECK(area.map(base, 2, 0) == accepted);
    CHECK(table(base) == 0x402001);
    CHECK(directory(base) == 0x400080);
    CHECK(area.protect(base, user) == accepted);
    CHECK(table(base) == 0x402005);
    CHECK(area.unmap(base) == accepted);
    CHECK(area.map(base, 0, large | writable) == accepted);
    CHECK(directory(base) == 0x400083);
}

TEST_CASE_FIXTURE(Pae, "protecting changes rights and nothing else") {
    CHECK(area.map(base + 0x2000, 2, writable | without_execution) == accepted);
    // Accessed, dirty, global, what software may use, and a reserved bit.
    constexpr Entry others = 0x00000100'00000F60;
    CHECK(area.write_entry(base + 0x2000, paging_level::page_table, 0, others) == accepted);
    CHECK(area.protect(base + 0x2000, user) == accepted);
    CHECK(table(base + 0x2000) == (0x402005 | others));
    CHECK(area.protect(base + 0x2000, writable | without_execution) == accepted);
    CHECK(table(base + 0x2000) == (0x402003 | others | no_execute));
}

TEST_CASE_FIXTURE(Legacy, "protecting and unmapping: what is wrong is named in this order") {
    const std::uint32_t outside = base + 0x8000;
    CHECK(area.protect(outside, 16) == rejected(rejection::bad_value));
    CHECK(area.protect(outside, large) == rejected(rejection::bad_value));
    CHECK(area.protect(outside, huge) == rejected(rejection::bad_value));
    CHECK(area.protect(outside, without_execution) == rejected(rejection::bad_value));
    CHECK(area.protect(outside, 0) == rejected(rejection::bad_address));
    CHECK(area.protect(base, 0) == rejected(rejection::not_mapped));
    CHECK(area.unmap(outside) == rejected(rejection::bad_address));
    CHECK(area.unmap(base) == rejected(rejection::not_mapped));
    CHECK(area.unmap(0xD0001000) == rejected(rejection::bad_address));
}

TEST_CASE_FIXTURE(Legacy, "32-bit paging: which bits of an entry may be written") {
    set_page_size_extensions();
    CHECK(writable_are(base, paging_level::page_table, 0xF7F));
    CHECK(writable_are(base, paging_level::page_directory, 0xF7F));
    CHECK(area.map(base, 0, large) == accepted);
    CHECK(writable_are(base, paging_level::page_directory, 0x200F7F));
}

TEST_CASE_FIXTURE(Pae, "PAE paging: which bits of an entry may be written") {
    constexpr Entry upper = 0xFFFFFF00'00000000;
    CHECK(writable_are(base, paging_level::page_table, upper | 0xF7F));
    CHECK(writable_are(base, paging_level::page_directory, upper | 0xF7F));
    CHECK(writable_are(base, paging_level::pointer_table, upper | 0xFFF));
    CHECK_FALSE(area.read_entry(base, paging_level::root_table).has_value());
    CHECK(area.map(base, 0, large) == accepted);
    CHECK(area.map(second_slot, 0, huge) == rejected(rejection::no_feature));
    CHECK(writable_are(base, paging_level::page_directory, upper | 0x1FEF7F));
}

TEST_CASE_FIXTURE(Pae, "bits are cleared first, and then set") {
    CHECK(area.map(base, 1, writable | user) == accepted);
    CHECK(area.write_entry(base, paging_level::page_table, 0x26, 0x44) == accepted);
    CHECK(table(base) == 0x401045);
    CHECK(area.write_entry(base, paging_level::page_table, 0x40, no_execute) == accepted);
    const auto entry = area.read_entry(base, paging_level::page_table);
    REQUIRE(entry.has_value());
    CHECK(entry.value() == (0x401005 | no_execute));
}

TEST_CASE_FIXTURE(Legacy, "reading and writing entries: what is wrong is named in this order") {
    const std::uint32_t outside = base + 0x8000;
    const auto read_failure = [&](std::uint32_t address, paging_level level) {
        const auto entry = area.read_entry(address, level);
        REQUIRE_FALSE(entry.has_value());
        return entry.failure();
    };
    constexpr paging_level unknown{4};
    CHECK(area.write_entry(outside, unknown, 0x80, 0) == rejected(rejection::bad_address));
    CHECK(area.write_entry(base, unknown, 0x80, 0) == rejected(rejection::bad_level));
    CHECK(area.write_entry(base, paging_level::pointer_table, 0x1000, 0) ==
          rejected(rejection::bad_level));
    CHECK(area.write_entry(base, paging_level::root_table, 0x1000, 0) ==
          rejected(rejection::bad_level));
    CHECK(area.write_entry(base, paging_level::page_table, 0, 0x80) ==
          rejected(rejection::bad_bits));
    CHECK(area.write_entry(base, paging_level::page_table, no_execute, 0) ==
          rejected(rejection::bad_bits));
    CHECK(read_failure(outside, unknown) == rejection::bad_address);
    CHECK(read_failure(base, unknown) == rejection::bad_level);
    CHECK(read_failure(base, paging_level::pointer_table) == rejection::bad_level);
    CHECK(read_failure(base, paging_level::root_table) == rejection::bad_level);

    set_page_size_extensions();
    CHECK(area.map(second_slot, 0, large) == accepted);
    CHECK(read_failure(second_slot, paging_level::page_table) == rejection::bad_level);
    CHECK(area.write_entry(second_slot, paging_level::page_table, 0x80, 0) ==
          rejected(rejection::bad_level));
    CHECK(area.write_entry(base, paging_level::page_table, 0, 2) == accepted);
    CHECK(area.write_entry(second_slot, paging_level::page_directory, 1, 0) == accepted);
    CHECK(area.write_entry(second_slot, paging_level::page_table, 0, 2) == accepted);
}

TEST_CASE_FIXTURE(Legacy, "a large page in either slot is seen") {
    set_page_size_extensions();
    CHECK_FALSE(area.has_large_page());
    for (const std::uint32_t slot : {base, second_slot}) {
        CHECK(area.map(slot, 0, large) == accepted);
        CHECK(area.has_large_page());
        CHECK(area.write_entry(slot, paging_level::page_directory, 1, 0) == accepted);
        CHECK(area.has_large_page());
        CHECK(area.write_entry(slot, paging_level::page_directory, 0, 1) == accepted);
        CHECK(area.unmap(slot) == accepted);
        CHECK_FALSE(area.has_large_page());
    }
}
