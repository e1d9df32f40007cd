#include "arch/i686/task_processor.hpp"

#include "arch/i686/attempts.hpp"
#include "arch/i686/faults.hpp"
#include "arch/x86/interrupt_timer.hpp"

#include <cstddef>

namespace {

// What a switch saves and loads, and the registers around it: a pattern before, and what is there
// when the task runs again.
struct TaskSwitch {
    std::uintptr_t* save;
    const std::uintptr_t* load;
    std::uint32_t ebx, esi, edi, ebp, eflags, fs, gs;
};
static_assert(offsetof(TaskSwitch, save) == SWITCH_SAVE);
static_assert(offsetof(TaskSwitch, load) == SWITCH_LOAD);
static_assert(offsetof(TaskSwitch, ebx) == SWITCH_EBX);
static_assert(offsetof(TaskSwitch, esi) == SWITCH_ESI);
static_assert(offsetof(TaskSwitch, edi) == SWITCH_EDI);
static_assert(offsetof(TaskSwitch, ebp) == SWITCH_EBP);
static_assert(offsetof(TaskSwitch, eflags) == SWITCH_EFLAGS);
static_assert(offsetof(TaskSwitch, fs) == SWITCH_FS);
static_assert(offsetof(TaskSwitch, gs) == SWITCH_GS);

// What a task that has never run has on its stack, as if it had been left.
struct TaskStart {
    std::uint32_t gs, fs;
    std::uint32_t edi, esi, ebx, ebp, eflags;
    const std::byte* eip;
    core::TaskEntry* entry; // the argument of `enter_task`
};

using core::ComputationRegisters;
static_assert(offsetof(ComputationRegisters, eax) == COMPUTATION_EAX);
static_assert(offsetof(ComputationRegisters, ecx) == COMPUTATION_ECX);
static_assert(offsetof(ComputationRegisters, edx) == COMPUTATION_EDX);
static_assert(offsetof(ComputationRegisters, ebx) == COMPUTATION_EBX);
static_assert(offsetof(ComputationRegisters, ebp) == COMPUTATION_EBP);
static_assert(offsetof(ComputationRegisters, esi) == COMPUTATION_ESI);
static_assert(offsetof(ComputationRegisters, edi) == COMPUTATION_EDI);

} // namespace

extern "C" {
void switch_filled(TaskSwitch& task_switch);
extern const std::byte start_task[];
[[noreturn]] void enter_task(core::TaskEntry* entry);

void begin_computation(ComputationRegisters& registers, const std::byte* code,
                       std::uint32_t eflags);
extern const std::byte compute_arithmetic[], compute_string[], compute_stack_segment[];
extern const std::byte compute_flags[], compute_interrupt[];
extern const std::byte compute_scratch[];
void spin_until(const volatile std::uint32_t& clock, std::uint32_t tick);
}

