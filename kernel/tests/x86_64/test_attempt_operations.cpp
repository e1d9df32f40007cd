#include "tests/bytes.hpp"
#include "tests/interpreter_fixture.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace {

namespace event = protocol::event;
namespace operation = protocol::operation;
using protocol::access_kind;
using protocol::base_register;
using protocol::raise_cause;
using protocol::rejection;
using tests::Records;
using tests::records_of;

constexpr std::uint64_t base = 0x40E00000;
constexpr std::uint64_t first_nowhere = 0x0000800000000000; // not canonical, and up to the last
constexpr std::uint64_t last_nowhere = 0xFFFF7FFFFFFFFFFF;

class Fixture : public tests::InterpreterFixture {
public:
    Fixture() : InterpreterFixture(core::PagingMode::four_level) {}

    template <typename Operation> bool is_done(const Operation& operation) {
        machine.processor.calls.clear();
        return run(operation) == records_of(event::attempted{.operation = 0,
                                                             .outcome = protocol::attempt::done,
                                                             .value = 0}) &&
               machine.processor.calls.size() == 1;
    }

    template <typename Operation> rejection reason_of(const Operation& operation) {
        machine.processor.calls.clear();
        const Records records = run(operation);
        CHECK(machine.processor.calls.empty());
        REQUIRE(records.size() == 1);
        return tests::event_in<event::rejected>(records[0]).reason;
    }
};

operation::probe probe(std::uint64_t address, access_kind access = access_kind::read,
                       std::uint8_t size = 1, std::uint8_t ring = 0,
                       base_register through = base_register::plain) {
    return {.address = address,
            .access = access,
            .size = size,
            .ring = ring,
            .alignment_check = 0,
            .through = through};
}

} // namespace

TEST_CASE_FIXTURE(Fixture,
                  "probes go to addresses that are not canonical, and make no difference") {
    for (const std::uint64_t address :
         {first_nowhere, first_nowhere + 1, std::uint64_t{1} << 63, last_nowhere}) {
        INFO("address ", address);
        for (const std::uint8_t ring : {std::uint8_t{0}, std::uint8_t{3}}) {
            for (const auto kind : {access_kind::read, access_kind::write, access_kind::execute})
                CHECK(is_done(probe(address, kind, 8, ring)));
            CHECK(is_done(probe(address, access_kind::write, 1, ring, base_register::frame)));
        }
    }
    // What such a read gives is told nobody.
    machine.processor.read_value = 7;
    CHECK(is_done(probe(first_nowhere)));
}

TEST_CASE_FIXTURE(Fixture, "the first byte decides whether an address is canonical") {
    CHECK(is_done(probe(last_nowhere, access_kind::write, 8)));
    CHECK(reason_of(probe(first_nowhere - 1, access_kind::read, 8)) == rejection::bad_address);
    CHECK(reason_of(probe(last_nowhere + 1, access_kind::read, 1)) == rejection::bad_address);
    CHECK(reason_of(probe(~std::uint64_t{0})) == rejection::bad_address);
    CHECK(reason_of(probe(0)) == rejection::bad_address);
}

TEST_CASE_FIXTURE(Fixture, "what else is wrong with a probe counts wherever it goes") {
    CHECK(reason_of(probe(first_nowhere, access_kind::execute, 1, 0, base_register::stack)) ==
          rejection::bad_value);
    CHECK(reason_of(probe(first_nowhere, access_kind::read, 16)) == rejection::bad_size);
    CHECK(reason_of(probe(first_nowhere, access_kind::read, 8, 2)) == rejection::bad_ring);
}

TEST_CASE_FIXTURE(Fixture, "eight bytes are read and written") {
    machine.processor.read_value = 0xC3C3C3C3'2E2E2E2E;
    CHECK(run(probe(base + 0x10, access_kind::read, 8)) ==
          records_of(event::attempted{
              .operation = 0, .outcome = protocol::attempt::done, .value = 0xC3C3C3C3'2E2E2E2E}));
    CHECK(machine.processor.calls == std::vector<std::string>{"access 40e00010 0 8 0 0 0"});
    CHECK(reason_of(probe(base + 0x8000 - 7, access_kind::read, 8)) == rejection::bad_address);
}

TEST_CASE_FIXTURE(Fixture, "every cause is raised") {
    for (std::uint32_t cause = 0; cause <= 32; ++cause) {
        INFO("cause ", cause);
        CHECK(is_done(operation::raise{.cause = raise_cause(cause)}));
    }
    CHECK(reason_of(operation::raise{.cause = raise_cause{33}}) == rejection::bad_value);
}
