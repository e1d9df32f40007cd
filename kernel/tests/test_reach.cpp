#include "core/reach.hpp"
#include "tests/machine.hpp"

#include <doctest/doctest.h>

#include <cstdint>

namespace {

using protocol::access_kind;

// Three stacks; the kernel's image is at 1 MiB and the arena at 4 MiB in this machine.
const core::Reach reach(tests::Machine::layout, {0xD0000000, 0xD0006000});

bool probe(std::uint32_t address, access_kind kind, std::uint32_t size, std::uint32_t ring) {
    return reach.allows_probe(address, {kind, size}, ring);
}

} // namespace

TEST_CASE("probes go to the probe area, in every way") {
    for (const auto kind : {access_kind::read, access_kind::write, access_kind::execute}) {
        for (const std::uint32_t ring : {0u, 3u}) {
            CHECK(probe(0x40000000, kind, 1, ring));
            CHECK(probe(0x40407FFC, kind, 4, ring));
            CHECK_FALSE(probe(0x40407FFD, kind, 4, ring));
            CHECK_FALSE(probe(0x40008000, kind, 1, ring));
        }
    }
}

TEST_CASE("probes read and write stack objects, guard pages included") {
    for (const std::uint32_t ring : {0u, 3u}) {
        CHECK(probe(0xD0000000, access_kind::write, 4, ring));
        CHECK(probe(0xD0000FFE, access_kind::read, 4, ring));
        CHECK(probe(0xD0005FFC, access_kind::write, 4, ring));
        CHECK_FALSE(probe(0xD0005FFD, access_kind::write, 4, ring));
        CHECK_FALSE(probe(0xD0006000, access_kind::read, 1, ring));
        CHECK_FALSE(probe(0xCFFFFFFF, access_kind::read, 2, ring));
        CHECK_FALSE(probe(0xD0001000, access_kind::execute, 1, ring));
    }
}

TEST_CASE("probes go to the kernel's first page: from ring 3 in every way, from ring 0 to read") {
    CHECK(probe(0xC0100000, access_kind::read, 4, 0));
    CHECK(probe(0xC0100FFC, access_kind::read, 4, 0));
    CHECK_FALSE(probe(0xC0100FFD, access_kind::read, 4, 0));
    CHECK_FALSE(probe(0xC00FFFFF, access_kind::read, 1, 0));
    CHECK_FALSE(probe(0xC0101000, access_kind::read, 1, 3));
    CHECK_FALSE(probe(0xC0100000, access_kind::write, 1, 0));
    CHECK_FALSE(probe(0xC0100000, access_kind::execute, 1, 0));
    CHECK(probe(0xC0100000, access_kind::write, 1, 3));
    CHECK(probe(0xC0100000, access_kind::execute, 1, 3));
}

TEST_CASE("probes go nowhere else") {
    for (const std::uint32_t address :
         {0u, 0x100000u, 0x400000u, 0x3FFFFFFFu, 0x40800000u, 0x80000000u, 0x80001000u, 0xC0000000u,
          0xC0400000u, 0xFFFFFFFFu}) {
        INFO("address ", address);
        for (const auto kind : {access_kind::read, access_kind::write, access_kind::execute}) {
            CHECK_FALSE(probe(address, kind, 1, 0));
            CHECK_FALSE(probe(address, kind, 1, 3));
        }
    }
}

TEST_CASE("segments reach the arena through the window, and the probe area") {
    CHECK(reach.allows_segment(0xC0400000, 4));
    CHECK(reach.allows_segment(0xC0407FFC, 4));
    CHECK_FALSE(reach.allows_segment(0xC0407FFD, 4));
    CHECK_FALSE(reach.allows_segment(0xC03FFFFF, 2));
    CHECK(reach.allows_segment(0x40007FFF, 1));
    CHECK_FALSE(reach.allows_segment(0x40007FFF, 2));
    CHECK_FALSE(reach.allows_segment(0xD0001000, 1));
    CHECK_FALSE(reach.allows_segment(0xC0100000, 1));
    CHECK_FALSE(reach.allows_segment(0xFFFFFFFF, 4));
}
