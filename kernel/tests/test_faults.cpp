#include "core/faults.hpp"
#include "tests/bytes.hpp"
#include "tests/fake_processor.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <ostream>

namespace {

namespace event = protocol::event;
using core::AfterFault;
using core::FaultRecord;
using protocol::stack_kind;
using tests::Bytes;
using tests::copy;
using tests::read_trace;
using tests::Records;
using tests::records_of;

// A different number in each field.
constexpr FaultRecord record{.vector = protocol::exception::page_fault,
                             .error_code = 3,
                             .cr2 = 0x40000123,
                             .eip = 0xC0101234,
                             .esp = 0xC0102000,
                             .cpl = 3,
                             .eax = 1,
                             .ecx = 2,
                             .edx = 4,
                             .ebx = 5,
                             .ebp = 6,
                             .esi = 7,
                             .edi = 8,
                             .eflags = 0x10202,
                             .cs = 0xABCD001B,
                             .cr0 = 0x80010011,
                             .cr3 = 0x10A000,
                             .cr4 = 0x20};

struct Classified {
    stack_kind kind;
    std::uint32_t number;

    bool operator==(const Classified&) const = default;
    friend std::ostream& operator<<(std::ostream& stream, const Classified& stack) {
        return stream << "kind " << static_cast<unsigned>(stack.kind) << " number " << stack.number;
    }
};

class Fixture {
public:
    static constexpr core::LinearRange stacks{0xD0000000, 0xD0000000 + 1000 * 8192};

    Fixture() { faults.know_task_stacks(stacks); }

    Classified classified(std::uint32_t esp) {
        Bytes own_buffer(0x400);
        core::Trace own_trace(own_buffer);
        core::Faults own_faults(own_trace, {0xC0103000, 0xC0104000});
        own_faults.know_task_stacks(stacks);
        own_faults.on_fault(tests::fault(record.vector, 0, esp), true);
        const auto event = tests::event_in<event::fault>(read_trace(own_buffer).at(0));
        CHECK(copy(event.esp) == esp);
        return {event.stack, event.stack_number};
    }

    static event::fault expected_fault(std::uint32_t operation) {
        return {.operation = operation,
                .vector = protocol::exception::page_fault,
                .error_code = 3,
                .cr2 = 0x40000123,
                .eip = 0xC0101234,
                .esp = 0xC0102000,
                .cpl = 3,
                .stack = stack_kind::kernel,
                .stack_number = 0};
    }

    Bytes buffer = Bytes(0x400);
    core::Trace trace{buffer};
    core::Faults faults{trace, {0xC0103000, 0xC0104000}};
};

constexpr Classified kernel{stack_kind::kernel, 0};
constexpr Classified probe{stack_kind::probe, 0};
constexpr Classified user{stack_kind::user, 0};

constexpr Classified task(std::uint32_t number) {
    return {stack_kind::task, number};
}

} // namespace

TEST_CASE_FIXTURE(Fixture, "a fault that is expected is one event, and the run goes on") {
    faults.operation_begins(5);
    CHECK(faults.on_fault(record, true) == AfterFault::resume);
    faults.operation_begins(6);
    CHECK(faults.on_fault(record, true) == AfterFault::resume);
    CHECK_RECORDS(read_trace(buffer), records_of(expected_fault(5), expected_fault(6)));
    CHECK(trace.status() == protocol::trace_status::running);
}

TEST_CASE_FIXTURE(Fixture, "a fault that nothing expects shows the registers, and ends the run") {
    faults.operation_begins(9);
    CHECK(faults.on_fault(record, false) == AfterFault::end_run);
    CHECK_RECORDS(read_trace(buffer),
                  records_of(expected_fault(9),
                             event::registers{.eax = 1,
                                              .ecx = 2,
                                              .edx = 4,
                                              .ebx = 5,
                                              .ebp = 6,
                                              .esi = 7,
                                              .edi = 8,
                                              .eflags = 0x10202,
                                              .cs = 0xABCD001B & 0xFFFF,
                                              .cr0 = 0x80010011,
                                              .cr3 = 0x10A000,
                                              .cr4 = 0x20},
                             event::panic{.reason = protocol::panic_reason::unexpected_fault,
                                          .detail = 0xC0101234}));
    CHECK(trace.status() == protocol::trace_status::panicked);
}

