#include "core/interpreter.hpp"
#include "tests/bytes.hpp"
#include "tests/interpreter_fixture.hpp"

#include <doctest/doctest.h>

#include <cstdint>

namespace {

namespace event = protocol::event;
namespace operation = protocol::operation;
using core::Progress;
using Fixture = tests::InterpreterFixture;
using tests::Records;
using tests::records_of;

core::FaultRecord division() {
    return tests::fault(protocol::exception::divide_error, 0xC0101234, 0xC0104000);
}

event::fault division_at(std::uint32_t number) {
    return {.operation = number,
            .vector = protocol::exception::divide_error,
            .error_code = 0,
            .cr2 = 0,
            .eip = 0xC0101234,
            .esp = 0xC0104000,
            .cpl = 0,
            .stack = protocol::stack_kind::probe,
            .stack_number = 0};
}

} // namespace

TEST_CASE_FIXTURE(Fixture, "no operations, no events") {
    CHECK_RECORDS(run(), Records{});
    CHECK(progress == Progress::going);
}

TEST_CASE_FIXTURE(Fixture, "a fault is recorded at the operation that runs, and the run goes on") {
    machine.processor.expected_fault = division();
    CHECK_RECORDS(run(operation::count{}, operation::reload{}, operation::count{}),
                  records_of(event::counted{.operation = 0, .free_frames = 8}, division_at(1),
                             event::attempted{
                                 .operation = 1, .outcome = protocol::attempt::faulted, .value = 0},
                             event::counted{.operation = 2, .free_frames = 8}));
    CHECK(progress == Progress::going);
    CHECK(machine.processor.after_fault == core::AfterFault::resume);
}

TEST_CASE_FIXTURE(Fixture, "nothing is recorded after a fault that nothing expected") {
    machine.processor.unexpected_fault = division();
    const Records records = run(operation::reload{}, operation::count{});
    CHECK(progress == Progress::stopped);
    CHECK(machine.processor.after_fault == core::AfterFault::end_run);
    REQUIRE(records.size() == 3);
    CHECK(records[0] == tests::record_of(division_at(0)));
    CHECK(records[1].kind == event::registers::kind);
    CHECK(records[2] ==
          tests::record_of(event::panic{.reason = protocol::panic_reason::unexpected_fault,
                                        .detail = 0xC0101234}));
}

TEST_CASE_FIXTURE(Fixture, "a program that somebody wrote over while it ran is a bad one") {
    tests::Bytes bytes = tests::program(operation::count{}, operation::reload{});
    const core::Program program(bytes);
    REQUIRE_FALSE(program.defect().has_value());
    bytes[bytes.size() - 3] = std::byte{0xFF};
    CHECK_RECORDS(
        run_program(program, 2),
        records_of(event::counted{.operation = 0, .free_frames = 8},
                   event::panic{.reason = protocol::panic_reason::bad_program, .detail = 0}));
}
