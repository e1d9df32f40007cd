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
using protocol::access_kind;
using protocol::base_register;
using protocol::control_bit;
using protocol::rejection;
using protocol::segment_register;
using tests::record_of;
using tests::Records;
using tests::records_of;

using Calls = std::vector<std::string>;

constexpr std::uint32_t base = 0x40000000;

event::attempted done(std::uint32_t number, std::uint64_t value = 0) {
    return {.operation = number, .outcome = protocol::attempt::done, .value = value};
}

event::rejected rejected(std::uint32_t number, rejection reason) {
    return {.operation = number, .reason = reason};
}

operation::probe probe(std::uint64_t address, access_kind access, std::uint8_t size,
                       std::uint8_t ring = 0, std::uint8_t alignment_check = 0,
                       base_register through = base_register::plain) {
    return {.address = address,
            .access = access,
            .size = size,
            .ring = ring,
            .alignment_check = alignment_check,
            .through = through};
}

operation::control control(control_bit bit, std::uint8_t value) {
    return {.bit = bit, .value = value};
}

// A segment that no check rejects.
constexpr operation::segment good_segment{.target = segment_register::fs,
                                          .expand_down = 0,
                                          .base = 0xC0400000,
                                          .limit = 0xFFF,
                                          .offset = 8,
                                          .access = access_kind::read,
                                          .size = 4};

template <typename Change> operation::segment segment_with(Change change) {
    operation::segment segment = good_segment;
    change(segment);
    return segment;
}

// The reason for which the one operation of a program is rejected.
template <typename Operation> rejection reason_of(Fixture& fixture, const Operation& operation) {
    fixture.machine.processor.calls.clear();
    const Records records = fixture.run(operation);
    CHECK(fixture.machine.processor.calls.empty());
    REQUIRE(records.size() == 1);
    return tests::event_in<event::rejected>(records[0]).reason;
}

template <typename Operation> bool is_done(Fixture& fixture, const Operation& operation) {
    return fixture.run(operation) == records_of(done(0));
}

} // namespace

TEST_CASE_FIXTURE(Fixture, "probes are made as the operation says, and tell what was read") {
    machine.processor.read_value = 0xC3C3C3C3;
    CHECK_RECORDS(run(probe(base + 0xFFE, access_kind::read, 4, 0, 1),
                      probe(base, access_kind::write, 1, 3), probe(base, access_kind::execute, 2),
                      probe(0xD0005FFE, access_kind::read, 2),
                      probe(0xC0100000, access_kind::execute, 4, 3)),
                  records_of(done(0, 0xC3C3C3C3), done(1, 0xC3C3C3C3), done(2, 0xC3C3C3C3),
                             // What is in a stack or in the kernel is not told.
                             done(3), done(4)));
    CHECK(machine.processor.calls == Calls{"access 40000ffe 0 4 0 1 0", "access 40000000 1 1 3 0 0",
                                           "access 40000000 2 2 0 0 0", "access d0005ffe 0 2 0 0 0",
                                           "access c0100000 2 4 3 0 0"});
}

TEST_CASE_FIXTURE(Fixture, "probes go through the register that the operation names") {
    run(probe(base, access_kind::read, 4, 0, 0, base_register::stack),
        probe(base, access_kind::write, 1, 3, 0, base_register::frame));
    CHECK(machine.processor.calls ==
          Calls{"access 40000000 0 4 0 0 1", "access 40000000 1 1 3 0 2"});
}

TEST_CASE_FIXTURE(Fixture, "an attempt that faults is over after its fault") {
    auto fault = tests::fault(protocol::exception::page_fault, 0xC0101234, 0xC0104000);
    fault.cr2 = base;
    fault.error_code = 2;
    machine.processor.expected_fault = fault;
    CHECK_RECORDS(
        run(probe(base, access_kind::write, 1)),
        records_of(
            event::fault{.operation = 0,
                         .vector = protocol::exception::page_fault,
                         .error_code = 2,
                         .cr2 = base,
                         .eip = 0xC0101234,
                         .esp = 0xC0104000,
                         .cpl = 0,
                         .stack = protocol::stack_kind::probe,
                         .stack_number = 0},
            event::attempted{.operation = 0, .outcome = protocol::attempt::faulted, .value = 0}));
}

