#include "core/checksum.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>

TEST_CASE("nothing sums up to nothing") {
    CHECK(core::checksum({}, 0xFFFFFFFF) == 0);
}

TEST_CASE("the upper half depends on the order, the lower does not") {
    CHECK(core::checksum(std::array{1u, 2u, 3u}, 0xFFFFFFFF) == 0x0000000A'00000006);
    CHECK(core::checksum(std::array{3u, 2u, 1u}, 0xFFFFFFFF) == 0x0000000E'00000006);
}

TEST_CASE("both sums wrap at 2^32, each by itself") {
    CHECK(core::checksum(std::array{0xFFFFFFFFu, 2u}, 0xFFFFFFFF) == 0x00000000'00000001);
}

TEST_CASE("bits outside the mask do not count") {
    CHECK(core::checksum(std::array{0x67u, 0x07u}, 0xFFFFFF9F) ==
          core::checksum(std::array{0x07u, 0x67u}, 0xFFFFFF9F));
    CHECK(core::checksum(std::array{0xF0u}, 0x3F) == 0x00000030'00000030);
}
