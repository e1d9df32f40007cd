#include "tests/bytes.hpp"
#include "tests/interpreter_fixture.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace {

namespace event = protocol::event;
namespace operation = protocol::operation;
using Fixture = tests::InterpreterFixture;
using PaeFixture = tests::PaeInterpreterFixture;
using protocol::paging_level;
using protocol::rejection;
using tests::record_of;
using tests::Records;
using tests::records_of;

using Calls = std::vector<std::string>;

event::changed changed(std::uint32_t number) {
    return {.operation = number};
}

event::rejected rejected(std::uint32_t number, rejection reason) {
    return {.operation = number, .reason = reason};
}

event::entry_read entry_read(std::uint32_t number, paging_level level, std::uint64_t value) {
    return {.operation = number, .level = level, .value = value};
}

constexpr std::uint32_t base = 0x40000000;

} // namespace

TEST_CASE_FIXTURE(Fixture, "a page is mapped, protected, written to and unmapped") {
    CHECK_RECORDS(
        run(operation::map{.address = base + 0x1234, .frame = 3, .rights = 1, .invalidate = 0},
            operation::read_entry{.address = base + 0x1000, .level = paging_level::page_table},
            operation::protect{.address = base + 0x1000, .rights = 2, .invalidate = 0},
            operation::read_entry{.address = base + 0x1000, .level = paging_level::page_table},
            operation::write_entry{.address = base + 0x1000,
                                   .level = paging_level::page_table,
                                   .clear = 4,
                                   .set = 0x60,
                                   .invalidate = 0},
            operation::read_entry{.address = base + 0x1000, .level = paging_level::page_table},
            operation::unmap{.address = base + 0x1000, .invalidate = 0},
            operation::read_entry{.address = base + 0x1000, .level = paging_level::page_table},
            operation::read_entry{.address = base, .level = paging_level::page_directory}),
        records_of(changed(0), entry_read(1, paging_level::page_table, 0x403003), changed(2),
                   entry_read(3, paging_level::page_table, 0x403005), changed(4),
                   entry_read(5, paging_level::page_table, 0x403061), changed(6),
                   entry_read(7, paging_level::page_table, 0),
                   entry_read(8, paging_level::page_directory, 0x111007)));
    CHECK(machine.processor.calls.empty());
}

TEST_CASE_FIXTURE(PaeFixture, "all 64 bits of an entry are told") {
    CHECK_RECORDS(run(operation::map{.address = base, .frame = 0, .rights = 4, .invalidate = 0},
                      operation::write_entry{.address = base,
                                             .level = paging_level::page_table,
                                             .clear = 0,
                                             .set = 0x0012'3400'0000'0000,
                                             .invalidate = 0},
                      operation::read_entry{.address = base, .level = paging_level::page_table}),
                  records_of(changed(0), changed(1),
                             entry_read(2, paging_level::page_table, 0x8012'3400'0040'0001)));
}

TEST_CASE_FIXTURE(Fixture, "a translation is invalidated where the operation says so, afterwards") {
    std::vector<std::uint64_t> entries;
    machine.processor.on_invalidate = [&](std::uint32_t address) {
        entries.push_back(space.read(paging_level::page_table, address));
    };
    run(operation::map{.address = base + 0x2001, .frame = 1, .rights = 0, .invalidate = 1},
        operation::protect{.address = base + 0x2002, .rights = 1, .invalidate = 2},
        operation::write_entry{.address = base + 0x2003,
                               .level = paging_level::page_table,
                               .clear = 0,
                               .set = 0x20,
                               .invalidate = 0xFF},
        operation::unmap{.address = base + 0x2004, .invalidate = 1},
        operation::invalidate{.address = base + 0x2005});
    CHECK(machine.processor.calls == Calls{"invalidate_page 40002001", "invalidate_page 40002002",
                                           "invalidate_page 40002003", "invalidate_page 40002004",
                                           "invalidate_page 40002005"});
    CHECK(entries == std::vector<std::uint64_t>{0x401001, 0x401003, 0x401023, 0, 0});
}

TEST_CASE_FIXTURE(Fixture, "what is rejected changes and invalidates nothing") {
    const auto before = machine.page_tables;
    const std::uint32_t outside = base + 0x8000;
    CHECK_RECORDS(run(operation::map{.address = base, .frame = 8, .rights = 0, .invalidate = 1},
                      operation::unmap{.address = base, .invalidate = 1},
                      operation::protect{.address = base, .rights = 16, .invalidate = 1},
                      operation::invalidate{.address = outside},
                      operation::write_entry{.address = base,
                                             .level = paging_level::page_table,
                                             .clear = 0,
                                             .set = 0x1000,
                                             .invalidate = 1},
                      operation::read_entry{.address = base, .level = paging_level::pointer_table},
                      operation::read_entry{.address = outside, .level = paging_level::page_table}),
                  records_of(rejected(0, rejection::bad_frame), rejected(1, rejection::not_mapped),
                             rejected(2, rejection::bad_value), rejected(3, rejection::bad_address),
                             rejected(4, rejection::bad_bits), rejected(5, rejection::bad_level),
                             rejected(6, rejection::bad_address)));
    CHECK(machine.page_tables == before);
    CHECK(machine.processor.calls.empty());
    CHECK(progress == core::Progress::going);
}
