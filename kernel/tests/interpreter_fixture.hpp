// Runs programs on all parts of a kernel: an allocator that owns frames [4, 8) and [16, 20), three
// task stacks, and a processor that does nothing.
#pragma once

#include "core/program_run.hpp"
#include "tests/bytes.hpp"
#include "tests/machine.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

namespace tests {

class InterpreterFixture {
public:
    explicit InterpreterFixture(core::PagingMode mode = core::PagingMode::legacy)
        : space(machine.platform().memory, Machine::layout, mode, 0) {
        space.build();
        frames.make_free({core::Frame(4), core::Frame(8)});
        frames.make_free({core::Frame(16), core::Frame(20)});
        frames.own_what_is_free();
    }

    // The events of one program. The next one finds what this one left, but for its grants.
    template <typename... Operations> Records run(const Operations&... operations) {
        const Bytes bytes = program(operations...);
        const core::Program parsed(bytes);
        REQUIRE_FALSE(parsed.defect().has_value());
        return run_program(parsed, sizeof...(operations));
    }

    // The same with another header.
    template <typename... Operations>
    Records run_with_header(const protocol::program_header& header,
                            const Operations&... operations) {
        const Bytes bytes = program_with_header(header, operations...);
        const core::Program parsed(bytes);
        REQUIRE_FALSE(parsed.defect().has_value());
        return run_program(parsed, sizeof...(operations));
    }

    Records run_program(const core::Program& program, std::size_t operations) {
        core::Trace trace(machine.trace_buffer);
        core::Faults faults(trace, Machine::probe_stack);
        faults.know_task_stacks(stacks.range());
        machine.processor.listen(faults);
        core::Scheduler scheduler(
            {.processor = machine.task_threads, .stacks = stacks, .faults = faults, .trace = trace},
            {.schedule = program.schedule(),
             .quantum = program.quantum(),
             .priorities = program.has_priorities()},
            tasks, Machine::idle_stack.end);
        // Exactly as many grants as operations, with something in them that was never given.
        std::vector<core::Grant> grants(operations,
                                        {{core::Frame(1), core::Frame(2)}, 1, &tasks[1]});
        std::vector<core::Body> places(operations, {0xDEADBEEF, 0xDEADBEEF});
        const core::Bodies bodies(program, places);
        core::ProgramRun program_run({.frames = frames,
                                      .probe_area = probe_area,
                                      .stacks = stacks,
                                      .processor = machine.processor,
                                      .task_processor = machine.task_threads,
                                      .scheduler = scheduler,
                                      .trace = trace},
                                     core::Reach(Machine::layout, stacks.range()), bodies, grants);
        progress = program_run.run();
        machine.task_threads.end_tasks();
        return read_trace(machine.trace_buffer);
    }

    Machine machine;
    core::AddressSpace space;
    core::ProbeArea probe_area{space, machine.processor, Machine::layout.probe_arena.start};
    core::FrameAllocator frames{machine.frame_bitmap, machine.frame_owned,
                                core::Frame(protocol::frame_count)};
    std::vector<std::uint32_t> stack_words =
        std::vector<std::uint32_t>(core::TaskStackPool::bitmap_words, 0xDEADBEEF);
    core::TaskStackPool stacks{stack_words, 3};
    std::vector<core::Task> tasks = std::vector<core::Task>(core::Scheduler::task_places);
    core::Progress progress = core::Progress::stopped;
};

class PaeInterpreterFixture : public InterpreterFixture {
public:
    PaeInterpreterFixture() : InterpreterFixture(core::PagingMode::pae) {}
};

} // namespace tests
