#include "arch/x86/descriptors.hpp"

#include "arch/x86/interrupt_timer.hpp"
#include "constants.h"

#include <cstddef>

extern "C" {
extern const std::uint64_t fault_stubs[]; // one for each exception
extern const std::byte user_return[];
extern const std::byte timer_interrupt[], return_from_interrupt[];
extern const std::byte ring3_fault_stack_end[], double_fault_stack_end[];
extern const std::byte page_fault_stack_end[], nmi_stack_end[];
}

namespace x86 {

namespace {

// Bits 40 to 47 and 52 to 55 of a segment descriptor (SDM vol. 3, 3.4.5 and 8.2.3).
namespace segment {
constexpr std::uint32_t accessed = 1;
constexpr std::uint32_t writable = 2;
constexpr std::uint32_t code = 0x1A;
constexpr std::uint32_t data = 0x10;
constexpr std::uint32_t available_task = 0x09;
constexpr std::uint32_t ring3 = 3 << 5;
constexpr std::uint32_t present = 1 << 7;
constexpr std::uint32_t is_64_bit = 1 << 13;
constexpr std::uint32_t is_32_bit = 1 << 14;
constexpr std::uint32_t in_pages = 1 << 15;
} // namespace segment

constexpr std::uint64_t present_flag = std::uint64_t{segment::present} << 40; // of a descriptor

// Bits 40 to 47 of a gate (SDM vol. 3, 6.14.1). There are no task gates in long mode.
namespace gate {
constexpr std::uint32_t task = 0x05;
constexpr std::uint32_t interrupt = 0x0E;
constexpr std::uint32_t ring3 = 3 << 5;
constexpr std::uint32_t present = 1 << 7;
} // namespace gate

// A flat segment: in 64-bit mode nobody looks at base and limit.
constexpr std::uint64_t make_flat(std::uint32_t attributes) {
    const std::uint32_t size =
        (attributes & segment::code) == segment::code ? segment::is_64_bit : segment::is_32_bit;
    return 0x000F'0000'0000'FFFF | std::uint64_t{attributes | segment::accessed | segment::present |
                                                 size | segment::in_pages}
                                       << 40;
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
    0, // the task
    0, // its upper half
    0,
    make_flat(segment::data | segment::writable) & ~present_flag,
    0,
    make_flat(segment::code) & ~present_flag,
    make_flat(segment::data | segment::writable | segment::ring3) & ~present_flag,
};
static_assert(protocol::selector_absent == 8 * sizeof(std::uint64_t));
static_assert(protocol::selector_absent_code == 10 * sizeof(std::uint64_t));
}

