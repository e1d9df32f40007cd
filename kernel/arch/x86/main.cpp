// From the entry code to the hardware-free kernel, and out through the exit path.

#include <cstddef>
#include <cstdint>
#include <span>

#include "arch/x86/control_registers.hpp"
#include "arch/x86/descriptors.hpp"
#include "arch/x86/faults.hpp"
#include "arch/x86/interrupt_timer.hpp"
#include "arch/x86/ports.hpp"
#include "arch/x86/processor.hpp"
#include "arch/x86/task_processor.hpp"
#include "boot/run_end.hpp"
#include "core/features.hpp"
#include "core/kernel.hpp"
#include "core/platform.hpp"
#include "paging_mode.hpp"
#include "protocol.hpp"

extern "C" {
extern std::byte kernel_image_start[], kernel_image_end[];
extern std::byte page_tables_start[], page_tables_end[];
extern std::byte task_stacks_start[], task_stacks_end[];
extern std::byte probe_arena_start[], probe_arena_end[];
extern std::byte trace_buffer_start[], trace_buffer_end[];
extern std::byte user_stack_start[];
extern std::byte probe_stack_start[], probe_stack_end[];
extern std::byte idle_stack_start[], idle_stack_end[];
extern std::uint32_t frame_bitmap_start[], frame_bitmap_end[];
extern std::uint32_t frame_owned_start[], frame_owned_end[];
extern const core::EntryState entry_state;
[[noreturn]] void kernel_main();
}

namespace {

constinit x86::Processor processor;

constinit x86::TaskProcessor task_processor;

std::uintptr_t address(const std::byte* symbol) {
    return reinterpret_cast<std::uintptr_t>(symbol);
}

core::PhysicalAddress physical(const std::byte* symbol) {
    return core::PhysicalAddress(address(symbol) - protocol::boot::kernel_window);
}

template <typename T> std::span<T> between(T* start, T* end) {
    return {start, static_cast<std::size_t>(end - start)};
}

std::span<std::uint32_t> words_between(std::byte* start, std::byte* end) {
    return between(reinterpret_cast<std::uint32_t*>(start), reinterpret_cast<std::uint32_t*>(end));
}

core::Platform make_platform() {
    return {
        .window = reinterpret_cast<const std::byte*>(protocol::boot::kernel_window),
        .window_size = protocol::boot::kernel_window_size,
        .layout = {.kernel_image = {physical(kernel_image_start), physical(kernel_image_end)},
                   .page_tables = {physical(page_tables_start), physical(page_tables_end)},
                   .task_stacks = {physical(task_stacks_start), physical(task_stacks_end)},
                   .probe_arena = {physical(probe_arena_start), physical(probe_arena_end)},
                   .trace_buffer = {physical(trace_buffer_start), physical(trace_buffer_end)},
                   .user_code = physical(user_code_start),
                   .user_stack = physical(user_stack_start)},
        .memory = {.frame_bitmap = between(frame_bitmap_start, frame_bitmap_end),
                   .frame_owned = between(frame_owned_start, frame_owned_end),
                   .page_tables = words_between(page_tables_start, page_tables_end),
                   .probe_arena = words_between(probe_arena_start, probe_arena_end),
                   .trace_buffer = between(trace_buffer_start, trace_buffer_end),
                   .stack_area = reinterpret_cast<std::byte*>(protocol::area::stacks)},
        .probe_stack = {address(probe_stack_start), address(probe_stack_end)},
        .idle_stack = {address(idle_stack_start), address(idle_stack_end)},
        .processor = processor,
        .task_processor = task_processor,
        .paging = x86::paging_mode(),
    };
}

// Sends the trace's header and records through the debug port.
void print_trace(std::span<const std::byte> buffer) {
    const auto& header = *reinterpret_cast<const protocol::trace_header*>(buffer.data());
    for (const std::byte byte : buffer.first(sizeof header + header.written))
        write_port(0xE9, static_cast<std::uint8_t>(byte));
}

} // namespace

void x86::finish_run() {
    // Whatever has ended the run: `end_run` disables interrupts, and none is left to come.
    stop_interrupt_timer();
    const core::Platform platform = make_platform();
    const bool echo = core::wants_echo(entry_state, platform);
    if (echo)
        print_trace(platform.memory.trace_buffer);
    end_run(protocol::boot::kernel_window + protocol::boot::mailbox, echo ? 1 : 0);
}

void kernel_main() {
    x86::install_descriptors();
    // Before the core builds the rest of the address space, which uses it.
    if (core::has_wide_entries(x86::paging_mode()) &&
        core::has(processor.features(), core::Feature::no_execute))
        x86::write_efer(x86::read_efer() | x86::efer::no_execute);
    (void)core::run_kernel(entry_state, make_platform());
    x86::finish_run();
}
