#include "arch/x86/descriptors.hpp"

#include "arch/i686/task_state.hpp"
#include "arch/x86/interrupt_timer.hpp"
#include "constants.h"

#include <cstddef>

extern "C" {
extern const std::uint32_t fault_stubs[]; // one for each exception
extern const std::byte user_return[], double_fault_task[];
extern const std::byte timer_interrupt[], return_from_interrupt[];
extern const std::byte ring3_fault_stack_end[], double_fault_stack_end[];
extern const std::byte page_tables_start[];
}

namespace x86 {

namespace {

// Bits 40 to 47 and 52 to 55 of a segment descriptor (SDM vol. 3, 3.4.5 and 8.2.2).
namespace segment {
constexpr std::uint32_t accessed = 1;
constexpr std::uint32_t writable = 2;
constexpr std::uint32_t expand_down = 4;
constexpr std::uint32_t code = 0x1A;
constexpr std::uint32_t data = 0x10;
constexpr std::uint32_t available_task = 0x09;
constexpr std::uint32_t ring3 = 3 << 5;
constexpr std::uint32_t present = 1 << 7;
constexpr std::uint32_t is_32_bit = 1 << 14;
constexpr std::uint32_t in_pages = 1 << 15;
} // namespace segment

constexpr std::uint64_t present_flag = std::uint64_t{segment::present} << 40; // of a descriptor

// Bits 40 to 47 of a gate (SDM vol. 3, 6.11).
namespace gate {
constexpr std::uint32_t task = 0x05;
constexpr std::uint32_t interrupt = 0x0E;
constexpr std::uint32_t ring3 = 3 << 5;
constexpr std::uint32_t present = 1 << 7;
} // namespace gate

// `limit` is what the field says: in bytes, or in pages.
constexpr std::uint64_t make_segment(std::uint32_t base, std::uint32_t limit,
                                     std::uint32_t attributes) {
    return (std::uint64_t{limit} & 0xFFFF) | (std::uint64_t{base} & 0xFFFFFF) << 16 |
           std::uint64_t{attributes} << 40 | (std::uint64_t{limit} >> 16 & 0xF) << 48 |
           (std::uint64_t{base} >> 24) << 56;
}

constexpr std::uint64_t make_gate(std::uint32_t selector, std::uint32_t offset,
                                  std::uint32_t attributes) {
    return (std::uint64_t{offset} & 0xFFFF) | std::uint64_t{selector} << 16 |
           std::uint64_t{attributes} << 40 | (std::uint64_t{offset} >> 16) << 48;
}

constexpr std::uint64_t make_flat(std::uint32_t attributes) {
    return make_segment(0, 0xFFFFF,
                        attributes | segment::accessed | segment::present | segment::is_32_bit |
                            segment::in_pages);
}

} // namespace

// The entry code loads it before anything in C++ runs. The limit ends it before selector_beyond;
// what has an address in it is filled in later.
extern "C" {
extern std::uint64_t descriptor_table[];
constinit std::uint64_t descriptor_table[protocol::selector_beyond / sizeof(std::uint64_t)] = {
    0,
    make_flat(segment::code),
    make_flat(segment::data | segment::writable),
    make_flat(segment::code | segment::ring3),
    make_flat(segment::data | segment::writable | segment::ring3),
    0, // the main task
    0, // the double fault's
    0, // the task that is too short
    make_flat(segment::data | segment::writable) & ~present_flag,
    0, // the segment that programs describe
    make_flat(segment::code) & ~present_flag,
    make_flat(segment::data | segment::writable | segment::ring3) & ~present_flag,
};
static_assert(protocol::selector_absent == 8 * sizeof(std::uint64_t));
static_assert(protocol::selector_absent_code == 10 * sizeof(std::uint64_t));
}

namespace {

template <typename T> std::uint32_t address_of(const T* object) {
    return reinterpret_cast<std::uint32_t>(object);
}

constexpr std::uint32_t task_limit = sizeof(TaskState) - 1;

// A task's limit must be 0x67 at least (SDM vol. 3, 8.2.2): this is the largest that is too small.
constexpr std::uint32_t short_task_limit = task_limit - 1;

constexpr std::size_t vector_count = protocol::vector_absent + 1;
constinit std::uint64_t interrupt_table[vector_count]{};

constinit TaskState double_fault_state{};

// Its operand is a limit, then an address.
struct [[gnu::packed]] TableRegister {
    std::uint16_t limit;
    std::uint32_t address;
};

void load_interrupt_table(TableRegister table) {
    asm volatile("lidt %0" : : "m"(table) : "memory");
}

std::uint64_t make_task(const TaskState& task, std::uint32_t limit) {
    return make_segment(address_of(&task), limit, segment::available_task | segment::present);
}

std::uint64_t& descriptor(std::uint32_t selector) {
    return descriptor_table[selector / sizeof(std::uint64_t)];
}

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

// Ring 3 may use the gates of INT3 and INTO, as everywhere.
constexpr bool is_open_to_ring3(std::uint32_t vector) {
    return vector == static_cast<std::uint32_t>(protocol::exception::breakpoint) ||
           vector == static_cast<std::uint32_t>(protocol::exception::overflow);
}

std::uint64_t make_interrupt_gate(const std::byte* handler) {
    return make_gate(SELECTOR_KERNEL_CODE, address_of(handler), gate::interrupt | gate::present);
}

void fill_interrupt_table() {
    for (std::uint32_t vector = 0; vector < 32; ++vector)
        interrupt_table[vector] = make_gate(SELECTOR_KERNEL_CODE, fault_stubs[vector],
                                            gate::interrupt | gate::present |
                                                (is_open_to_ring3(vector) ? gate::ring3 : 0));
    // Whatever became of the stack: this one has its own.
    interrupt_table[static_cast<std::uint32_t>(protocol::exception::double_fault)] =
        make_gate(SELECTOR_DOUBLE_FAULT_TASK, 0, gate::task | gate::present);
    interrupt_table[x86::timer_vector] = make_interrupt_gate(timer_interrupt);
    interrupt_table[x86::spurious_vector] = make_interrupt_gate(return_from_interrupt);
    interrupt_table[protocol::vector_nothing] = make_interrupt_gate(return_from_interrupt);
    interrupt_table[protocol::vector_user_return] =
        make_gate(SELECTOR_KERNEL_CODE, address_of(user_return),
                  gate::interrupt | gate::ring3 | gate::present);
    interrupt_table[protocol::vector_short_task] =
        make_gate(protocol::selector_short_task, 0, gate::task | gate::present);
    interrupt_table[protocol::vector_absent] =
        make_gate(SELECTOR_KERNEL_CODE, address_of(user_return), gate::interrupt);
}

} // namespace

constinit TaskState main_task{};

void install_descriptors() {
    fill_tasks();
    fill_interrupt_table();
    load_interrupt_table({sizeof interrupt_table - 1, address_of(interrupt_table)});
    asm volatile("ltr %w0" : : "r"(SELECTOR_MAIN_TASK) : "memory");
}

void describe_probe_segment(std::uint32_t base, std::uint32_t limit, bool expand_down) {
    const bool in_pages = limit >= 1u << 20;
    descriptor(protocol::selector_probe) =
        make_segment(base, in_pages ? limit >> 12 : limit,
                     segment::data | segment::writable | (expand_down ? segment::expand_down : 0) |
                         segment::accessed | segment::present | segment::is_32_bit |
                         (in_pages ? segment::in_pages : 0));
}

void set_gate_presence(protocol::exception vector, GatePresence presence) {
    constexpr std::uint64_t present = std::uint64_t{gate::present} << 40;
    std::uint64_t& entry = interrupt_table[static_cast<std::uint32_t>(vector)];
    entry = presence == GatePresence::present ? entry | present : entry & ~present;
}

void shut_down() {
    load_interrupt_table({0, 0});
    asm volatile("ud2");
    // Only a machine that has no shutdown comes here.
    load_interrupt_table({sizeof interrupt_table - 1, address_of(interrupt_table)});
}

} // namespace x86
