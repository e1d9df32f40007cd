// The seam between the hardware-free kernel and the machine: what boot and arch code hand over.
#pragma once

#include "core/addresses.hpp"
#include "core/linear_range.hpp"
#include "core/paging_mode.hpp"
#include "core/processor.hpp"
#include "core/task_processor.hpp"
#include "protocol.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace core {

// The machine state at the Multiboot entry point. Boot assembly fills it: keep the order.
struct EntryState {
    std::uint32_t magic;
    std::uint32_t information;
    std::uint32_t cr0;
    std::uint32_t eflags;
    std::uint32_t a20;
    std::uint32_t code_limit;
    std::uint32_t data_limit;
    std::uint32_t stack_limit;
};
static_assert(sizeof(EntryState) == 32);

// Where the parts of the image are, in physical memory.
struct ImageLayout {
    ByteRange kernel_image;
    ByteRange page_tables;
    ByteRange task_stacks;
    ByteRange probe_arena;
    ByteRange trace_buffer;
    PhysicalAddress user_code;  // the frame of the user-mode code
    PhysicalAddress user_stack; // the frame of its stack
};

// The kernel's own memory, as it reaches it: all of it through the window, but for `stack_area`.
struct KernelMemory {
    std::span<std::uint32_t> frame_bitmap; // one bit a frame: frame_count / 32 words
    std::span<std::uint32_t> frame_owned;  // the same
    // Boot code has built what maps the window, and the physical map where there is one, and has
    // cleared the rest of the page directories. What is above them is complete.
    std::span<std::uint32_t> page_tables;
    std::span<std::uint32_t> probe_arena;
    std::span<std::byte> trace_buffer;
    std::byte* stack_area; // where `area::stacks` appears
};

struct Platform {
    const std::byte* window;   // where physical address 0 appears
    std::uint32_t window_size; // bytes of physical memory that are reachable there
    ImageLayout layout;
    KernelMemory memory;
    LinearRange probe_stack;
    LinearRange idle_stack; // the idle task's
    Processor& processor;
    TaskProcessor& task_processor;
    PagingMode paging;
};

} // namespace core
