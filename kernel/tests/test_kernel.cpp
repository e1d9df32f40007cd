#include "core/checksum.hpp"
#include "core/kernel.hpp"
#include "core/trace.hpp"
#include "tests/bytes.hpp"
#include "tests/machine.hpp"
#include "tests/task_events.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace {

namespace event = protocol::event;
namespace operation = protocol::operation;
using protocol::panic_reason;
using protocol::trace_status;
using tests::Bytes;
using tests::copy;
using tests::joined;
using tests::Machine;
using tests::map_entry;
using tests::program;
using tests::read_trace;
using tests::record_of;
using tests::Records;
using tests::records_of;

const Bytes small_map = joined({map_entry(0, 0x9F000), map_entry(0x100000, 0x700000)});

// Runs, and checks what is true of every run.
Records run(Machine& machine, trace_status expected) {
    const auto status = core::run_kernel(machine.entry, machine.platform());
    CHECK(status == expected);
    CHECK(copy(tests::header_of(machine.trace_buffer).status) == status);
    Records records = read_trace(machine.trace_buffer);
    REQUIRE_FALSE(records.empty());
    const bool completed = expected == trace_status::completed;
    CHECK(records.back().kind == (completed ? event::completed::kind : event::panic::kind));
    CHECK(tests::only<event::completed>(records).size() +
              tests::only<event::panic>(records).size() ==
          1);
    return records;
}

void check_panic(Machine& machine, panic_reason reason, std::uint64_t detail) {
    const Records records = run(machine, trace_status::panicked);
    CHECK(records.back() == record_of(event::panic{.reason = reason, .detail = detail}));
}

} // namespace

TEST_CASE("a run from its entry to its completion") {
    Machine machine(small_map,
                    tests::program_with_states(0b1111, operation::allocate{}, operation::count{}));
    machine.processor.registers = {
        .cr0 = 0x80010011, .cr2 = 0xBAD, .cr3 = 0x10A000, .cr4 = 0x20, .efer = 0x800};
    machine.processor.has = 7;
    const Records records = run(machine, trace_status::completed);
    REQUIRE(records.size() > 11);
    CHECK_RECORDS(
        Records(records.begin(), records.begin() + 5),
        records_of(
            event::entry{.magic = protocol::multiboot_bootloader_magic,
                         .information = Machine::information,
                         .cr0 = 0x11,
                         .eflags = 2,
                         .a20 = 1,
                         .code_limit = 0xFFFFFFFF,
                         .data_limit = 0xFFFFFFFE,
                         .stack_limit = 0xFFFFFFFD},
            event::paging{
                .cr0 = 0x80010011, .cr3 = 0x10A000, .cr4 = 0x20, .efer = 0x800, .features = 7},
            event::region{.index = 0, .base = 0, .length = 0x9F000, .type = 1, .entry_size = 20},
            event::region{
                .index = 1, .base = 0x100000, .length = 0x700000, .type = 1, .entry_size = 20},
            event::map_end{.entries = 2, .problem = protocol::map_problem::none}));
    constexpr std::uint32_t words = protocol::frame_count / 32;
    CHECK_RECORDS(
        Records(records.end() - 10, records.end()),
        records_of(
            event::ready{.free_frames = 0x79F - 45, .lowest = 2},
            event::stacks{.stacks = 0, .free = 0},
            event::allocated{.operation = 0, .frame = 2, .count = 1},
            event::counted{.operation = 1, .free_frames = 0x79F - 46},
            event::control{
                .cr0 = 0x80010011, .cr2 = 0xBAD, .cr3 = 0x10A000, .cr4 = 0x20, .efer = 0x800},
            event::state{.region = protocol::state_region::frame_bitmap,
                         .words = words,
                         .checksum = core::checksum(machine.frame_bitmap, 0xFFFFFFFF)},
            event::state{.region = protocol::state_region::frame_owned,
                         .words = words,
                         .checksum = core::checksum(machine.frame_owned, 0xFFFFFFFF)},
            event::state{.region = protocol::state_region::page_tables,
                         .words = 22 * 1024,
                         .checksum = core::checksum(machine.page_tables, 0xFFFFFF9F)},
            event::state{.region = protocol::state_region::probe_arena,
                         .words = 8 * 1024,
                         .checksum = core::checksum(machine.probe_arena, 0xFFFFFFFF)},
            event::completed{.operations = 2}));
    // Something else was there before.
    CHECK(machine.probe_arena.front() == 0xC3C3C3C3);
    CHECK(machine.probe_arena.back() == 0xC3C3C3C3);
}

