#include "core/program.hpp"
#include "tests/bytes.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>

namespace {

namespace operation = protocol::operation;
using core::Program;
using tests::Bytes;
using tests::bytes_of;
using tests::joined;
using tests::program;

std::optional<std::uint32_t> defect(const Bytes& bytes) {
    return Program(bytes).defect();
}

constexpr std::uint32_t header_size = sizeof(protocol::program_header);

Bytes header(std::uint32_t magic, std::uint32_t operations, std::uint32_t stacks = 0,
             std::uint32_t schedule = 0, std::uint32_t quantum = 1) {
    return bytes_of(protocol::program_header{.magic = magic,
                                             .operations = operations,
                                             .state_regions = 0,
                                             .flags = 0,
                                             .stacks = stacks,
                                             .schedule = schedule,
                                             .quantum = quantum});
}

} // namespace

TEST_CASE("a program without operations, and one with each of them") {
    CHECK(defect(program()) == std::nullopt);
    const Bytes bytes =
        program(operation::allocate{}, operation::allocate_run{.count = 3, .alignment = 4},
                operation::free{.operation = 1}, operation::free_address{.address = 0x1000},
                operation::count{}, operation::exhaust{}, operation::dump{});
    const Program whole(bytes);
    CHECK(whole.defect() == std::nullopt);
    CHECK(whole.operation_count() == 7);
    Program::Cursor cursor(whole);
    CHECK(cursor.code() == protocol::operation_code::allocate);
    static_cast<void>(cursor.take<operation::allocate>());
    CHECK(cursor.code() == protocol::operation_code::allocate_run);
    const auto run = cursor.take<operation::allocate_run>();
    CHECK(tests::copy(run.count) == 3);
    CHECK(tests::copy(run.alignment) == 4);
}

TEST_CASE("a cursor starts where it is told to, and can skip what it does not know") {
    const Bytes bytes =
        program(operation::allocate{}, operation::free{.operation = 1}, operation::dump{});
    const Program whole(bytes);
    Program::Cursor cursor(whole);
    CHECK(cursor.offset() == 0);
    cursor.skip();
    CHECK(cursor.offset() == 4);
    CHECK(cursor.code() == protocol::operation_code::free);
    cursor.skip();
    CHECK(cursor.offset() == 12);
    CHECK(Program::Cursor(whole, 12).code() == protocol::operation_code::dump);
}

TEST_CASE("the header says which state regions are asked for") {
    const Bytes bytes = tests::program_with_states(0b101);
    const Program some(bytes);
    CHECK(some.asks_for(protocol::state_region::frame_bitmap));
    CHECK_FALSE(some.asks_for(protocol::state_region::frame_owned));
    CHECK(some.asks_for(protocol::state_region::page_tables));
}

TEST_CASE("what has no header, or another one, is a defect at 0") {
    CHECK(defect({}) == std::optional(0u));
    CHECK(defect(header(protocol::program_magic + 1, 0)) == std::optional(0u));
    Bytes cut = header(protocol::program_magic, 0);
    cut.pop_back();
    CHECK(defect(cut) == std::optional(0u));
}

TEST_CASE("more operations than the kernel takes are a defect at their number") {
    const auto with_operations = [](std::uint32_t count) {
        Bytes bytes = header(protocol::program_magic, count);
        for (std::uint32_t index = 0; index < count; ++index)
            tests::append(bytes, operation::count{});
        return bytes;
    };
    CHECK(defect(with_operations(protocol::maximum_operations)) == std::nullopt);
    CHECK(defect(with_operations(protocol::maximum_operations + 1)) == std::optional(4u));
    CHECK(defect(header(protocol::program_magic, 0xFFFFFFFF)) == std::optional(4u));
}

TEST_CASE("more stacks than the pool can have are a defect at their number") {
    const auto magic = protocol::program_magic;
    const Bytes most = header(magic, 0, protocol::maximum_stacks);
    CHECK(defect(most) == std::nullopt);
    CHECK(Program(most).stack_count() == protocol::maximum_stacks);
    CHECK(defect(header(magic, 0, protocol::maximum_stacks + 1)) == std::optional(16u));
    CHECK(defect(header(magic, 0, 0xFFFFFFFF)) == std::optional(16u));
}

