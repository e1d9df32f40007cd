#include "tests/bytes.hpp"
#include "tests/interpreter_fixture.hpp"

#include <doctest/doctest.h>

#include <cstdint>

namespace {

namespace event = protocol::event;
namespace operation = protocol::operation;
using core::Progress;
using protocol::allocation_failure;
using protocol::free_failure;
using tests::Records;
using tests::records_of;

// Owns frames [4, 8) and [16, 20).
using Fixture = tests::InterpreterFixture;

event::allocated allocated(std::uint32_t number, std::uint32_t frame, std::uint32_t count) {
    return {.operation = number, .frame = frame, .count = count};
}

event::allocation_failed failed(std::uint32_t number, allocation_failure reason) {
    return {.operation = number, .reason = reason};
}

event::freed freed(std::uint32_t number, std::uint32_t frame, std::uint32_t count) {
    return {.operation = number, .frame = frame, .count = count};
}

event::free_rejected rejected(std::uint32_t number, std::uint64_t address, free_failure reason) {
    return {.operation = number, .address = address, .reason = reason};
}

} // namespace

TEST_CASE_FIXTURE(Fixture, "allocations") {
    CHECK_RECORDS(run(operation::allocate{}, operation::allocate_run{.count = 4, .alignment = 1},
                      operation::allocate_run{.count = 0, .alignment = 1},
                      operation::allocate_run{.count = 1, .alignment = 6},
                      operation::allocate_run{.count = 4, .alignment = 1}, operation::count{}),
                  records_of(allocated(0, 4, 1), allocated(1, 16, 4),
                             failed(2, allocation_failure::zero_count),
                             failed(3, allocation_failure::bad_alignment),
                             failed(4, allocation_failure::no_run),
                             event::counted{.operation = 5, .free_frames = 3}));
    CHECK(progress == Progress::going);
}

TEST_CASE_FIXTURE(Fixture, "exhausting reports runs, and leaves nothing") {
    CHECK_RECORDS(run(operation::exhaust{}, operation::exhaust{}, operation::allocate{}),
                  records_of(event::exhausted_run{.operation = 0, .first = 4, .count = 4},
                             event::exhausted_run{.operation = 0, .first = 16, .count = 4},
                             event::exhausted{.operation = 0, .frames = 8},
                             event::exhausted{.operation = 1, .frames = 0},
                             failed(2, allocation_failure::none_free)));
}

TEST_CASE_FIXTURE(Fixture, "a dump lists the free set and changes nothing") {
    CHECK_RECORDS(run(operation::allocate{}, operation::dump{}, operation::count{}),
                  records_of(allocated(0, 4, 1),
                             event::free_range{.operation = 1, .first = 5, .end = 8},
                             event::free_range{.operation = 1, .first = 16, .end = 20},
                             event::dumped{.operation = 1, .ranges = 2, .frames = 7},
                             event::counted{.operation = 2, .free_frames = 7}));
}

TEST_CASE_FIXTURE(Fixture, "freeing what an operation was given") {
    CHECK_RECORDS(run(operation::allocate_run{.count = 3, .alignment = 4},
                      operation::free{.operation = 0}, operation::free{.operation = 0},
                      operation::allocate{}, operation::free{.operation = 3}),
                  records_of(allocated(0, 4, 3), freed(1, 4, 3),
                             rejected(2, 0x4000, free_failure::already_free), allocated(3, 4, 1),
                             freed(4, 4, 1)));
}

TEST_CASE_FIXTURE(Fixture, "what is somebody else's by now is taken back all the same") {
    CHECK_RECORDS(
        run(operation::allocate{}, operation::free{.operation = 0}, operation::allocate{},
            operation::free{.operation = 0}),
        records_of(allocated(0, 4, 1), freed(1, 4, 1), allocated(2, 4, 1), freed(3, 4, 1)));
}

TEST_CASE_FIXTURE(Fixture, "a run of which one frame is free already is not taken back at all") {
    CHECK_RECORDS(run(operation::allocate_run{.count = 4, .alignment = 1},
                      operation::free_address{.address = 0x6000}, operation::free{.operation = 0},
                      operation::count{}),
                  records_of(allocated(0, 4, 4), freed(1, 6, 1),
                             rejected(2, 0x6000, free_failure::already_free),
                             event::counted{.operation = 3, .free_frames = 5}));
}

TEST_CASE_FIXTURE(Fixture, "operations that were given nothing have nothing to free") {
    const auto nothing = free_failure::nothing_allocated;
    CHECK_RECORDS(run(operation::free{.operation = 0}, operation::free{.operation = 2},
                      operation::free{.operation = 0xFFFFFFFF},
                      operation::allocate_run{.count = 5, .alignment = 1},
                      operation::free{.operation = 3}, operation::free{.operation = 1}),
                  records_of(rejected(0, 0, nothing), rejected(1, 0, nothing),
                             rejected(2, 0, nothing), failed(3, allocation_failure::no_run),
                             rejected(4, 0, nothing), rejected(5, 0, nothing)));
}

TEST_CASE_FIXTURE(Fixture, "what was exhausted was not given by `allocated`") {
    const Records records = run(operation::exhaust{}, operation::free{.operation = 0});
    CHECK(records.back() == tests::record_of(rejected(1, 0, free_failure::nothing_allocated)));
}

TEST_CASE_FIXTURE(Fixture, "freeing an address, right or wrong") {
    CHECK_RECORDS(run(operation::allocate{}, operation::free_address{.address = 0x4000},
                      operation::free_address{.address = 0x4000},
                      operation::free_address{.address = 0x4001},
                      operation::free_address{.address = 0x3000},
                      operation::free_address{.address = 0x1'0000'4000}),
                  records_of(allocated(0, 4, 1), freed(1, 4, 1),
                             rejected(2, 0x4000, free_failure::already_free),
                             rejected(3, 0x4001, free_failure::misaligned),
                             rejected(4, 0x3000, free_failure::not_owned),
                             rejected(5, 0x1'0000'4000, free_failure::out_of_range)));
}
