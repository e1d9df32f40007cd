// From the entry code to the hardware-free kernel, and out through the exit path.

#include <cstddef>
#include <cstdint>
#include <span>

#include "arch/i686/control_registers.hpp"
#include "arch/i686/descriptors.hpp"
#include "arch/i686/faults.hpp"
#include "arch/i686/processor.hpp"
#include "arch/x86/ports.hpp"
#include "boot/run_end.hpp"
#include "core/features.hpp"
#include "core/kernel.hpp"
#include "core/platform.hpp"
#include "protocol.hpp"

extern "C" {
extern std::byte kernel_image_start[], kernel_image_end[];
extern std::byte page_tables_start[], page_tables_end[];
extern std::byte task_stacks_start[], task_stacks_end[];
extern std::byte probe_arena_start[], probe_arena_end[];
extern std::byte trace_buffer_start[], trace_buffer_end[];
extern std::byte user_code_start[], user_stack_start[];
extern std::byte probe_stack_start[], probe_stack_end[];
extern std::uint32_t frame_bitmap_start[], frame_bitmap_end[];
extern std::uint32_t frame_owned_start[], frame_owned_end[];
extern const core::EntryState entry_state;
[[noreturn]] void kernel_main();
}

namespace {

// The entry code reads it.
static_assert(sizeof(protocol::program_header) == PROGRAM_HEADER_SIZE);
static_assert(offsetof(protocol::program_header, magic) == PROGRAM_OFFSET_MAGIC);
static_assert(offsetof(protocol::program_header, flags) == PROGRAM_OFFSET_FLAGS);

constinit i686::Processor processor;

std::uint32_t address(const std::byte* symbol) {
    return reinterpret_cast<std::uint32_t>(symbol);
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

bool has_pae_paging() {
    return (i686::read_cr4() & i686::cr4::physical_address_extension) != 0;
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
        .processor = processor,
        .pae = has_pae_paging(),
    };
}

// Sends the trace's header and records through the debug port.
void print_trace(std::span<const std::byte> buffer) {
    const auto& header = *reinterpret_cast<const protocol::trace_header*>(buffer.data());
    for (const std::byte byte : buffer.first(sizeof header + header.written))
        write_port(0xE9, static_cast<std::uint8_t>(byte));
}

} // namespace

void i686::finish_run() {
    const core::Platform platform = make_platform();
    const bool echo = core::wants_echo(entry_state, platform);
    if (echo)
        print_trace(platform.memory.trace_buffer);
    end_run(protocol::boot::kernel_window + protocol::boot::mailbox, echo ? 1 : 0);
}

void kernel_main() {
    i686::install_descriptors();
    // Before the core builds the rest of the address space, which uses it.
    if (has_pae_paging() && core::has(processor.features(), core::Feature::no_execute))
        i686::write_efer(i686::read_efer() | i686::efer::no_execute);
    (void)core::run_kernel(entry_state, make_platform());
    i686::finish_run();
}