TEST_CASE_FIXTURE(Fixture, "probes: what is wrong is named in this order") {
    const auto outside = base + 0x8000;
    const auto reason = [&](const operation::probe& operation) {
        return reason_of(*this, operation);
    };
    CHECK(reason(probe(outside, access_kind{3}, 3, 1, 1)) == rejection::bad_value);
    CHECK(reason(probe(outside, access_kind::read, 3, 1, 2)) == rejection::bad_value);
    CHECK(reason(probe(outside, access_kind::read, 3, 1, 1, base_register{3})) ==
          rejection::bad_value);
    CHECK(reason(probe(outside, access_kind::execute, 3, 1, 1, base_register::stack)) ==
          rejection::bad_value);
    CHECK(reason(probe(outside, access_kind::execute, 3, 1, 1, base_register::frame)) ==
          rejection::bad_value);
    CHECK(reason(probe(outside, access_kind::read, 3, 1, 1)) == rejection::bad_size);
    CHECK(reason(probe(base, access_kind::read, 0)) == rejection::bad_size);
    CHECK(reason(probe(base, access_kind::execute, 8)) == rejection::bad_size);
    CHECK(reason(probe(outside, access_kind::read, 1, 1)) == rejection::bad_ring);
    CHECK(reason(probe(base, access_kind::read, 1, 2)) == rejection::bad_ring);
    CHECK(reason(probe(base, access_kind::read, 1, 4)) == rejection::bad_ring);
    CHECK(reason(probe(outside, access_kind::read, 1)) == rejection::bad_address);
    CHECK(reason(probe(base + 0x7FFF, access_kind::execute, 2)) == rejection::bad_address);
    CHECK(reason(probe(0xD0006000, access_kind::read, 1)) == rejection::bad_address);
    CHECK(reason(probe(0xD0000000, access_kind::execute, 1)) == rejection::bad_address);
    CHECK(reason(probe(0xC0100000, access_kind::write, 1, 0)) == rejection::bad_address);
    // Only 64-bit mode has addresses that are not canonical.
    CHECK(reason(probe(std::uint64_t{1} << 47, access_kind::read, 1)) == rejection::bad_address);
}

TEST_CASE_FIXTURE(Fixture, "segments are described as the operation says") {
    run(good_segment, segment_with([](auto& segment) {
            segment.target = segment_register::fs;
            segment.expand_down = 1;
            segment.base = 0x20;
            segment.limit = 0x12345FFF;
            segment.offset = base - 0x20;
            segment.access = access_kind::write;
            segment.size = 2;
        }),
        segment_with([](auto& segment) {
            segment.target = segment_register::ss;
            segment.base = 0;
            segment.limit = 0xD0000FFF;
            segment.offset = base + 0x7FFF;
            segment.size = 1;
        }));
    CHECK(machine.processor.calls == Calls{"access_segment 0 0 c0400000 fff 8 0 4",
                                           "access_segment 0 1 20 12345fff 3fffffe0 1 2",
                                           "access_segment 1 0 0 d0000fff 40007fff 0 1"});
}

TEST_CASE_FIXTURE(Fixture, "segments: what is wrong is named in this order") {
    const auto reason = [&](auto change) { return reason_of(*this, segment_with(change)); };
    // Everything that a later check would find is wrong as well.
    const auto all_wrong = [](auto& segment) {
        segment.base = 0;
        segment.limit = 0x100000;
        segment.size = 3;
    };
    CHECK(reason([&](auto& segment) {
              all_wrong(segment);
              segment.target = segment_register{2};
          }) == rejection::bad_value);
    CHECK(reason([&](auto& segment) {
              all_wrong(segment);
              segment.expand_down = 2;
          }) == rejection::bad_value);
    CHECK(reason([&](auto& segment) {
              all_wrong(segment);
              segment.access = access_kind::execute;
          }) == rejection::bad_value);
    CHECK(reason([&](auto& segment) {
              all_wrong(segment);
              segment.access = access_kind{3};
          }) == rejection::bad_value);
    CHECK(reason(all_wrong) == rejection::bad_size);
    CHECK(reason([&](auto& segment) {
              all_wrong(segment);
              segment.size = 4;
          }) == rejection::bad_segment);
    CHECK(reason([](auto& segment) { segment.base = 0; }) == rejection::bad_address);
    CHECK(reason([](auto& segment) { segment.offset = 0x7FFD; }) == rejection::bad_address);
    CHECK(reason([](auto& segment) { segment.base = 0xD0000000; }) == rejection::bad_address);
}

