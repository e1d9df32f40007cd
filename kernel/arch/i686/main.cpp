// From the entry code to the hardware-free kernel, and out through the exit path.

#include <cstddef>
#include <cstdint>
#include <span>

#include "arch/x86/ports.hpp"
#include "boot/run_end.hpp"
#include "core/kernel.hpp"
#include "core/platform.hpp"
#include "protocol.hpp"

extern "C" {
extern std::byte kernel_image_start[], kernel_image_end[];
extern std::byte page_tables_start[], page_tables_end[];
extern std::byte trace_buffer_start[], trace_buffer_end[];
extern std::uint32_t frame_bitmap_start[], frame_bitmap_end[];
extern std::uint32_t frame_owned_start[], frame_owned_end[];
extern const core::EntryState entry_state;
[[noreturn]] void kernel_main();
}

namespace {

core::PhysicalAddress physical(const std::byte* address) {
    return core::PhysicalAddress(reinterpret_cast<std::uint32_t>(address) -
                                 protocol::boot::kernel_window);
}

template <typename T> std::span<T> between(T* start, T* end) {
    return {start, static_cast<std::size_t>(end - start)};
}

std::uint32_t read_cr0() {
    std::uint32_t value;
    asm volatile("movl %%cr0, %0" : "=r"(value));
    return value;
}

std::uint32_t read_cr3() {
    std::uint32_t value;
    asm volatile("movl %%cr3, %0" : "=r"(value));
    return value;
}

// Sends the trace's header and records through the debug port.
void print_trace(std::span<const std::byte> buffer) {
    const auto& header = *reinterpret_cast<const protocol::trace_header*>(buffer.data());
    for (const std::byte byte : buffer.first(sizeof header + header.written))
        write_port(0xE9, static_cast<std::uint8_t>(byte));
}

} // namespace

void kernel_main() {
    const core::Platform platform{
        .window = reinterpret_cast<const std::byte*>(protocol::boot::kernel_window),
        .window_size = protocol::boot::kernel_window_size,
        .layout = {.kernel_image = {physical(kernel_image_start), physical(kernel_image_end)},
                   .page_tables = {physical(page_tables_start), physical(page_tables_end)},
                   .trace_buffer = {physical(trace_buffer_start), physical(trace_buffer_end)}},
        .memory = {.frame_bitmap = between(frame_bitmap_start, frame_bitmap_end),
                   .frame_owned = between(frame_owned_start, frame_owned_end),
                   .page_tables = between(reinterpret_cast<const std::uint32_t*>(page_tables_start),
                                          reinterpret_cast<const std::uint32_t*>(page_tables_end)),
                   .trace_buffer = between(trace_buffer_start, trace_buffer_end)},
        .cr0 = read_cr0(),
        .cr3 = read_cr3(),
    };
    (void)core::run_kernel(entry_state, platform);
    const bool echo = core::wants_echo(entry_state, platform);
    if (echo)
        print_trace(platform.memory.trace_buffer);
    end_run(protocol::boot::kernel_window + protocol::boot::mailbox, echo ? 1 : 0);
}
