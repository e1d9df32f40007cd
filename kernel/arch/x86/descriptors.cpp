#include "arch/x86/descriptors.hpp"

#include "arch/x86/constants.h"
#include "arch/x86/descriptor_tables.hpp"
#include "arch/x86/interrupt_timer.hpp"

#include <cstddef>

extern "C" {
extern const std::uintptr_t fault_stubs[]; // one for each exception
extern const std::byte user_return[];
extern const std::byte timer_interrupt[], return_from_interrupt[];
}

namespace x86 {

namespace {

// In 64-bit mode nobody looks at base and limit.
constexpr std::uint64_t make_flat(std::uint32_t attributes) {
    return make_segment(0, 0xFFFFF,
                        attributes | segment::accessed | segment::present | segment::in_pages);
}

constexpr std::uint32_t kernel_code =
    segment::code | (REGISTER_SIZE == 8 ? segment::is_64_bit : segment::is_32_bit);
constexpr std::uint32_t kernel_data = segment::data | segment::writable | segment::is_32_bit;
constexpr std::uint64_t present_flag = std::uint64_t{segment::present} << 40; // of a descriptor

} // namespace

// The entry code loads it before anything in C++ runs. The limit ends it before selector_beyond;
// what has an address in it is filled in later.
extern "C" {
extern std::uint64_t descriptor_table[];
constinit std::uint64_t descriptor_table[protocol::selector_beyond / sizeof(std::uint64_t)] = {
    0,
    make_flat(kernel_code),
    make_flat(kernel_data),
    make_flat(kernel_code | segment::ring3),
    make_flat(kernel_data | segment::ring3),
    0, // the main task
    0, // the double fault's; in 64-bit mode the upper half of the main one's
    0, // the task that is too short
    make_flat(kernel_data) & ~present_flag,
    0, // the segment that programs describe
    make_flat(kernel_code) & ~present_flag,
    make_flat(kernel_data | segment::ring3) & ~present_flag,
};
static_assert(protocol::selector_absent == 8 * sizeof(std::uint64_t));
static_assert(protocol::selector_absent_code == 10 * sizeof(std::uint64_t));
}

constinit Gate interrupt_table[vector_count]{};

std::uint64_t& descriptor(std::uint32_t selector) {
    return descriptor_table[selector / sizeof(std::uint64_t)];
}

namespace {

// Its operand is a limit, then an address.
struct [[gnu::packed]] TableRegister {
    std::uint16_t limit;
    std::uintptr_t address;
};

void load_interrupt_table(TableRegister table) {
    asm volatile("lidt %0" : : "m"(table) : "memory");
}

// Ring 3 may use the gates of INT3 and INTO, as everywhere.
constexpr bool is_open_to_ring3(std::uint32_t vector) {
    return vector == static_cast<std::uint32_t>(protocol::exception::breakpoint) ||
           vector == static_cast<std::uint32_t>(protocol::exception::overflow);
}

Gate make_interrupt_gate(const std::byte* handler, std::uint32_t attributes = gate::present) {
    return make_gate(SELECTOR_KERNEL_CODE, address_of(handler), gate::interrupt | attributes);
}

void fill_interrupt_table() {
    for (std::uint32_t vector = 0; vector < 32; ++vector)
        interrupt_table[vector] = make_gate(SELECTOR_KERNEL_CODE, fault_stubs[vector],
                                            gate::interrupt | gate::present |
                                                (is_open_to_ring3(vector) ? gate::ring3 : 0));
    interrupt_table[timer_vector] = make_interrupt_gate(timer_interrupt);
    interrupt_table[spurious_vector] = make_interrupt_gate(return_from_interrupt);
    interrupt_table[protocol::vector_nothing] = make_interrupt_gate(return_from_interrupt);
    interrupt_table[protocol::vector_user_return] =
        make_interrupt_gate(user_return, gate::ring3 | gate::present);
    interrupt_table[protocol::vector_absent] = make_interrupt_gate(user_return, 0);
    fill_own_gates();
}

} // namespace

void install_descriptors() {
    fill_tasks();
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