TEST_CASE("states are reported as asked for") {
    Machine machine(small_map, tests::program_with_states(0b010));
    const Records states = tests::only<event::state>(run(machine, trace_status::completed));
    REQUIRE(states.size() == 1);
    CHECK(copy(tests::event_in<event::state>(states[0]).region) ==
          protocol::state_region::frame_owned);
}

TEST_CASE("the same machine gives the same trace, run after run") {
    Machine machine(small_map, program(operation::allocate{}, operation::free{.operation = 0}));
    run(machine, trace_status::completed);
    const Bytes first = machine.trace_buffer;
    run(machine, trace_status::completed);
    CHECK(machine.trace_buffer == first);
}

TEST_CASE("another magic is recorded, and nothing behind it is looked at") {
    Machine machine(small_map, program());
    machine.entry.magic = 0x36D76289;
    machine.entry.information = 0xFFFFFFFF;
    check_panic(machine, panic_reason::not_multiboot, 0x36D76289);
    CHECK(read_trace(machine.trace_buffer).size() == 3);
}

TEST_CASE("information out of reach is known before the map is read") {
    Machine machine(small_map, program());
    SUBCASE("the structure") {
        machine.entry.information = Machine::window_size;
        check_panic(machine, panic_reason::information_out_of_reach, Machine::window_size);
    }
    SUBCASE("a module") {
        machine.write_module(Machine::module_list, 0xFFFFFFF0, 0xFFFFFFFF);
        check_panic(machine, panic_reason::information_out_of_reach, 0xFFFFFFF0);
    }
    CHECK(read_trace(machine.trace_buffer).size() == 3);
}

TEST_CASE("a map that is absent, empty or broken leaves nothing to use") {
    const auto problem_of = [](Machine machine) {
        check_panic(machine, panic_reason::no_usable_frame, 0);
        const auto ends = tests::only<event::map_end>(read_trace(machine.trace_buffer));
        REQUIRE(ends.size() == 1);
        return copy(tests::event_in<event::map_end>(ends[0]).problem);
    };
    using protocol::map_problem;
    CHECK(problem_of(Machine(std::nullopt, program())) == map_problem::absent);
    CHECK(problem_of(Machine(Bytes{}, program())) == map_problem::none);
    CHECK(problem_of(Machine(map_entry(0, 0x800000, 1, 0), program())) == map_problem::small_entry);
    CHECK(problem_of(Machine(Bytes(3), program())) == map_problem::truncated_entry);
}

TEST_CASE("what was read before a map broke counts") {
    const std::uint32_t huge = 0xFFFFFFFF;
    Machine machine(joined({small_map, tests::bytes_of(huge)}), program());
    const Records records = run(machine, trace_status::completed);
    CHECK(tests::only<event::region>(records).size() == 2);
    CHECK_RECORDS(tests::only<event::map_end>(records),
                  records_of(event::map_end{.entries = 2,
                                            .problem = protocol::map_problem::truncated_entry}));
}

TEST_CASE("a bad program stops the run before any of its operations") {
    SUBCASE("none") {
        Machine machine(small_map);
        check_panic(machine, panic_reason::bad_program, 0);
    }
    SUBCASE("one that goes wrong at its end") {
        Machine machine(
            small_map,
            joined({program(operation::allocate{},
                            operation::count{.header = {protocol::operation_code{99}, 4}})}));
        check_panic(machine, panic_reason::bad_program, sizeof(protocol::program_header) + 4);
        CHECK(tests::only<event::allocated>(read_trace(machine.trace_buffer)).empty());
    }
}

TEST_CASE("the program's header says how many stacks there are") {
    const auto with_stacks = [](std::uint32_t stacks) {
        return tests::program_with_header({.magic = 0,
                                           .operations = 0,
                                           .state_regions = 0,
                                           .flags = 0,
                                           .stacks = stacks,
                                           .schedule = 0,
                                           .quantum = 1},
                                          operation::stack_allocate{}, operation::stack_allocate{});
    };
    SUBCASE("one") {
        Machine machine(small_map, with_stacks(1));
        const Records records = run(machine, trace_status::completed);
        CHECK_RECORDS(
            Records(records.end() - 5, records.end() - 2),
            records_of(event::stacks{.stacks = 1, .free = 1},
                       event::stack_allocated{.operation = 0, .stack = 0, .address = 0xD0000000},
                       event::stack_rejected{.operation = 1,
                                             .address = 0,
                                             .reason = protocol::stack_failure::none_free}));
        CHECK(machine.processor.calls == std::vector<std::string>{"invalidate_page d0000000"});
    }
    SUBCASE("too many") {
        Machine machine(small_map, with_stacks(protocol::maximum_stacks + 1));
        check_panic(machine, panic_reason::bad_program, 16);
        CHECK(tests::only<event::stacks>(read_trace(machine.trace_buffer)).empty());
        CHECK(machine.processor.calls.empty());
    }
}

