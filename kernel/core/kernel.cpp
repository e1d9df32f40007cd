#include "core/kernel.hpp"

#include "core/address_space.hpp"
#include "core/bodies.hpp"
#include "core/checksum.hpp"
#include "core/faults.hpp"
#include "core/features.hpp"
#include "core/frame_allocator.hpp"
#include "core/frame_passes.hpp"
#include "core/memory_map.hpp"
#include "core/multiboot.hpp"
#include "core/physical_window.hpp"
#include "core/probe_area.hpp"
#include "core/probe_arena.hpp"
#include "core/program.hpp"
#include "core/program_run.hpp"
#include "core/progress.hpp"
#include "core/reach.hpp"
#include "core/scheduler.hpp"
#include "core/task_stack_pool.hpp"
#include "core/trace.hpp"

namespace core {

namespace {

namespace event = protocol::event;
using protocol::panic_reason;

// Too large for the stack that boot code sets up. Each run writes a place before it reads it.
constinit Grant operation_grants[protocol::maximum_operations]{};
constinit std::uint32_t free_task_stacks[TaskStackPool::bitmap_words]{};
constinit Body body_places[protocol::maximum_operations]{};
constinit Task task_places[Scheduler::task_places]{};

// Listens when no run is going on: there is no trace that a fault could be written to.
class Nobody final : public FaultListener {
public:
    AfterFault on_fault(const FaultRecord&, bool) override { return AfterFault::end_run; }
};
constinit Nobody nobody;

[[nodiscard]] AddressSpace address_space(const Platform& platform) {
    // Where it is not enabled, the flag is a reserved bit (SDM vol. 3, 4.4.2).
    const std::uint32_t efer = platform.processor.control_registers().efer;
    const Entry no_execute = (efer & efer_no_execute) != 0 ? entry::no_execute : 0;
    return {platform.memory, platform.layout, platform.paging, no_execute};
}

Progress report_entry(const EntryState& state, Trace& trace) {
    return trace.write(event::entry{.magic = state.magic,
                                    .information = state.information,
                                    .cr0 = state.cr0,
                                    .eflags = state.eflags,
                                    .a20 = static_cast<std::uint8_t>(state.a20),
                                    .code_limit = state.code_limit,
                                    .data_limit = state.data_limit,
                                    .stack_limit = state.stack_limit});
}

Progress report_paging(const Processor& processor, Trace& trace) {
    const ControlRegisters registers = processor.control_registers();
    return trace.write(event::paging{.cr0 = registers.cr0,
                                     .cr3 = registers.cr3,
                                     .cr4 = registers.cr4,
                                     .efer = registers.efer,
                                     .features = processor.features()});
}

Progress report_control(const Processor& processor, Trace& trace) {
    const ControlRegisters registers = processor.control_registers();
    return trace.write(event::control{.cr0 = registers.cr0,
                                      .cr2 = registers.cr2,
                                      .cr3 = registers.cr3,
                                      .cr4 = registers.cr4,
                                      .efer = registers.efer});
}

Progress report_map(const MultibootInformation& information, Trace& trace) {
    MemoryMapReader map(information.memory_map_bytes());
    std::uint32_t entries = 0;
    while (const auto region = map.next()) {
        if (stopped(trace.write(event::region{.index = entries,
                                              .base = region->base.value(),
                                              .length = region->length,
                                              .type = region->type,
                                              .entry_size = region->entry_size})))
            return Progress::stopped;
        ++entries;
    }
    return trace.write(event::map_end{.entries = entries, .problem = map.problem()});
}

[[nodiscard]] std::span<const std::uint32_t> state_words(protocol::state_region region,
                                                         const KernelMemory& memory,
                                                         const FrameAllocator& frames) {
    switch (region) {
    case protocol::state_region::frame_bitmap:
        return frames.free_words();
    case protocol::state_region::frame_owned:
        return frames.owned_words();
    case protocol::state_region::page_tables:
        return memory.page_tables;
    case protocol::state_region::probe_arena:
        return memory.probe_arena;
    }
    return {};
}

Progress report_states(const Program& program, const KernelMemory& memory,
                       const FrameAllocator& frames, Trace& trace) {
    for (const auto region : protocol::state_regions) {
        if (!program.asks_for(region))
            continue;
        const auto words = state_words(region, memory, frames);
        const auto progress =
            trace.write(event::state{.region = region,
                                     .words = static_cast<std::uint32_t>(words.size()),
                                     .checksum = checksum(words, protocol::state_mask(region))});
        if (stopped(progress))
            return progress;
    }
    return Progress::going;
}

Progress build_stacks(const TaskStackPool& stacks, AddressSpace& space, const Platform& platform,
                      Faults& faults, Trace& trace) {
    stacks.build(space, platform.processor, platform.memory.stack_area);
    faults.know_task_stacks(stacks.range());
    return trace.write(event::stacks{.stacks = stacks.stacks(), .free = stacks.free_count()});
}

Progress run_program(std::span<const std::byte> bytes, FrameAllocator& frames, AddressSpace& space,
                     const Platform& platform, Faults& faults, Trace& trace) {
    const Program program(bytes);
    if (const auto offset = program.defect())
        return trace.panic(panic_reason::bad_program, *offset);
    TaskStackPool stacks(free_task_stacks, program.stack_count());
    if (stopped(build_stacks(stacks, space, platform, faults, trace)))
        return Progress::stopped;
    ProbeArea probe_area(space, platform.processor, platform.layout.probe_arena.start);
    Scheduler scheduler(
        {.processor = platform.task_processor, .stacks = stacks, .faults = faults, .trace = trace},
        {.schedule = program.schedule(),
         .quantum = program.quantum(),
         .priorities = program.has_priorities()},
        task_places, platform.idle_stack.end);
    const Bodies bodies(program, body_places);
    ProgramRun program_run({.frames = frames,
                            .probe_area = probe_area,
                            .stacks = stacks,
                            .processor = platform.processor,
                            .task_processor = platform.task_processor,
                            .scheduler = scheduler,
                            .trace = trace},
                           Reach(platform.layout, stacks.range()), bodies, operation_grants);
    if (stopped(program_run.run()) || stopped(report_control(platform.processor, trace)) ||
        stopped(report_states(program, platform.memory, frames, trace)))
        return Progress::stopped;
    return trace.complete(program.operation_count());
}

Progress run(const EntryState& state, const Platform& platform, Faults& faults, Trace& trace) {
    if (stopped(report_entry(state, trace)))
        return Progress::stopped;
    AddressSpace space = address_space(platform);
    space.build();
    fill_arena(platform.memory.probe_arena);
    if (stopped(report_paging(platform.processor, trace)))
        return Progress::stopped;
    if (state.magic != protocol::multiboot_bootloader_magic)
        return trace.panic(panic_reason::not_multiboot, state.magic);
    const MultibootInformation information(PhysicalWindow(platform.window, platform.window_size),
                                           PhysicalAddress(state.information));
    if (const auto address = information.out_of_reach())
        return trace.panic(panic_reason::information_out_of_reach, address->value());
    if (stopped(report_map(information, trace)))
        return Progress::stopped;
    FrameAllocator frames(platform.memory.frame_bitmap, platform.memory.frame_owned,
                          frame_extent(information));
    if (stopped(initialise_frames(frames, information, platform.layout, trace)))
        return Progress::stopped;
    const bool has_program = information.module_count() != 0;
    return run_program(has_program ? information.module_bytes(0) : std::span<const std::byte>{},
                       frames, space, platform, faults, trace);
}

} // namespace

bool wants_echo(const EntryState& entry, const Platform& platform) {
    if (entry.magic != protocol::multiboot_bootloader_magic)
        return false;
    const MultibootInformation information(PhysicalWindow(platform.window, platform.window_size),
                                           PhysicalAddress(entry.information));
    if (information.out_of_reach() || information.module_count() == 0)
        return false;
    const Program program(information.module_bytes(0));
    return !program.defect() && program.wants_echo();
}

protocol::trace_status run_kernel(const EntryState& entry, const Platform& platform) {
    Trace trace(platform.memory.trace_buffer);
    Faults faults(trace, platform.probe_stack);
    platform.processor.listen(faults);
    // However the run ends, it has said so in the trace.
    static_cast<void>(run(entry, platform, faults, trace));
    platform.processor.listen(nobody);
    return trace.status();
}

} // namespace core
