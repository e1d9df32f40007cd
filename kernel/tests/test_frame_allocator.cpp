#include "core/frame_allocator.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace {

using core::Frame;
using core::FrameRange;
using core::PhysicalAddress;
using protocol::allocation_failure;
using protocol::free_failure;

FrameRange frames(std::uint32_t first, std::uint32_t end) {
    return {Frame(first), Frame(end)};
}

// An allocator that owns frames [10, 20) and [30, 34), and the last one that exists.
class Fixture {
public:
    Fixture() {
        allocator.make_free(frames(10, 20));
        allocator.make_free(frames(30, 34));
        allocator.make_free(frames(protocol::frame_count - 1, protocol::frame_count));
        allocator.own_what_is_free();
    }

    std::vector<std::uint32_t> free_words =
        std::vector<std::uint32_t>(protocol::frame_count / 32, 0x5A5A5A5A);
    std::vector<std::uint32_t> owned_words =
        std::vector<std::uint32_t>(protocol::frame_count / 32, 0x5A5A5A5A);
    core::FrameAllocator allocator{free_words, owned_words, core::Frame(protocol::frame_count)};
};

template <typename Freed>
void check_rejected(const Freed& freed, std::uint64_t address, free_failure reason) {
    REQUIRE_FALSE(freed.has_value());
    CHECK(freed.failure().address.value() == address);
    CHECK(freed.failure().reason == reason);
}

} // namespace

TEST_CASE("a new allocator has no free frame and owns none") {
    std::vector<std::uint32_t> free_words(protocol::frame_count / 32, 0xFFFFFFFF);
    std::vector<std::uint32_t> owned_words(protocol::frame_count / 32, 0xFFFFFFFF);
    core::FrameAllocator allocator(free_words, owned_words, core::Frame(protocol::frame_count));
    CHECK(allocator.free_count() == 0);
    CHECK(allocator.lowest_free() == std::nullopt);
    CHECK(allocator.allocate() == std::nullopt);
    check_rejected(allocator.free(PhysicalAddress(0x1000)), 0x1000, free_failure::not_owned);
}

TEST_CASE_FIXTURE(Fixture, "frames are handed out from the lowest to the last that exists") {
    CHECK(allocator.free_count() == 15);
    CHECK(allocator.lowest_free() == std::optional(Frame(10)));
    for (const std::uint32_t number :
         {10u, 11u, 12u, 13u, 14u, 15u, 16u, 17u, 18u, 19u, 30u, 31u, 32u, 33u, 0xFFFFFu})
        REQUIRE(allocator.allocate() == std::optional(Frame(number)));
    CHECK(allocator.allocate() == std::nullopt);
    CHECK(allocator.free_count() == 0);
}

TEST_CASE_FIXTURE(Fixture, "a run that cannot be had has its reason") {
    CHECK(allocator.allocate_run(0, 3).failure() == allocation_failure::zero_count);
    CHECK(allocator.allocate_run(1, 0).failure() == allocation_failure::bad_alignment);
    CHECK(allocator.allocate_run(1, 3).failure() == allocation_failure::bad_alignment);
    CHECK(allocator.allocate_run(100, 0xFFFFFFFF).failure() == allocation_failure::bad_alignment);
    CHECK(allocator.allocate_run(11, 1).failure() == allocation_failure::no_run);
    CHECK(allocator.allocate_run(0xFFFFFFFF, 1).failure() == allocation_failure::no_run);
    CHECK(allocator.allocate_run(1, 0x80000000).failure() == allocation_failure::no_run);
    CHECK(allocator.free_count() == 15);
}

TEST_CASE_FIXTURE(Fixture, "a run is handed out whole") {
    const auto run = allocator.allocate_run(2, 32);
    REQUIRE(run.has_value());
    CHECK(run.value() == frames(32, 34));
    CHECK(allocator.free_count() == 13);
}

TEST_CASE_FIXTURE(Fixture, "an address is checked: aligned, in range, owned, used") {
    check_rejected(allocator.free(PhysicalAddress(0x10'0000'0001)), 0x10'0000'0001,
                   free_failure::misaligned);
    check_rejected(allocator.free(PhysicalAddress(0x1'0000'0000)), 0x1'0000'0000,
                   free_failure::out_of_range);
    check_rejected(allocator.free(PhysicalAddress(0xFFFF'FFFF'FFFF'F000)), 0xFFFF'FFFF'FFFF'F000,
                   free_failure::out_of_range);
    // Frame 10, were it not for the high half.
    check_rejected(allocator.free(PhysicalAddress(0x1'0000'A000)), 0x1'0000'A000,
                   free_failure::out_of_range);
    check_rejected(allocator.free(PhysicalAddress(0x9000)), 0x9000, free_failure::not_owned);
    check_rejected(allocator.free(PhysicalAddress(0xA000)), 0xA000, free_failure::already_free);
    CHECK(allocator.free_count() == 15);
}

TEST_CASE_FIXTURE(Fixture, "what was handed out can be given back, and is handed out again") {
    CHECK(allocator.allocate() == std::optional(Frame(10)));
    CHECK(allocator.allocate() == std::optional(Frame(11)));
    const auto freed = allocator.free(PhysicalAddress(0xA000));
    REQUIRE(freed.has_value());
    CHECK(freed.value() == frames(10, 11));
    CHECK(allocator.free_count() == 14);
    CHECK(allocator.allocate() == std::optional(Frame(10)));
}

TEST_CASE_FIXTURE(Fixture, "of a range all frames are given back, or none") {
    REQUIRE(allocator.allocate_run(10, 1).has_value());
    REQUIRE(allocator.free(PhysicalAddress(0xD000)).has_value());
    check_rejected(allocator.free(frames(10, 20)), 0xD000, free_failure::already_free);
    check_rejected(allocator.free(frames(14, 22)), 0x14000, free_failure::not_owned);
    check_rejected(allocator.free(frames(11, 22)), 0xD000, free_failure::already_free);
    CHECK(allocator.free_count() == 6);
    CHECK(allocator.free(frames(10, 13)).has_value());
    CHECK(allocator.free_count() == 9);
}

TEST_CASE_FIXTURE(Fixture, "what is owned stays owned, and nothing else becomes so") {
    while (allocator.allocate())
        ;
    CHECK(owned_words[0] == 0xC00FFC00);
    CHECK(owned_words[1] == 0x00000003);
    CHECK(owned_words.back() == 0x80000000);
    CHECK(free_words == std::vector<std::uint32_t>(protocol::frame_count / 32, 0));
}

TEST_CASE_FIXTURE(Fixture, "free ranges are maximal") {
    CHECK(allocator.next_free_range(Frame(0)) == std::optional(frames(10, 20)));
    CHECK(allocator.next_free_range(Frame(20)) == std::optional(frames(30, 34)));
    CHECK(allocator.next_free_range(Frame(34)) ==
          std::optional(frames(protocol::frame_count - 1, protocol::frame_count)));
    CHECK(allocator.next_free_range(Frame(protocol::frame_count)) == std::nullopt);
}