TEST_CASE("a schedule that is none, or a quantum of 0, is a defect at its number") {
    const auto magic = protocol::program_magic;
    for (const std::uint32_t schedule : {0u, 1u, 2u})
        CHECK(defect(header(magic, 0, 0, schedule, 0xFFFFFFFF)) == std::nullopt);
    for (const std::uint32_t schedule : {3u, 256u, 0xFFFFFFFF})
        CHECK(defect(header(magic, 0, 0, schedule)) == std::optional(20u));
    CHECK(defect(header(magic, 0, 0, 0, 0)) == std::optional(24u));
    const Bytes bytes = header(magic, 0, 0, 1, 70000);
    CHECK(Program(bytes).schedule() == protocol::schedule::stepped);
    CHECK(Program(bytes).quantum() == 70000);
    CHECK_FALSE(Program(bytes).has_priorities());
}

TEST_CASE("the flags of the header are told apart") {
    const auto with_flags = [](std::uint32_t flags) {
        return bytes_of(protocol::program_header{.magic = protocol::program_magic,
                                                 .operations = 0,
                                                 .state_regions = 0,
                                                 .flags = flags,
                                                 .stacks = 0,
                                                 .schedule = 0,
                                                 .quantum = 1});
    };
    const Bytes priorities = with_flags(4);
    CHECK(Program(priorities).has_priorities());
    CHECK_FALSE(Program(priorities).wants_echo());
    const Bytes others = with_flags(3);
    CHECK_FALSE(Program(others).has_priorities());
    CHECK(Program(others).wants_echo());
}

TEST_CASE("the first defect is named: magic, operations, stacks, schedule, quantum") {
    const auto magic = protocol::program_magic;
    const std::uint32_t too_many = 0xFFFFFFFF;
    CHECK(defect(header(magic + 1, too_many, too_many, 9, 0)) == std::optional(0u));
    CHECK(defect(header(magic, too_many, too_many, 9, 0)) == std::optional(4u));
    CHECK(defect(header(magic, 1, too_many, 9, 0)) == std::optional(header_size));
    CHECK(defect(header(magic, 0, too_many, 9, 0)) == std::optional(16u));
    CHECK(defect(header(magic, 0, 0, 9, 0)) == std::optional(20u));
    CHECK(defect(header(magic, 0, 0, 0, 0)) == std::optional(24u));
}

TEST_CASE("an operation of an unknown code or another size is a defect at its offset") {
    using protocol::operation_code;
    using protocol::operation_header;
    const auto second = [](operation_header wrong) {
        return program(operation::allocate{}, operation::count{.header = wrong});
    };
    CHECK(defect(second({operation_code::count, 4})) == std::nullopt);
    CHECK(defect(second({operation_code::count, 3})) == std::optional(header_size + 4));
    CHECK(defect(second({operation_code::count, 5})) == std::optional(header_size + 4));
    CHECK(defect(second({operation_code::count, 0})) == std::optional(header_size + 4));
    CHECK(defect(second({operation_code{0}, 4})) == std::optional(header_size + 4));
    CHECK(defect(second({operation_code{0xFFFF}, 4})) == std::optional(header_size + 4));
    CHECK(defect(second({operation_code::free, 4})) == std::optional(header_size + 4));
}

TEST_CASE("a program cut short is a defect at the operation that does not fit") {
    const Bytes whole = program(operation::allocate_run{.count = 1, .alignment = 1},
                                operation::free_address{.address = 0});
    REQUIRE(whole.size() == header_size + 12 + 12);
    for (std::size_t length = header_size; length < whole.size(); ++length) {
        INFO("length ", length);
        const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
        CHECK(defect(cut) ==
              std::optional(length < header_size + 12 ? header_size : header_size + 12));
    }
}

TEST_CASE("bytes after the last operation do not matter") {
    CHECK(defect(joined({program(operation::count{}), Bytes(3, std::byte{0xFF})})) == std::nullopt);
}