TEST_CASE_FIXTURE(Fixture, "a segment's limit is one that a descriptor can say") {
    const auto with_limit = [](std::uint32_t limit) {
        return segment_with([=](auto& segment) { segment.limit = limit; });
    };
    for (const std::uint32_t limit : {0u, 1u, 0xFFFFEu, 0xFFFFFu, 0x100FFFu, 0xFFFFFFFFu}) {
        INFO("limit ", limit);
        CHECK(is_done(*this, with_limit(limit)));
    }
    for (const std::uint32_t limit : {0x100000u, 0x100FFEu, 0xFFFFFFFEu, 0xFFFFF7FFu}) {
        INFO("limit ", limit);
        CHECK(reason_of(*this, with_limit(limit)) == rejection::bad_segment);
    }
}

TEST_CASE_FIXTURE(Fixture, "the stack segment still has the kernel's stacks in it") {
    const auto stack = [](std::uint8_t expand_down, std::uint32_t start, std::uint32_t limit) {
        return segment_with([=](auto& segment) {
            segment.target = segment_register::ss;
            segment.expand_down = expand_down;
            segment.base = start;
            segment.limit = limit;
            segment.offset = 0xC0400000 - start;
        });
    };
    CHECK(is_done(*this, stack(0, 0, 0xC0400FFF)));
    CHECK(is_done(*this, stack(0, 0, 0xFFFFFFFF)));
    CHECK(reason_of(*this, stack(0, 0, 0xC03FFFFF)) == rejection::bad_segment);
    CHECK(reason_of(*this, stack(0, 0, 0xFFFFF)) == rejection::bad_segment);
    CHECK(reason_of(*this, stack(1, 0, 0xFFFFFFFF)) == rejection::bad_segment);
    CHECK(reason_of(*this, stack(0, 0x1000, 0xFFFFFFFF)) == rejection::bad_segment);
}

TEST_CASE_FIXTURE(Fixture, "linear addresses through a segment wrap around at the end") {
    CHECK(is_done(*this, segment_with([](auto& segment) {
        segment.base = 0xFFFFFFF0;
        segment.limit = 0xFFFFFFFF;
        segment.offset = 0xC0400010;
    })));
    CHECK(reason_of(*this, segment_with([](auto& segment) {
              segment.base = 0xFFFFFFF0;
              segment.limit = 0xFFFFFFFF;
              segment.offset = 0xE;
          })) == rejection::bad_address);
}

TEST_CASE_FIXTURE(Fixture, "control bits are set and cleared") {
    machine.processor.registers.cr4 = 0x10;
    run(control(control_bit::write_protect, 0), control(control_bit::page_size_extensions, 1),
        control(control_bit::page_size_extensions, 0),
        control(control_bit::supervisor_execution, 1), control(control_bit::supervisor_access, 1));
    CHECK(machine.processor.calls == Calls{"write_control 0 0", "write_control 1 1",
                                           "write_control 1 0", "write_control 3 1",
                                           "write_control 4 1"});
}

TEST_CASE_FIXTURE(Fixture, "control bits: what is wrong is named in this order") {
    const auto reason = [&](control_bit bit, std::uint8_t value) {
        return reason_of(*this, control(bit, value));
    };
    machine.processor.has = 0;
    CHECK(reason(control_bit{5}, 0) == rejection::bad_value);
    CHECK(reason(control_bit::supervisor_access, 2) == rejection::bad_value);
    CHECK(reason(control_bit::page_size_extensions, 1) == rejection::no_feature);
    CHECK(reason(control_bit::supervisor_execution, 0) == rejection::no_feature);
    CHECK(reason(control_bit::supervisor_access, 1) == rejection::no_feature);
    CHECK(is_done(*this, control(control_bit::write_protect, 1)));
    machine.processor.has = 0x1F;
    CHECK(reason(control_bit::no_execute, 1) == rejection::no_feature);
}

TEST_CASE_FIXTURE(Fixture, "large pages stay large: PSE is not cleared while there are any") {
    machine.processor.registers.cr4 = 0x10;
    machine.processor.has = 0x1E;
    const operation::map map{.address = base, .frame = 0, .rights = 8, .invalidate = 0};
    CHECK_RECORDS(run(map, control(control_bit::page_size_extensions, 0)),
                  records_of(event::changed{.operation = 0}, rejected(1, rejection::no_feature)));
    machine.processor.has = 0x1F;
    CHECK(reason_of(*this, control(control_bit::page_size_extensions, 0)) ==
          rejection::large_page_mapped);
    CHECK(is_done(*this, control(control_bit::page_size_extensions, 1)));
    CHECK(is_done(*this, control(control_bit::write_protect, 0)));
    run(operation::unmap{.address = base, .invalidate = 0});
    CHECK(is_done(*this, control(control_bit::page_size_extensions, 0)));
}

