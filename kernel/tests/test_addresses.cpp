#include "core/addresses.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>

namespace {

using core::ByteRange;
using core::Frame;
using core::FrameRange;
using core::PhysicalAddress;

constexpr std::uint64_t highest = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint32_t frame_count = protocol::frame_count;

FrameRange contained(std::uint64_t base, std::uint64_t length) {
    return contained_frames(ByteRange::from_length(PhysicalAddress(base), length));
}

FrameRange touched(std::uint64_t base, std::uint64_t length) {
    return touched_frames(ByteRange::from_length(PhysicalAddress(base), length));
}

FrameRange frames(std::uint32_t first, std::uint32_t end) {
    return {Frame(first), Frame(end)};
}

} // namespace

TEST_CASE("a frame and its address") {
    CHECK(Frame(0xFFFFF).address() == PhysicalAddress(0xFFFFF000));
    CHECK(Frame(frame_count).address() == PhysicalAddress(0x1'0000'0000));
    CHECK(PhysicalAddress(0x3000).is_frame_aligned());
    CHECK_FALSE(PhysicalAddress(0x3001).is_frame_aligned());
}

TEST_CASE("whole frames are contained and touched alike") {
    CHECK(contained(0x1000, 0x3000) == frames(1, 4));
    CHECK(touched(0x1000, 0x3000) == frames(1, 4));
}

TEST_CASE("partial frames are touched but not contained") {
    // The end is not moved along with the start.
    CHECK(contained(0x1800, 0x3000) == frames(2, 4));
    CHECK(touched(0x1800, 0x3000) == frames(1, 5));
    CHECK(contained(0x1000, 0x2FFF) == frames(1, 3));
    CHECK(touched(0x1000, 0x2001) == frames(1, 4));
    CHECK(contained(0x1001, 0xFFE).empty());
    CHECK(touched(0x1001, 0xFFE) == frames(1, 2));
}

TEST_CASE("an empty range has no frames, at the frame of its start") {
    CHECK(contained(0x5800, 0).empty());
    CHECK(touched(0x5800, 0) == frames(5, 5));
    CHECK(touched(0x5000, 0) == frames(5, 5));
    CHECK(core::touched_frames({PhysicalAddress(0x5000), PhysicalAddress(0x4000)}).empty());
}

TEST_CASE("frames above 4 GiB do not exist") {
    CHECK(contained(0x1'0000'0000, 0x10000).empty());
    CHECK(touched(0x1'0000'0000, 0x10000).empty());
    CHECK(contained(0xFFFFE000, 0x10000) == frames(0xFFFFE, frame_count));
    CHECK(touched(0xFFFFEFFF, highest) == frames(0xFFFFE, frame_count));
    // Not the low half of the address.
    CHECK(contained(0x7'0000'1000, 0x10000).empty());
    CHECK(contained(0x1000, 0x7'0000'2000) == frames(1, frame_count));
}

TEST_CASE("an end past 2^64 is taken as 2^64") {
    CHECK(contained(0x1000, highest) == frames(1, frame_count));
    CHECK(touched(highest, highest).empty());
    CHECK(contained(highest - 0xFFF, 0x1000).empty());
    CHECK(ByteRange::from_length(PhysicalAddress(highest), 5).end == PhysicalAddress(highest));
    CHECK(ByteRange::from_length(PhysicalAddress(0), highest).end == PhysicalAddress(highest));
}

TEST_CASE("random ranges, against arithmetic that cannot overflow") {
    using Wide = unsigned __int128;
    std::mt19937 random(20);
    // Random bits at a random magnitude: small, large and huge numbers are equally likely.
    const auto number = [&random] {
        const std::uint64_t bits = std::uint64_t{random()} << 32 | random();
        const std::uint64_t shifted = bits >> (random() % 64);
        return random() % 2 != 0 ? shifted : shifted & ~std::uint64_t{0xFFF};
    };
    const auto existing = [](Wide frame) {
        return static_cast<std::uint32_t>(std::min(frame, Wide{frame_count}));
    };
    for (int round = 0; round < 20000; ++round) {
        const std::uint64_t base = number();
        const std::uint64_t length = number();
        const Wide end = std::min(Wide{base} + length, Wide{1} << 64);
        const std::uint32_t rounded_up = existing((Wide{base} + 0xFFF) / 0x1000);
        const std::uint32_t contained_end = std::max(rounded_up, existing(end / 0x1000));
        const std::uint32_t rounded_down = existing(base / 0x1000);
        const std::uint32_t touched_end =
            length == 0 ? rounded_down : existing((end + 0xFFF) / 0x1000);
        INFO("base ", base, " length ", length);
        REQUIRE(contained(base, length) == frames(rounded_up, contained_end));
        REQUIRE(touched(base, length) == frames(rounded_down, touched_end));
        const Wide missing_first = std::max((Wide{base} + 0xFFF) / 0x1000, Wide{frame_count});
        const auto missing = core::MissingFrames::of(core::PhysicalAddress(base), length);
        REQUIRE(missing.empty() == (missing_first >= end / 0x1000));
        if (!missing.empty()) {
            REQUIRE(missing.first == missing_first);
            REQUIRE(missing.end == end / 0x1000);
        }
    }
}