TEST_CASE("a program's tasks run on the pool's stacks, with the header's schedule") {
    Machine machine(small_map,
                    tests::program_with_header(
                        {.magic = 0,
                         .operations = 0,
                         .state_regions = 0,
                         .flags = 0,
                         .stacks = 2,
                         .schedule = 1,
                         .quantum = 2},
                        operation::spawn{.body = 0, .priority = 3},
                        operation::spawn{.body = 0, .priority = 0},
                        operation::spawn{.body = 0, .priority = 0},
                        operation::compute{.kind = protocol::compute_kind::flags, .iterations = 1},
                        operation::body{}));
    machine.task_threads.steps = 2;
    const Records records = run(machine, trace_status::completed);
    CHECK(tests::only<event::spawned>(records) ==
          records_of(tests::spawned(0, 1, 0, 0, 3), tests::spawned(1, 2, 0, 1, 0)));
    CHECK(tests::only<event::stepped>(records).size() == 1);
    CHECK(tests::only<event::exited>(records) ==
          records_of(tests::exited(1, 0), tests::exited(2, 1)));
    CHECK(records.back() == record_of(event::completed{.operations = 5}));
}

TEST_CASE("a deadlock is a panic") {
    Machine machine(small_map,
                    tests::program_with_header({.magic = 0,
                                                .operations = 0,
                                                .state_regions = 0,
                                                .flags = 0,
                                                .stacks = 1,
                                                .schedule = 0,
                                                .quantum = 1},
                                               operation::spawn{.body = 0, .priority = 3},
                                               operation::body{}, operation::block{}));
    check_panic(machine, panic_reason::deadlock, 2);
}

TEST_CASE("data pages are not executable where that can be said") {
    // The entry of the user-mode stack, with PAE paging: the second of the last table.
    const auto upper_half = [](bool pae, std::uint32_t efer) {
        Machine machine(small_map, program());
        machine.pae = pae;
        machine.processor.registers.efer = efer;
        run(machine, trace_status::completed);
        return machine.page_tables[21 * 1024 + 3];
    };
    CHECK(upper_half(true, 0x800) == 0x80000000);
    CHECK(upper_half(true, 0x500) == 0);
    CHECK(upper_half(false, 0x800) == 0);
}

TEST_CASE("a fault at a probe is on the stack it was made on") {
    // What an earlier run of this kernel knew about stacks does not count.
    Machine machine(small_map, program(operation::reload{}));
    machine.processor.expected_fault =
        tests::fault(protocol::exception::page_fault, 0xC0101000, 0xD0002000);
    const Records faults = tests::only<event::fault>(run(machine, trace_status::completed));
    REQUIRE(faults.size() == 1);
    CHECK(copy(tests::event_in<event::fault>(faults[0]).stack) == protocol::stack_kind::kernel);

    Bytes bytes = program(operation::reload{});
    bytes[offsetof(protocol::program_header, stacks)] = std::byte{1};
    Machine with_stack(small_map, bytes);
    with_stack.processor.expected_fault =
        tests::fault(protocol::exception::page_fault, 0xC0101000, 0xD0002000);
    const Records task_faults = tests::only<event::fault>(run(with_stack, trace_status::completed));
    REQUIRE(task_faults.size() == 1);
    CHECK(copy(tests::event_in<event::fault>(task_faults[0]).stack) == protocol::stack_kind::task);
}

TEST_CASE("a fault that nothing expects ends the run") {
    Machine machine(small_map, program(operation::reload{}, operation::count{}));
    machine.processor.unexpected_fault =
        tests::fault(protocol::exception::invalid_opcode, 0xC0101234, 0xC0104000);
    check_panic(machine, panic_reason::unexpected_fault, 0xC0101234);
    CHECK(tests::only<event::counted>(read_trace(machine.trace_buffer)).empty());
}

