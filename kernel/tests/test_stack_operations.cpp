#include "tests/bytes.hpp"
#include "tests/interpreter_fixture.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace {

namespace event = protocol::event;
namespace operation = protocol::operation;
// Has three stacks.
using Fixture = tests::InterpreterFixture;
using protocol::overflow_kind;
using protocol::rejection;
using protocol::stack_failure;
using tests::record_of;
using tests::Records;
using tests::records_of;

using Calls = std::vector<std::string>;

constexpr std::uint32_t base = 0xD0000000;

event::stack_allocated allocated(std::uint32_t number, std::uint32_t stack) {
    return {.operation = number, .stack = stack, .address = base + stack * 8192};
}

event::stack_freed freed(std::uint32_t number, std::uint32_t stack) {
    return {.operation = number, .stack = stack};
}

event::stack_rejected rejected(std::uint32_t number, std::uint32_t address, stack_failure reason) {
    return {.operation = number, .address = address, .reason = reason};
}

operation::overflow overflow(std::uint32_t number, overflow_kind how, std::uint32_t size = 0) {
    return {.operation = number, .how = how, .size = size};
}

} // namespace

TEST_CASE_FIXTURE(Fixture, "stacks are handed out, lowest first, and taken back") {
    CHECK_RECORDS(run(operation::stack_allocate{}, operation::stack_allocate{},
                      operation::stack_allocate{}, operation::stack_allocate{},
                      operation::stack_free{.operation = 1}, operation::stack_free{.operation = 1},
                      operation::stack_allocate{},
                      operation::stack_free_address{.address = base + 8192},
                      operation::stack_free{.operation = 6}),
                  records_of(allocated(0, 0), allocated(1, 1), allocated(2, 2),
                             rejected(3, 0, stack_failure::none_free), freed(4, 1),
                             rejected(5, base + 8192, stack_failure::not_in_use), allocated(6, 1),
                             freed(7, 1), rejected(8, base + 8192, stack_failure::not_in_use)));
}

TEST_CASE_FIXTURE(Fixture, "operations that were given no stack have none to free or overflow") {
    const auto nothing = stack_failure::nothing_allocated;
    constexpr overflow_kind unknown{8};
    CHECK_RECORDS(run(operation::allocate{}, operation::stack_free{.operation = 0},
                      operation::stack_free{.operation = 2}, operation::stack_free{.operation = 9},
                      operation::stack_free{.operation = 0xFFFFFFFF}, overflow(0, unknown, 3),
                      overflow(6, overflow_kind::push), overflow(0xFFFFFFFF, overflow_kind::push)),
                  records_of(event::allocated{.operation = 0, .frame = 4, .count = 1},
                             rejected(1, 0, nothing), rejected(2, 0, nothing),
                             rejected(3, 0, nothing), rejected(4, 0, nothing),
                             rejected(5, 0, nothing), rejected(6, 0, nothing),
                             rejected(7, 0, nothing)));
    CHECK(machine.processor.calls.empty());
}

TEST_CASE_FIXTURE(Fixture, "a stack is no frame: neither is freed as the other") {
    CHECK_RECORDS(
        run(operation::stack_allocate{}, operation::free{.operation = 0}),
        records_of(allocated(0, 0),
                   event::free_rejected{.operation = 1,
                                        .address = 0,
                                        .reason = protocol::free_failure::nothing_allocated}));
}

TEST_CASE_FIXTURE(Fixture, "freeing an address, right or wrong, names the address") {
    const auto at = [](std::uint32_t address) {
        return operation::stack_free_address{.address = address};
    };
    CHECK_RECORDS(run(operation::stack_allocate{}, at(base - 1), at(base + 3 * 8192),
                      at(base + 4096), at(base + 8192), at(base)),
                  records_of(allocated(0, 0), rejected(1, base - 1, stack_failure::outside),
                             rejected(2, base + 3 * 8192, stack_failure::outside),
                             rejected(3, base + 4096, stack_failure::misaligned),
                             rejected(4, base + 8192, stack_failure::not_in_use), freed(5, 0)));
}

TEST_CASE_FIXTURE(Fixture, "stacks overflow in every way, even after they were freed") {
    run(operation::stack_allocate{}, operation::stack_allocate{},
        operation::stack_free{.operation = 1}, overflow(0, overflow_kind::push, 7),
        overflow(1, overflow_kind::call), overflow(1, overflow_kind::recursion, 1024),
        overflow(1, overflow_kind::array, 12288), overflow(1, overflow_kind::interrupt),
        overflow(1, overflow_kind::exception), overflow(1, overflow_kind::string),
        overflow(1, overflow_kind::straddle, 0xFFFFFFFF));
    CHECK(machine.processor.calls ==
          Calls{"overflow d0001000 0 7", "overflow d0003000 1 0", "overflow d0003000 2 400",
                "overflow d0003000 3 3000", "overflow d0003000 4 0", "overflow d0003000 5 0",
                "overflow d0003000 6 0", "overflow d0003000 7 ffffffff"});
}