namespace i686 {

namespace {

// Any segment selectors that can be loaded, and which those of few other tasks are: user data for
// FS, user code for GS, with some requested privilege level.
std::uint32_t fs_pattern(std::uint32_t number) {
    return (SELECTOR_USER_DATA & ~3u) | (number & 3);
}
std::uint32_t gs_pattern(std::uint32_t number) {
    return (SELECTOR_USER_CODE & ~3u) | (number >> 2 & 3);
}

std::uint32_t eflags_pattern(std::uint32_t number) {
    return EFLAGS_CLEAR | (core::register_pattern(number, 4) & core::status_flags);
}

std::uint32_t eflags_of(core::Interruption interruption) {
    switch (interruption) {
    case core::Interruption::none:
        return EFLAGS_CLEAR;
    case core::Interruption::step:
        return EFLAGS_CLEAR | EFLAGS_TRAP;
    case core::Interruption::timer:
        return EFLAGS_CLEAR | EFLAGS_INTERRUPT;
    }
    return EFLAGS_CLEAR;
}

const std::byte* code_of(protocol::compute_kind kind) {
    switch (kind) {
    case protocol::compute_kind::arithmetic:
        return compute_arithmetic;
    case protocol::compute_kind::string:
        return compute_string;
    case protocol::compute_kind::stack_segment:
        return compute_stack_segment;
    case protocol::compute_kind::flags:
        return compute_flags;
    case protocol::compute_kind::interrupt:
        return compute_interrupt;
    }
    return compute_arithmetic;
}

} // namespace

void TaskProcessor::listen(core::InterruptionListener& listener) {
    listen_to_interruptions(listener);
}

void TaskProcessor::prepare(core::SavedTask& task, std::uint32_t stack_end,
                            core::TaskEntry& entry) {
    auto* const start = reinterpret_cast<TaskStart*>(stack_end) - 1;
    *start = {.gs = SELECTOR_KERNEL_DATA,
              .fs = SELECTOR_KERNEL_DATA,
              .edi = 0,
              .esi = 0,
              .ebx = 0,
              .ebp = 0,
              .eflags = EFLAGS_CLEAR,
              .eip = start_task,
              .entry = &entry};
    task.stack_pointer = reinterpret_cast<std::uintptr_t>(start);
}

std::uint32_t TaskProcessor::switch_tasks(core::SavedTask& from, const core::SavedTask& to,
                                          std::uint32_t number) {
    const TaskSwitch before{.save = &from.stack_pointer,
                            .load = &to.stack_pointer,
                            .ebx = core::register_pattern(number, 0),
                            .esi = core::register_pattern(number, 1),
                            .edi = core::register_pattern(number, 2),
                            .ebp = core::register_pattern(number, 3),
                            .eflags = eflags_pattern(number),
                            .fs = fs_pattern(number),
                            .gs = gs_pattern(number)};
    TaskSwitch after = before;
    switch_filled(after);
    // Bits as in event::resumed.damaged.
    const bool damaged[] = {after.ebx != before.ebx,
                            after.esi != before.esi,
                            after.edi != before.edi,
                            after.ebp != before.ebp,
                            ((after.eflags ^ before.eflags) & core::status_flags) != 0,
                            after.fs != before.fs,
                            after.gs != before.gs};
    std::uint32_t bits = 0;
    std::uint32_t bit = 1;
    for (const bool is_damaged : damaged) {
        bits |= is_damaged ? bit : 0;
        bit <<= 1;
    }
    return bits;
}

std::uint32_t TaskProcessor::stack_pointer() const {
    std::uint32_t value;
    asm volatile("movl %%esp, %0" : "=r"(value));
    return value;
}

ComputationRegisters TaskProcessor::compute(protocol::compute_kind kind,
                                            const ComputationRegisters& start,
                                            core::Interruption interruption) {
    ComputationRegisters registers = start;
    begin_computation(registers, code_of(kind), eflags_of(interruption));
    return registers;
}

std::uint32_t TaskProcessor::scratch_address() const {
    return reinterpret_cast<std::uint32_t>(compute_scratch);
}

void TaskProcessor::start_timer() {
    x86::start_interrupt_timer();
}

void TaskProcessor::stop_timer() {
    x86::stop_interrupt_timer();
}

void TaskProcessor::spin(const volatile std::uint32_t& clock, std::uint32_t tick) {
    spin_until(clock, tick);
}

void TaskProcessor::halt() {
    // STI lets interrupts in after the instruction that follows it: none is lost before HLT.
    asm volatile("sti; hlt; cli" : : : "memory");
}

core::Attempt TaskProcessor::overflow_own_stack() {
    const bool faulted = attempt({.eax = arena_frame_end,
                                  .esp = reinterpret_cast<std::uint32_t>(probe_stack_end),
                                  .eip = attempt_overflow_own})
                             .faulted;
    return {faulted ? protocol::attempt::faulted : protocol::attempt::done, 0};
}

} // namespace i686

void enter_task(core::TaskEntry* entry) {
    entry->enter();
    __builtin_trap(); // nobody switches to a task that has come to its end
}
