#include "arch/x86/descriptors.hpp"

#include "arch/i686/task_state.hpp"
#include "arch/x86/descriptor_tables.hpp"
#include "constants.h"

#include <cstddef>

extern "C" {
extern const std::byte double_fault_task[];
extern const std::byte ring3_fault_stack_end[], double_fault_stack_end[];
extern const std::byte page_tables_start[];
}

namespace x86 {

namespace {

constexpr std::uint32_t task_limit = sizeof(TaskState) - 1;

// A task's limit must be 0x67 at least (SDM vol. 3, 8.2.2): this is the largest that is too small.
constexpr std::uint32_t short_task_limit = task_limit - 1;

constinit TaskState double_fault_state{};

std::uint64_t make_task(const TaskState& task, std::uint32_t limit) {
    return make_segment(address_of(&task), limit, segment::available_task | segment::present);
}

} // namespace

constinit TaskState main_task{};

void fill_tasks() {
    const std::uint32_t page_tables = address_of(page_tables_start) - protocol::boot::kernel_window;
    main_task.esp0 = address_of(ring3_fault_stack_end);
    main_task.ss0 = SELECTOR_KERNEL_DATA;
    // Leaving a task saves everything but this.
    main_task.cr3 = page_tables;
    main_task.permission_map = sizeof(TaskState);
    TaskState& task = double_fault_state;
    task.cr3 = page_tables;
    task.eip = address_of(double_fault_task);
    task.eflags = EFLAGS_CLEAR;
    task.esp = address_of(double_fault_stack_end);
    task.cs = SELECTOR_KERNEL_CODE;
    task.ss = task.ds = task.es = task.fs = task.gs = SELECTOR_KERNEL_DATA;
    task.permission_map = sizeof(TaskState);
    descriptor(SELECTOR_MAIN_TASK) = make_task(main_task, task_limit);
    descriptor(SELECTOR_DOUBLE_FAULT_TASK) = make_task(double_fault_state, task_limit);
    descriptor(protocol::selector_short_task) = make_task(main_task, short_task_limit);
}

void fill_own_gates() {
    // Whatever became of the stack: this one has its own.
    interrupt_table[static_cast<std::uint32_t>(protocol::exception::double_fault)] =
        make_gate(SELECTOR_DOUBLE_FAULT_TASK, 0, gate::task | gate::present);
    interrupt_table[protocol::vector_short_task] =
        make_gate(protocol::selector_short_task, 0, gate::task | gate::present);
}

void describe_probe_segment(std::uint32_t base, std::uint32_t limit, bool expand_down) {
    const bool in_pages = limit >= 1u << 20;
    descriptor(protocol::selector_probe) =
        make_segment(base, in_pages ? limit >> 12 : limit,
                     segment::data | segment::writable | (expand_down ? segment::expand_down : 0) |
                         segment::accessed | segment::present | segment::is_32_bit |
                         (in_pages ? segment::in_pages : 0));
}

} // namespace x86
