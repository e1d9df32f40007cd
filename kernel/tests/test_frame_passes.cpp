#include "core/frame_passes.hpp"
#include "tests/bytes.hpp"
#include "tests/machine.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

namespace {

namespace event = protocol::event;
using core::PhysicalAddress;
using core::Progress;
using protocol::allocator_pass;
using tests::Bytes;
using tests::joined;
using tests::Machine;
using tests::map_entry;
using tests::read_trace;
using tests::Records;
using tests::records_of;

struct Region {
    std::uint64_t base;
    std::uint64_t length;
    std::uint32_t type;
};

Bytes map_of(const std::vector<Region>& regions) {
    std::vector<Bytes> entries;
    for (const Region& region : regions)
        entries.push_back(map_entry(region.base, region.length, region.type));
    return joined(entries);
}

class Fixture {
public:
    Records initialise(Machine& machine) {
        core::Trace trace(machine.trace_buffer);
        const core::MultibootInformation information({machine.memory.data(), Machine::window_size},
                                                     PhysicalAddress(Machine::information));
        REQUIRE_FALSE(information.out_of_reach().has_value());
        core::FrameAllocator frames(machine.frame_bitmap, machine.frame_owned,
                                    core::frame_extent(information));
        progress = initialise_frames(frames, information, Machine::layout, trace);
        return read_trace(machine.trace_buffer);
    }

    Progress progress = Progress::stopped;
};

event::reserved reserved(allocator_pass pass, std::uint32_t first, std::uint32_t end) {
    return {.pass = pass, .first = first, .end = end};
}

event::pass over(allocator_pass pass, std::uint32_t free_frames) {
    return {.pass = pass, .free_frames = free_frames};
}

bool bit(const std::vector<std::uint32_t>& words, std::uint32_t index) {
    return (words[index / 32] >> (index % 32) & 1) != 0;
}

} // namespace

TEST_CASE_FIXTURE(Fixture, "every pass, with a map and two modules") {
    Machine machine(map_of({{0, 0x800000, 1}, {0x200000, 0x1001, 2}}), Bytes(0x1000));
    machine.write_module(Machine::module_list + 16, 0x38000, 0x38000);
    machine.write(Machine::information + 20, tests::bytes_of(std::uint32_t{2}));
    CHECK_RECORDS(
        initialise(machine),
        records_of(
            over(allocator_pass::all_used, 0), over(allocator_pass::available, 0x800),
            over(allocator_pass::unavailable, 0x7FE), reserved(allocator_pass::first_frame, 0, 1),
            over(allocator_pass::first_frame, 0x7FD),
            reserved(allocator_pass::kernel_image, 0x100, 0x109),
            over(allocator_pass::kernel_image, 0x7F4), reserved(allocator_pass::information, 1, 2),
            over(allocator_pass::information, 0x7F3),
            reserved(allocator_pass::memory_map, 0x10, 0x11),
            over(allocator_pass::memory_map, 0x7F2), reserved(allocator_pass::module_list, 4, 5),
            over(allocator_pass::module_list, 0x7F1), reserved(allocator_pass::module, 0x30, 0x32),
            reserved(allocator_pass::module, 0x38, 0x38), over(allocator_pass::module, 0x7EF),
            reserved(allocator_pass::page_tables, 0x10A, 0x120),
            over(allocator_pass::page_tables, 0x7D9),
            reserved(allocator_pass::task_stacks, 0x1000, 0x1800),
            over(allocator_pass::task_stacks, 0x7D9),
            reserved(allocator_pass::probe_arena, 0x400, 0x408),
            over(allocator_pass::probe_arena, 0x7D1),
            reserved(allocator_pass::trace_buffer, 0x121, 0x122),
            over(allocator_pass::trace_buffer, 0x7D0),
            event::ready{.free_frames = 0x7D0, .lowest = 2}));
    CHECK(progress == Progress::going);
}