TEST_CASE("a trace without room ends the run, expected or not") {
    constexpr std::size_t panic = core::Trace::minimum_size;
    const auto reason = [](std::size_t room, bool expected) {
        Bytes small(room);
        core::Trace trace(small);
        core::Faults faults(trace, {0, 0});
        CHECK(faults.on_fault(record, expected) == AfterFault::end_run);
        return copy(tests::event_in<event::panic>(read_trace(small).back()).reason);
    };
    using protocol::panic_reason;
    const std::size_t fault = panic + sizeof(event::fault);
    const std::size_t all = fault + sizeof(event::registers);
    CHECK(reason(fault - 1, true) == panic_reason::trace_full);
    CHECK(reason(fault - 1, false) == panic_reason::trace_full);
    CHECK(reason(all - 1, false) == panic_reason::trace_full);
    CHECK(reason(all, false) == panic_reason::unexpected_fault);
}

TEST_CASE_FIXTURE(Fixture, "faults after the end of the run are not recorded") {
    static_cast<void>(trace.complete(0));
    const Bytes before = buffer;
    CHECK(faults.on_fault(record, true) == AfterFault::end_run);
    CHECK(buffer == before);
}

TEST_CASE_FIXTURE(Fixture, "a stack pointer on a task's stack or its guard page") {
    constexpr std::uint32_t object = 0xD0000000 + 17 * 8192;
    CHECK(classified(object - 1) == task(16));
    CHECK(classified(object) == task(16));
    CHECK(classified(object + 1) == task(17));
    CHECK(classified(object + 4095) == task(17));
    CHECK(classified(object + 4096) == task(17));
    CHECK(classified(object + 4097) == task(17));
    CHECK(classified(object + 8191) == task(17));
    CHECK(classified(object + 8192) == task(17));
    CHECK(classified(object + 8193) == task(18));
}

TEST_CASE_FIXTURE(Fixture, "the first stack of the pool, the last one, and what is beside them") {
    CHECK(classified(0xD0000000) == kernel);
    CHECK(classified(0xD0000001) == task(0));
    CHECK(classified(0xD0002000) == task(0));
    constexpr std::uint32_t end = 0xD0000000 + 1000 * 8192;
    CHECK(classified(end) == task(999));
    CHECK(classified(end + 1) == kernel);
    CHECK(classified(0xCFFFFFFF) == kernel);
    CHECK(classified(0) == kernel);
    CHECK(classified(0xFFFFFFFF) == kernel);
}

TEST_CASE_FIXTURE(Fixture, "the probe stack and the user-mode stack") {
    CHECK(classified(0xC0103000) == kernel);
    CHECK(classified(0xC0103001) == probe);
    CHECK(classified(0xC0104000) == probe);
    CHECK(classified(0xC0104001) == kernel);
    CHECK(classified(0x80001000) == kernel);
    CHECK(classified(0x80001001) == user);
    CHECK(classified(0x80002000) == user);
    CHECK(classified(0x80002001) == kernel);
}

TEST_CASE("as long as there is no pool, no stack is a task's") {
    Bytes buffer(0x400);
    core::Trace trace(buffer);
    core::Faults faults(trace, {0xC0103000, 0xC0104000});
    faults.on_fault(tests::fault(record.vector, 0, 0xD0000001), true);
    CHECK(copy(tests::event_in<event::fault>(read_trace(buffer).at(0)).stack) ==
          stack_kind::kernel);
}
