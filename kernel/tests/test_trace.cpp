#include "core/trace.hpp"
#include "tests/bytes.hpp"

#include <doctest/doctest.h>

#include <cstdint>

namespace {

namespace event = protocol::event;
using core::Progress;
using core::Trace;
using protocol::panic_reason;
using protocol::trace_status;
using tests::Bytes;
using tests::copy;
using tests::header_of;
using tests::read_trace;
using tests::records_of;

constexpr event::counted counted{.operation = 1, .free_frames = 2};
constexpr event::pass passed{.pass = protocol::allocator_pass::module, .free_frames = 3};
constexpr event::panic full{.reason = panic_reason::trace_full, .detail = 0};

} // namespace

TEST_CASE("a trace begins empty, whatever an earlier run left") {
    Bytes buffer(256, std::byte{0xFF});
    const Trace trace(buffer);
    const auto header = header_of(buffer);
    CHECK(copy(header.magic) == protocol::trace_magic);
    CHECK(copy(header.version) == protocol::version);
    CHECK(copy(header.capacity) == 256 - sizeof(header));
    CHECK(copy(header.written) == 0);
    CHECK(copy(header.records) == 0);
    CHECK(copy(header.status) == trace_status::running);
    CHECK(trace.status() == trace_status::running);
}

TEST_CASE("records follow each other without gaps") {
    Bytes buffer(256);
    Trace trace(buffer);
    CHECK(trace.write(counted) == Progress::going);
    CHECK(copy(header_of(buffer).written) == sizeof(counted));
    CHECK(trace.write(passed) == Progress::going);
    CHECK(copy(header_of(buffer).written) == sizeof(counted) + sizeof(passed));
    CHECK(copy(header_of(buffer).records) == 2);
    CHECK_RECORDS(read_trace(buffer), records_of(counted, passed));
}

TEST_CASE("the end is a record and a status") {
    Bytes buffer(256);
    Trace trace(buffer);
    SUBCASE("completed") {
        CHECK(trace.complete(7) == Progress::stopped);
        CHECK_RECORDS(read_trace(buffer), records_of(event::completed{.operations = 7}));
        CHECK(trace.status() == trace_status::completed);
    }
    SUBCASE("panicked") {
        CHECK(trace.panic(panic_reason::bad_program, 0x123456789A) == Progress::stopped);
        CHECK_RECORDS(
            read_trace(buffer),
            records_of(event::panic{.reason = panic_reason::bad_program, .detail = 0x123456789A}));
        CHECK(trace.status() == trace_status::panicked);
    }
    CHECK(copy(header_of(buffer).status) == trace.status());
}

TEST_CASE("after the end nothing is taken") {
    Bytes buffer(256);
    Trace trace(buffer);
    CHECK(trace.panic(panic_reason::no_usable_frame, 0) == Progress::stopped);
    const Bytes before = buffer;
    CHECK(trace.write(counted) == Progress::stopped);
    CHECK(trace.panic(panic_reason::bad_program, 1) == Progress::stopped);
    CHECK(trace.complete(1) == Progress::stopped);
    CHECK(buffer == before);
}

TEST_CASE("room for a panic is kept to the last byte") {
    const std::size_t exact = Trace::minimum_size + sizeof(counted);
    SUBCASE("a record that leaves just that room fits") {
        Bytes buffer(exact);
        Trace trace(buffer);
        CHECK(trace.write(counted) == Progress::going);
        CHECK(trace.write(passed) == Progress::stopped);
        CHECK_RECORDS(read_trace(buffer), records_of(counted, full));
        CHECK(copy(header_of(buffer).written) == copy(header_of(buffer).capacity));
    }
    SUBCASE("one byte less, and it does not") {
        Bytes buffer(exact - 1);
        Trace trace(buffer);
        CHECK(trace.write(counted) == Progress::stopped);
        CHECK_RECORDS(read_trace(buffer), records_of(full));
        CHECK(copy(header_of(buffer).status) == trace_status::panicked);
    }
    SUBCASE("the room is not for the end of a good run") {
        Bytes buffer(Trace::minimum_size);
        Trace trace(buffer);
        CHECK(trace.complete(0) == Progress::stopped);
        CHECK_RECORDS(read_trace(buffer), records_of(full));
    }
}
