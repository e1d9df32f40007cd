#include "arch/x86/task_processor.hpp"

#include "arch/x86/access_attempts.hpp"
#include "arch/x86/interrupt_timer.hpp"
#include "arch/x86/interruptions.hpp"
#include "arch/x86/task_switch.hpp"

#include <cstddef>
#include <new>

namespace {

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
void switch_filled(x86::TaskSwitch& task_switch);
[[noreturn]] void enter_task(core::TaskEntry* entry);

void begin_computation(ComputationRegisters& registers, const std::byte* code,
                       std::uint32_t eflags);
extern const std::byte compute_arithmetic[], compute_string[], compute_stack_segment[];
extern const std::byte compute_flags[], compute_interrupt[];
extern const std::byte compute_scratch[];
void spin_until(const volatile std::uint32_t& clock, std::uint32_t tick);
}

namespace x86 {

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

void TaskProcessor::prepare(core::SavedTask& task, core::LinearAddress stack_end,
                            core::TaskEntry& entry) {
    // It fits into a register.
    auto* const end = reinterpret_cast<TaskStart*>(static_cast<std::uintptr_t>(stack_end));
    task.stack_pointer = reinterpret_cast<std::uintptr_t>(new (end - 1) TaskStart(entry));
}

std::uint32_t TaskProcessor::switch_tasks(core::SavedTask& from, const core::SavedTask& to,
                                          std::uint32_t number) {
    TaskSwitch before{};
    before.save = &from.stack_pointer;
    before.load = &to.stack_pointer;
    before.ebx = widened(core::register_pattern(number, 0));
    before.esi = widened(core::register_pattern(number, 1));
    before.edi = widened(core::register_pattern(number, 2));
    before.ebp = widened(core::register_pattern(number, 3));
    before.eflags = eflags_pattern(number);
    before.fs = fs_pattern(number);
    before.gs = gs_pattern(number);
    before.others.fill(number);
    TaskSwitch after = before;
    switch_filled(after);
    // Bits as in event::resumed.damaged.
    const bool damaged[] = {after.ebx != before.ebx,
                            after.esi != before.esi,
                            after.edi != before.edi,
                            after.ebp != before.ebp,
                            ((after.eflags ^ before.eflags) & core::status_flags) != 0,
                            after.fs != before.fs,
                            after.gs != before.gs,
                            !after.others.match(before.others)};
    std::uint32_t bits = 0;
    std::uint32_t bit = 1;
    for (const bool is_damaged : damaged) {
        bits |= is_damaged ? bit : 0;
        bit <<= 1;
    }
    return bits;
}

core::LinearAddress TaskProcessor::stack_pointer() const {
    // Of this function, which is on the stack that is asked for.
    return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
}

ComputationRegisters TaskProcessor::compute(protocol::compute_kind kind,
                                            const ComputationRegisters& start,
                                            core::Interruption interruption) {
    ComputationRegisters registers = start;
    begin_computation(registers, code_of(kind), eflags_of(interruption));
    return registers;
}

std::uint32_t TaskProcessor::scratch_address() const {
    return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(compute_scratch));
}

void TaskProcessor::start_timer() {
    start_interrupt_timer();
}

void TaskProcessor::stop_timer() {
    stop_interrupt_timer();
}

void TaskProcessor::spin(const volatile std::uint32_t& clock, std::uint32_t tick) {
    spin_until(clock, tick);
}

void TaskProcessor::halt() {
    // STI lets interrupts in after the instruction that follows it: none is lost before HLT.
    asm volatile("sti; hlt; cli" : : : "memory");
}

core::Attempt TaskProcessor::overflow_own_stack() {
    const bool faulted =
        attempt({.eax = frame_end, .esp = probe_stack_top(), .eip = attempt_overflow_own}).faulted;
    return {faulted ? protocol::attempt::faulted : protocol::attempt::done, 0};
}

} // namespace x86

void enter_task(core::TaskEntry* entry) {
    entry->enter();
    __builtin_trap(); // nobody switches to a task that has come to its end
}