TEST_CASE("a fault after the run is over changes nothing any more") {
    Machine machine(small_map, program());
    run(machine, trace_status::completed);
    const Bytes before = machine.trace_buffer;
    REQUIRE(machine.processor.listener != nullptr);
    const auto late = tests::fault(protocol::exception::page_fault, 0xC0101234, 0xC0104000);
    CHECK(machine.processor.listener->on_fault(late, true) == core::AfterFault::end_run);
    CHECK(machine.processor.listener->on_fault(late, false) == core::AfterFault::end_run);
    CHECK(machine.trace_buffer == before);
}

TEST_CASE("a machine that survives a triple fault leaves a trace that was cut short") {
    Machine machine(small_map, program(operation::triple_fault{}, operation::count{}));
    CHECK(core::run_kernel(machine.entry, machine.platform()) == trace_status::running);
    CHECK(copy(tests::header_of(machine.trace_buffer).status) == trace_status::running);
    CHECK(read_trace(machine.trace_buffer).back().kind == event::stacks::kind);
}

TEST_CASE("no frame that is in use is ever handed out, and each only once") {
    Machine machine(joined({map_entry(0, 0xFFFFFFFFFFFFFFFF), map_entry(0xA0000, 0x60000, 2)}),
                    program(operation::exhaust{}, operation::dump{}));
    const Records records = run(machine, trace_status::completed);
    std::uint32_t frames = 0;
    for (const auto& record : tests::only<event::exhausted_run>(records)) {
        const auto run_of_frames = tests::event_in<event::exhausted_run>(record);
        const std::uint32_t first = run_of_frames.first;
        const std::uint32_t end = first + run_of_frames.count;
        for (const std::uint32_t used : {0u, 1u, 4u, 0x10u, 0x30u, 0xA0u, 0xFFu, 0x100u, 0x108u,
                                         0x10Au, 0x11Fu, 0x121u, 0x400u, 0x407u, 0x1000u, 0x17FFu})
            CHECK_FALSE((first <= used && used < end));
        frames += run_of_frames.count;
    }
    CHECK(frames == protocol::frame_count - 0x60 - 5 - 9 - 22 - 0x800 - 8 - 1);
    CHECK(tests::only<event::exhausted>(records) ==
          records_of(event::exhausted{.operation = 0, .frames = frames}));
    CHECK(tests::only<event::dumped>(records) ==
          records_of(event::dumped{.operation = 1, .ranges = 0, .frames = 0}));
}

TEST_CASE("however small the trace buffer is, it ends with its reason") {
    Machine whole(small_map,
                  program(operation::exhaust{}, operation::dump{}, operation::allocate{}));
    const Records expected = run(whole, trace_status::completed);
    const std::size_t needed = sizeof(protocol::trace_header) +
                               tests::header_of(whole.trace_buffer).written + sizeof(event::panic);
    for (std::size_t size = core::Trace::minimum_size; size <= needed; ++size) {
        INFO("trace buffer of ", size, " of ", needed, " bytes");
        Machine& machine = whole;
        machine.trace_buffer = Bytes(size);
        const bool fits = size == needed;
        const Records records =
            run(machine, fits ? trace_status::completed : trace_status::panicked);
        if (fits) {
            CHECK(records == expected);
        } else {
            CHECK(records.back() ==
                  record_of(event::panic{.reason = panic_reason::trace_full, .detail = 0}));
            const auto kept = static_cast<std::ptrdiff_t>(records.size() - 1);
            CHECK(Records(records.begin(), records.end() - 1) ==
                  Records(expected.begin(), expected.begin() + kept));
        }
    }
}

TEST_CASE(
    "random bytes for a map, a program and an information structure never escape the window") {
    std::mt19937 random(5);
    const auto noise = [&random](std::size_t size) {
        Bytes bytes(size);
        for (std::byte& byte : bytes) {
            // Mostly small numbers, so that some of the noise makes sense.
            byte = random() % 3 == 0 ? static_cast<std::byte>(random()) : std::byte{0};
        }
        return bytes;
    };
    int reached_the_map = 0;
    for (int round = 0; round < 400; ++round) {
        Machine machine(noise(random() % 2000), noise(random() % 500));
        if (random() % 2 != 0)
            machine.write(Machine::information, noise(116));
        if (random() % 4 == 0)
            machine.write(Machine::module_list, noise(16));
        const auto status = core::run_kernel(machine.entry, machine.platform());
        const Records records = read_trace(machine.trace_buffer);
        INFO("round ", round);
        CHECK(status == trace_status::panicked);
        CHECK(records.back().kind == event::panic::kind);
        reached_the_map += static_cast<int>(tests::only<event::map_end>(records).size());
    }
    CHECK(reached_the_map > 40);
}
