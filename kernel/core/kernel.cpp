#include "core/kernel.hpp"

#include "core/checksum.hpp"
#include "core/frame_allocator.hpp"
#include "core/frame_passes.hpp"
#include "core/interpreter.hpp"
#include "core/memory_map.hpp"
#include "core/multiboot.hpp"
#include "core/physical_window.hpp"
#include "core/program.hpp"
#include "core/progress.hpp"
#include "core/trace.hpp"

namespace core {

namespace {

namespace event = protocol::event;
using protocol::panic_reason;

// Too large for the stack that boot code sets up. Each run writes a place before it reads it.
constinit FrameRange operation_grants[protocol::maximum_operations]{};

Progress report_machine(const EntryState& entry, const Platform& platform, Trace& trace) {
    const auto progress = trace.write(event::entry{.magic = entry.magic,
                                                   .information = entry.information,
                                                   .cr0 = entry.cr0,
                                                   .eflags = entry.eflags,
                                                   .a20 = static_cast<std::uint8_t>(entry.a20),
                                                   .code_limit = entry.code_limit,
                                                   .data_limit = entry.data_limit,
                                                   .stack_limit = entry.stack_limit});
    if (stopped(progress))
        return progress;
    return trace.write(event::paging{.cr0 = platform.cr0, .cr3 = platform.cr3});
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
                                                         const KernelMemory& memory) {
    switch (region) {
    case protocol::state_region::frame_bitmap:
        return memory.frame_bitmap;
    case protocol::state_region::frame_owned:
        return memory.frame_owned;
    case protocol::state_region::page_tables:
        return memory.page_tables;
    }
    return {};
}

Progress report_states(const Program& program, const KernelMemory& memory, Trace& trace) {
    for (const auto region : protocol::state_regions) {
        if (!program.asks_for(region))
            continue;
        const auto words = state_words(region, memory);
        const auto progress =
            trace.write(event::state{.region = region,
                                     .words = static_cast<std::uint32_t>(words.size()),
                                     .checksum = checksum(words, protocol::state_mask(region))});
        if (stopped(progress))
            return progress;
    }
    return Progress::going;
}

Progress run_program(std::span<const std::byte> bytes, FrameAllocator& frames,
                     const KernelMemory& memory, Trace& trace) {
    const Program program(bytes);
    if (const auto offset = program.defect())
        return trace.panic(panic_reason::bad_program, *offset);
    Interpreter interpreter(frames, trace, operation_grants);
    if (stopped(interpreter.run(program)) || stopped(report_states(program, memory, trace)))
        return Progress::stopped;
    return trace.complete(program.operation_count());
}

Progress run(const EntryState& entry, const Platform& platform, Trace& trace) {
    if (stopped(report_machine(entry, platform, trace)))
        return Progress::stopped;
    if (entry.magic != protocol::multiboot_bootloader_magic)
        return trace.panic(panic_reason::not_multiboot, entry.magic);
    const MultibootInformation information(PhysicalWindow(platform.window, platform.window_size),
                                           PhysicalAddress(entry.information));
    if (const auto address = information.out_of_reach())
        return trace.panic(panic_reason::information_out_of_reach, address->value());
    if (stopped(report_map(information, trace)))
        return Progress::stopped;
    FrameAllocator frames(platform.memory.frame_bitmap, platform.memory.frame_owned);
    if (stopped(initialise_frames(frames, information, platform.layout, trace)))
        return Progress::stopped;
    const bool has_program = information.module_count() != 0;
    return run_program(has_program ? information.module_bytes(0) : std::span<const std::byte>{},
                       frames, platform.memory, trace);
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
    // However the run ends, it has said so in the trace.
    static_cast<void>(run(entry, platform, trace));
    return trace.status();
}

} // namespace core