TEST_CASE_FIXTURE(PaeFixture, "with PAE paging PSE changes nothing, and NXE is there") {
    run(operation::map{.address = base, .frame = 0, .rights = 8, .invalidate = 0});
    CHECK(is_done(*this, control(control_bit::page_size_extensions, 0)));
    CHECK(is_done(*this, control(control_bit::no_execute, 0)));
    CHECK(machine.processor.calls == Calls{"write_control 1 0", "write_control 2 0"});
    machine.processor.has = 0x1B;
    CHECK(reason_of(*this, control(control_bit::no_execute, 0)) == rejection::no_feature);
}

TEST_CASE_FIXTURE(Fixture, "exceptions are raised on purpose") {
    for (std::uint32_t cause = 0; cause <= 29; ++cause) {
        machine.processor.calls.clear();
        CHECK(is_done(*this, operation::raise{.cause = protocol::raise_cause(cause)}));
        REQUIRE(machine.processor.calls.size() == 1);
        CHECK(std::stoul(machine.processor.calls[0].substr(6), nullptr, 16) == cause);
    }
    for (std::uint32_t cause = 30; cause <= 32; ++cause)
        CHECK(reason_of(*this, operation::raise{.cause = protocol::raise_cause(cause)}) ==
              rejection::no_feature);
    CHECK(reason_of(*this, operation::raise{.cause = protocol::raise_cause{33}}) ==
          rejection::bad_value);
    CHECK(reason_of(*this, operation::raise{.cause = protocol::raise_cause{255}}) ==
          rejection::bad_value);
}

TEST_CASE_FIXTURE(Fixture, "INT n is for vectors below 32 that have no error code") {
    for (std::uint32_t vector = 0; vector < 256; ++vector) {
        INFO("vector ", vector);
        const operation::interrupt interrupt{.vector = static_cast<std::uint8_t>(vector)};
        const bool bad = vector >= 32 || vector == 8 || (10 <= vector && vector <= 14) ||
                         vector == 17 || vector == 21;
        if (bad)
            CHECK(reason_of(*this, interrupt) == rejection::bad_vector);
        else
            CHECK(is_done(*this, interrupt));
    }
}

TEST_CASE_FIXTURE(Fixture, "CR3 is loaded with what is in it") {
    CHECK(is_done(*this, operation::reload{}));
    CHECK(machine.processor.calls == Calls{"reload"});
}

TEST_CASE_FIXTURE(Fixture, "a triple fault is the end of the run") {
    CHECK(run(operation::triple_fault{}, operation::reload{}).empty());
    CHECK(progress == core::Progress::stopped);
    CHECK(machine.processor.calls == Calls{"shut_down"});
}

TEST_CASE_FIXTURE(Fixture, "probes do not write to a task's stack, nor to its guard page") {
    constexpr std::uint32_t stacks_base = 0xD0000000;
    const auto verdict = [&](std::uint32_t address, access_kind access, std::uint8_t size,
                             std::uint8_t ring) {
        // Stack 0 is nobody's, stack 1 the task's.
        return run(operation::stack_allocate{}, operation::spawn{.body = 0, .priority = 0},
                   probe(address, access, size, ring), operation::stack_free{.operation = 0},
                   operation::body{})[2];
    };
    const auto bad_address = record_of(rejected(2, rejection::bad_address));
    const auto is_done = record_of(done(2));
    for (const std::uint8_t ring : {std::uint8_t{0}, std::uint8_t{3}}) {
        CHECK(verdict(stacks_base + 8192, access_kind::write, 1, ring) == bad_address);
        CHECK(verdict(stacks_base + 8192 - 1, access_kind::write, 2, ring) == bad_address);
        CHECK(verdict(stacks_base + 2 * 8192 - 1, access_kind::write, 1, ring) == bad_address);
        CHECK(verdict(stacks_base + 8192 - 4, access_kind::write, 4, ring) == is_done);
        CHECK(verdict(stacks_base + 2 * 8192, access_kind::write, 4, ring) == is_done);
        CHECK(verdict(stacks_base + 8192, access_kind::read, 4, ring) == is_done);
    }
}