namespace {

template <typename T> std::uint64_t address_of(const T* object) {
    return reinterpret_cast<std::uint64_t>(object);
}

// The task has one task state segment, for its stacks (SDM vol. 3, 8.7).
struct [[gnu::packed]] TaskState {
    std::uint32_t reserved_0;
    std::uint64_t rsp[3];
    std::uint64_t reserved_1;
    std::uint64_t interrupt_stacks[7]; // number 1 is the first
    std::uint64_t reserved_2;
    std::uint16_t reserved_3;
    std::uint16_t permission_map;
};
static_assert(sizeof(TaskState) == 104);

constinit TaskState task_state{};

// The exceptions that may come while the stack is no good, or at any time, have their own.
enum InterruptStack : std::uint32_t { none = 0, double_fault = 1, page_fault = 2, nmi = 3 };

struct Gate {
    std::uint64_t low;
    std::uint64_t high;
};

constexpr Gate make_gate(std::uint64_t offset, std::uint32_t attributes,
                         InterruptStack stack = none) {
    return {(offset & 0xFFFF) | std::uint64_t{SELECTOR_KERNEL_CODE} << 16 |
                std::uint64_t{stack} << 32 | std::uint64_t{attributes} << 40 |
                (offset >> 16 & 0xFFFF) << 48,
            offset >> 32};
}

constexpr std::size_t vector_count = protocol::vector_absent + 1;
constinit Gate interrupt_table[vector_count]{};

// Its operand is a limit, then an address.
struct [[gnu::packed]] TableRegister {
    std::uint16_t limit;
    std::uint64_t address;
};

void load_interrupt_table(TableRegister table) {
    asm volatile("lidt %0" : : "m"(table) : "memory");
}

void fill_task() {
    task_state.rsp[0] = address_of(ring3_fault_stack_end);
    task_state.interrupt_stacks[double_fault - 1] = address_of(double_fault_stack_end);
    task_state.interrupt_stacks[page_fault - 1] = address_of(page_fault_stack_end);
    task_state.interrupt_stacks[nmi - 1] = address_of(nmi_stack_end);
    task_state.permission_map = sizeof(TaskState);
    const std::uint64_t base = address_of(&task_state);
    std::uint64_t* const descriptor = &descriptor_table[SELECTOR_MAIN_TASK / sizeof(std::uint64_t)];
    descriptor[0] = (sizeof(TaskState) - 1) | (base & 0xFFFFFF) << 16 |
                    std::uint64_t{segment::available_task | segment::present} << 40 |
                    (base >> 24 & 0xFF) << 56;
    descriptor[1] = base >> 32;
}

// Ring 3 may use the gates of INT3 and INTO, as everywhere.
constexpr bool is_open_to_ring3(std::uint32_t vector) {
    return vector == static_cast<std::uint32_t>(protocol::exception::breakpoint) ||
           vector == static_cast<std::uint32_t>(protocol::exception::overflow);
}

constexpr InterruptStack stack_of(std::uint32_t vector) {
    switch (static_cast<protocol::exception>(vector)) {
    case protocol::exception::double_fault:
        return double_fault;
    case protocol::exception::page_fault:
        return page_fault;
    case protocol::exception::nmi:
        return nmi;
    default:
        return none;
    }
}

void fill_interrupt_table() {
    for (std::uint32_t vector = 0; vector < 32; ++vector)
        interrupt_table[vector] = make_gate(fault_stubs[vector],
                                            gate::interrupt | gate::present |
                                                (is_open_to_ring3(vector) ? gate::ring3 : 0),
                                            stack_of(vector));
    interrupt_table[timer_vector] =
        make_gate(address_of(timer_interrupt), gate::interrupt | gate::present);
    interrupt_table[spurious_vector] =
        make_gate(address_of(return_from_interrupt), gate::interrupt | gate::present);
    interrupt_table[protocol::vector_nothing] =
        make_gate(address_of(return_from_interrupt), gate::interrupt | gate::present);
    interrupt_table[protocol::vector_user_return] =
        make_gate(address_of(user_return), gate::interrupt | gate::ring3 | gate::present);
    // Of a type that long mode does not know (SDM vol. 3, 6.15, "Interrupt 13").
    interrupt_table[protocol::vector_short_task] = make_gate(0, gate::task | gate::present);
    interrupt_table[protocol::vector_absent] = make_gate(address_of(user_return), gate::interrupt);
}

} // namespace

void install_descriptors() {
    fill_task();
    fill_interrupt_table();
    load_interrupt_table({sizeof interrupt_table - 1, address_of(interrupt_table)});
    asm volatile("ltr %w0" : : "r"(SELECTOR_MAIN_TASK) : "memory");
}

void set_gate_presence(protocol::exception vector, GatePresence presence) {
    constexpr std::uint64_t present = std::uint64_t{gate::present} << 40;
    std::uint64_t& entry = interrupt_table[static_cast<std::uint32_t>(vector)].low;
    entry = presence == GatePresence::present ? entry | present : entry & ~present;
}

void shut_down() {
    load_interrupt_table({0, 0});
    asm volatile("ud2");
    // Only a machine that has no shutdown comes here.
    load_interrupt_table({sizeof interrupt_table - 1, address_of(interrupt_table)});
}

} // namespace x86
