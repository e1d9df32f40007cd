#include "arch/x86/descriptors.hpp"

#include "arch/x86/descriptor_tables.hpp"

#include <cstddef>

extern "C" {
extern const std::byte ring3_fault_stack_end[], double_fault_stack_end[];
extern const std::byte page_fault_stack_end[], nmi_stack_end[];
}

namespace x86 {

namespace {

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
enum class InterruptStack : std::uint32_t { double_fault = 1, page_fault = 2, nmi = 3 };

// The stack's number is in bits 32 to 34 of a gate (SDM vol. 3, 6.14.1).
void give_stack(protocol::exception vector, InterruptStack number, const std::byte* end) {
    const auto stack = static_cast<std::uint32_t>(number);
    task_state.interrupt_stacks[stack - 1] = address_of(end);
    interrupt_table[static_cast<std::uint32_t>(vector)].low |= std::uint64_t{stack} << 32;
}

} // namespace

void fill_tasks() {
    task_state.rsp[0] = address_of(ring3_fault_stack_end);
    task_state.permission_map = sizeof(TaskState);
    const std::uint64_t base = address_of(&task_state);
    std::uint64_t* const halves = &descriptor(SELECTOR_MAIN_TASK);
    halves[0] = make_segment(static_cast<std::uint32_t>(base), sizeof(TaskState) - 1,
                             segment::available_task | segment::present);
    halves[1] = base >> 32;
}

void fill_own_gates() {
    give_stack(protocol::exception::double_fault, InterruptStack::double_fault,
               double_fault_stack_end);
    give_stack(protocol::exception::page_fault, InterruptStack::page_fault, page_fault_stack_end);
    give_stack(protocol::exception::nmi, InterruptStack::nmi, nmi_stack_end);
    // Of a type that long mode does not know (SDM vol. 3, 6.15, "Interrupt 13").
    interrupt_table[protocol::vector_short_task] =
        make_gate(SELECTOR_KERNEL_CODE, 0, gate::task | gate::present);
}

} // namespace x86