TEST_CASE_FIXTURE(Fixture,
                  "without a map and modules their passes are missing, and nothing is free") {
    Machine machine;
    const Records records = initialise(machine);
    CHECK(progress == Progress::stopped);
    for (const auto& record : tests::only<event::pass>(records)) {
        const auto pass = tests::event_in<event::pass>(record);
        CHECK(tests::copy(pass.free_frames) == 0);
        CHECK(tests::copy(pass.pass) != allocator_pass::memory_map);
        CHECK(tests::copy(pass.pass) != allocator_pass::module_list);
        CHECK(tests::copy(pass.pass) != allocator_pass::module);
    }
    REQUIRE(records.size() > 2);
    CHECK_RECORDS(
        Records(records.end() - 2, records.end()),
        records_of(event::ready{.free_frames = 0, .lowest = protocol::no_frame},
                   event::panic{.reason = protocol::panic_reason::no_usable_frame, .detail = 0}));
}

TEST_CASE_FIXTURE(Fixture, "an empty map has a pass, and no frames") {
    Machine machine{Bytes{}};
    const Records records = initialise(machine);
    const Records expected = records_of(reserved(allocator_pass::memory_map, 0x10, 0x10));
    CHECK(std::find(records.begin(), records.end(), expected[0]) != records.end());
}

TEST_CASE_FIXTURE(Fixture, "two halves of a frame do not make a whole one") {
    Machine machine(map_of({{0x400000, 0x800, 1}, {0x400800, 0x800, 1}}));
    initialise(machine);
    CHECK(progress == Progress::stopped);
}

TEST_CASE_FIXTURE(Fixture, "frames that the allocator has no bits for are left out, and named") {
    constexpr std::uint64_t end = 0x1'0000'0000;
    Machine machine(map_of({{0, 0x800000, 1},
                            {end - 0x1000, 0x2800, 1},
                            {end + 0x800, 0x3000, 1},
                            {end, 0x1000, 2},
                            {end - 0x1000, 0x1FFF, 1},
                            {0xFFFFFFFFFFFFE001, 0x5000, 1}}));
    const Records clipped = tests::only<event::clipped>(initialise(machine));
    CHECK_RECORDS(
        clipped,
        records_of(event::clipped{.index = 1, .first = 0x100000, .end = 0x100001},
                   event::clipped{.index = 2, .first = 0x100001, .end = 0x100003},
                   event::clipped{.index = 5, .first = 0xFFFFFFFFFFFFF, .end = 0x10000000000000}));
    CHECK(bit(machine.frame_bitmap, 0xFFFFF));
}

TEST_CASE_FIXTURE(Fixture, "random maps, frame by frame") {
    using Wide = unsigned __int128;
    std::mt19937 random(4);
    for (int round = 0; round < 25; ++round) {
        std::vector<Region> regions(random() % 12);
        for (Region& region : regions) {
            const auto number = [&random] {
                const std::uint64_t bits = std::uint64_t{random()} << 32 | random();
                return bits >> (random() % 60);
            };
            region = {number(), number(), static_cast<std::uint32_t>(random() % 3)};
        }
        // Something is always free.
        regions.push_back({0x200000, 0x400000, 1});
        Machine machine(map_of(regions), Bytes(100));
        initialise(machine);

        const auto takes = [](const core::ByteRange& range, Wide start) {
            return range.start.value() < start + 0x1000 && range.end.value() > start;
        };
        std::uint32_t wrong = 0;
        for (std::uint32_t frame = 0; frame < protocol::frame_count; ++frame) {
            const Wide start = Wide{frame} * 0x1000;
            bool is_free = false;
            bool is_taken = frame == 0 || frame == 1 || frame == 4 || frame == 0x10 ||
                            frame == 0x30 || takes(Machine::layout.kernel_image, start) ||
                            takes(Machine::layout.page_tables, start) ||
                            takes(Machine::layout.task_stacks, start) ||
                            takes(Machine::layout.probe_arena, start) ||
                            takes(Machine::layout.trace_buffer, start);
            for (const Region& region : regions) {
                const Wide end = Wide{region.base} + region.length;
                if (region.type == 1)
                    is_free |= region.base <= start && start + 0x1000 <= end;
                else
                    is_taken |= region.length != 0 && region.base < start + 0x1000 && start < end;
            }
            const bool expected = is_free && !is_taken;
            wrong += bit(machine.frame_bitmap, frame) != expected;
            wrong += bit(machine.frame_owned, frame) != expected;
        }
        INFO("round ", round);
        CHECK(wrong == 0);
    }
}