TEST_CASE_FIXTURE(Fixture, "an overflow that faults does so on its stack") {
    machine.processor.expected_fault =
        tests::fault(protocol::exception::double_fault, 0xC0101234, base + 8192 + 4096);
    const Records records = run(operation::stack_allocate{}, operation::stack_allocate{},
                                overflow(1, overflow_kind::push));
    const auto faults = tests::only<event::fault>(records);
    REQUIRE(faults.size() == 1);
    const auto fault = tests::event_in<event::fault>(faults[0]);
    CHECK(tests::copy(fault.operation) == 2);
    CHECK(tests::copy(fault.stack) == protocol::stack_kind::task);
    CHECK(tests::copy(fault.stack_number) == 1);
    CHECK(records.back() ==
          record_of(
              event::attempted{.operation = 2, .outcome = protocol::attempt::faulted, .value = 0}));
}

TEST_CASE_FIXTURE(Fixture, "arrays and recursions have a size, which is checked last") {
    const auto verdict = [&](overflow_kind how, std::uint32_t size) {
        return run(operation::stack_allocate{}, overflow(0, how, size),
                   operation::stack_free{.operation = 0})[1];
    };
    const auto rejected_as = [](rejection reason) {
        return record_of(event::rejected{.operation = 1, .reason = reason});
    };
    const auto done =
        record_of(event::attempted{.operation = 1, .outcome = protocol::attempt::done, .value = 0});
    CHECK(verdict(overflow_kind{8}, 3) == rejected_as(rejection::bad_value));
    CHECK(verdict(overflow_kind{255}, 4) == rejected_as(rejection::bad_value));
    for (const std::uint32_t size : {4u, 8u, 4096u, 12284u, 12288u}) {
        INFO("array of ", size);
        CHECK(verdict(overflow_kind::array, size) == done);
    }
    for (const std::uint32_t size : {0u, 2u, 5u, 4098u, 12290u, 12292u, 0xFFFFFFFCu}) {
        INFO("array of ", size);
        CHECK(verdict(overflow_kind::array, size) == rejected_as(rejection::bad_size));
    }
    for (const std::uint32_t size : {8u, 12u, 1020u, 1024u}) {
        INFO("recursion with ", size);
        CHECK(verdict(overflow_kind::recursion, size) == done);
    }
    for (const std::uint32_t size : {0u, 4u, 10u, 1022u, 1028u, 12288u, 0xFFFFFFFCu}) {
        INFO("recursion with ", size);
        CHECK(verdict(overflow_kind::recursion, size) == rejected_as(rejection::bad_size));
    }
}

TEST_CASE_FIXTURE(Fixture, "a task's stack is not freed or overflowed by others") {
    // The main task gives stack 0 back, and a task gets it.
    const auto used = stack_failure::used_by_task;
    const Records records = run(
        operation::stack_allocate{}, operation::stack_free{.operation = 0},
        operation::spawn{.body = 0, .priority = 0}, operation::stack_free{.operation = 0},
        operation::stack_free_address{.address = base}, overflow(0, overflow_kind{8}, 3),
        operation::stack_free{.operation = 2}, overflow(2, overflow_kind::push), operation::yield{},
        operation::stack_free{.operation = 0}, overflow(0, overflow_kind::push), operation::body{});
    CHECK_RECORDS(tests::only<event::stack_rejected>(records),
                  records_of(rejected(3, 0, used), rejected(4, base, used), rejected(5, 0, used),
                             rejected(6, 0, stack_failure::nothing_allocated),
                             rejected(7, 0, stack_failure::nothing_allocated),
                             rejected(9, base, stack_failure::not_in_use)));
    CHECK(machine.processor.calls == Calls{"overflow d0001000 0 0"});
}

TEST_CASE_FIXTURE(Fixture, "an array does not reach into the object below if that is a task's") {
    const auto verdict = [&](overflow_kind how, std::uint32_t size) {
        // Stack 0 is the task's, stack 1 the main task's.
        const Records records =
            run(operation::spawn{.body = 0, .priority = 0}, operation::stack_allocate{},
                overflow(1, how, size), operation::stack_free{.operation = 1}, operation::body{});
        return records[2];
    };
    const auto done =
        record_of(event::attempted{.operation = 2, .outcome = protocol::attempt::done, .value = 0});
    const auto used = record_of(rejected(2, 0, stack_failure::used_by_task));
    CHECK(verdict(overflow_kind::array, 8192) == done);
    CHECK(verdict(overflow_kind::array, 8196) == used);
    CHECK(verdict(overflow_kind::array, 12288) == used);
    CHECK(verdict(overflow_kind::array, 12292) ==
          record_of(event::rejected{.operation = 2, .reason = rejection::bad_size}));
    CHECK(verdict(overflow_kind::push, 12288) == done);
    // Without a task it may.
    CHECK(run(operation::stack_allocate{}, operation::stack_allocate{},
              overflow(1, overflow_kind::array, 12288))[2] == done);
}
