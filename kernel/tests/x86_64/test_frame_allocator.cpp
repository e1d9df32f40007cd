#include "core/frame_allocator.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

namespace {

using core::Frame;
using core::FrameAllocator;
using core::PhysicalAddress;
using protocol::free_failure;

constexpr std::uint32_t unit = protocol::frame_unit;

class Fixture {
public:
    free_failure failure_of(std::uint64_t address) {
        const auto result = allocator.free(PhysicalAddress(address));
        REQUIRE_FALSE(result.has_value());
        return result.failure().reason;
    }

    // Two units; behind them is what must be neither read nor written.
    std::vector<std::uint32_t> free_words = std::vector<std::uint32_t>(3 * unit / 32, 0xDEADBEEF);
    std::vector<std::uint32_t> owned_words = std::vector<std::uint32_t>(3 * unit / 32, 0xDEADBEEF);
    FrameAllocator allocator{free_words, owned_words, Frame(2 * unit)};
};

} // namespace

TEST_CASE_FIXTURE(Fixture, "the bitmaps end at the extent") {
    allocator.make_free({Frame(unit), Frame(2 * unit)});
    allocator.own_what_is_free();
    CHECK(allocator.free_words().size() == 2 * unit / 32);
    CHECK(allocator.owned_words().size() == 2 * unit / 32);
    CHECK(allocator.free_count() == unit);
    CHECK(allocator.free_words().back() == 0xFFFFFFFF);
    CHECK(allocator.owned_words().front() == 0);
    CHECK(free_words[2 * unit / 32] == 0xDEADBEEF);
    CHECK(owned_words[2 * unit / 32] == 0xDEADBEEF);
}

TEST_CASE_FIXTURE(Fixture, "what is taken back may lie beyond the extent") {
    allocator.make_free({Frame(0), Frame(2 * unit)});
    allocator.take_back({Frame(2 * unit - 1), Frame(2 * unit + 10)});
    allocator.take_back({Frame(3 * unit), Frame(3 * unit + 10)});
    CHECK(allocator.free_count() == 2 * unit - 1);
    CHECK(free_words[2 * unit / 32] == 0xDEADBEEF);
}

TEST_CASE_FIXTURE(Fixture, "a frame beyond the extent exists, and was never owned") {
    constexpr std::uint64_t extent = std::uint64_t{2 * unit} * 4096;
    constexpr std::uint64_t capacity = std::uint64_t{protocol::frame_count} * 4096;
    CHECK(capacity == 64ull << 30);
    CHECK(failure_of(extent - 4096) == free_failure::not_owned);
    CHECK(failure_of(extent) == free_failure::not_owned);
    CHECK(failure_of(capacity - 4096) == free_failure::not_owned);
    CHECK(failure_of(capacity) == free_failure::out_of_range);
    CHECK(failure_of(capacity - 1) == free_failure::misaligned);
}

TEST_CASE_FIXTURE(Fixture, "frames above 4 GiB are handed out and taken back") {
    allocator.make_free({Frame(unit + 5), Frame(unit + 7)});
    allocator.own_what_is_free();
    CHECK(allocator.allocate() == std::optional(Frame(unit + 5)));
    CHECK(allocator.allocate() == std::optional(Frame(unit + 6)));
    CHECK(allocator.allocate() == std::nullopt);
    CHECK(allocator.free(PhysicalAddress((std::uint64_t{unit} + 6) * 4096)).has_value());
    CHECK(allocator.lowest_free() == std::optional(Frame(unit + 6)));
}
