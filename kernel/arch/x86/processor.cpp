#include "arch/x86/processor.hpp"

#include "arch/x86/access_attempts.hpp"
#include "arch/x86/attempts.hpp"
#include "arch/x86/control_registers.hpp"
#include "arch/x86/descriptors.hpp"
#include "arch/x86/faults.hpp"
#include "arch/x86/returns.hpp"
#include "core/features.hpp"

#include <bit>

namespace x86 {

namespace {

using core::Access;
using core::Attempt;
using protocol::access_kind;
using protocol::raise_cause;

// What has been checked fits into a register.
constexpr std::uintptr_t in_register(core::LinearAddress address) {
    return static_cast<std::uintptr_t>(address);
}

// Of `kernel_accesses` or `user_accesses`.
const std::byte* code_of(Access access, const std::byte* const accesses[]) {
    constexpr std::uint32_t base_registers = 3, kinds = 2;
    const auto size = static_cast<std::uint32_t>(std::countr_zero(access.size));
    const auto through = static_cast<std::uint32_t>(access.through);
    const auto kind = static_cast<std::uint32_t>(access.kind);
    return accesses[(size * base_registers + through) * kinds + kind];
}

Attempt run(const AttemptStart& start) {
    const bool faulted = attempt(start).faulted;
    return {faulted ? protocol::attempt::faulted : protocol::attempt::done, 0};
}

// What `code` finds in EAX, EBX and EBP.
struct UserOperands {
    std::uintptr_t eax = 0, ebx = 0, ebp = 0;
};

AttemptStart in_ring3(const std::byte* code, std::uintptr_t eflags, UserOperands operands) {
    return {.eax = operands.eax,
            .edx = address_for_user(code),
            .ebx = operands.ebx,
            .ebp = operands.ebp,
            .esi = eflags,
            .esp = probe_stack_top(),
            .eip = attempt_in_ring3};
}

Attempt raise_in_ring0(const std::byte* code, std::uint32_t selector = 0) {
    return run({.ecx = selector, .esp = probe_stack_top(), .eip = code});
}

Attempt raise_in_ring3(const std::byte* code) {
    return run(in_ring3(code, EFLAGS_CLEAR, {}));
}

Attempt raise_device_not_available() {
    write_cr0(read_cr0() | cr0::task_switched); // the attempt's end clears it
    return raise_in_ring0(fault_at_raise_device_not_available);
}

Attempt raise_double_fault() {
    set_gate_presence(protocol::exception::divide_error, GatePresence::absent);
    const Attempt result = raise_in_ring0(fault_at_raise_double_fault);
    set_gate_presence(protocol::exception::divide_error, GatePresence::present);
    return result;
}

Attempt raise_reserved_control_bit() {
    const std::uintptr_t before = read_cr4();
    const Attempt result = run({.eax = before | cr4::reserved,
                                .esp = probe_stack_top(),
                                .eip = fault_at_raise_reserved_control_bit});
    // A processor that did not object may have kept the bit.
    if (read_cr4() != before)
        write_cr4(before);
    return result;
}

Attempt raise_alignment_check() {
    write_cr0(read_cr0() | cr0::alignment_mask);
    const Attempt result =
        run(in_ring3(fault_at_user_alignment_check, EFLAGS_CLEAR | EFLAGS_ALIGNMENT_CHECK,
                     {.ebx = user_stack_top - 7}));
    write_cr0(read_cr0() & ~cr0::alignment_mask);
    return result;
}

constexpr std::uintptr_t with(std::uintptr_t value, std::uint32_t bit, bool is_set) {
    return is_set ? value | bit : value & ~std::uintptr_t{bit};
}

AttemptStart loading(const std::byte* code, std::uintptr_t value) {
    return {.eax = value,
            .ecx = efer::model_specific_register,
            .ebx = read_cr3(),
            .esp = probe_stack_top(),
            .eip = code};
}

} // namespace

void Processor::listen(core::FaultListener& listener) {
    listen_to_faults(listener);
}

std::uint32_t Processor::features() const {
    constexpr std::uint32_t extended = 0x80000000;
    const std::uint32_t last_basic = identify(0).eax;
    const std::uint32_t last_extended = identify(extended).eax;
    std::uint32_t result = 0;
    const auto add = [&result](std::uint32_t word, unsigned bit, core::Feature feature) {
        if ((word >> bit & 1) != 0)
            result |= static_cast<std::uint32_t>(feature);
    };
    if (last_basic >= 1) {
        const std::uint32_t edx = identify(1).edx;
        add(edx, 3, core::Feature::page_size_extensions);
        add(edx, 6, core::Feature::physical_address_extension);
    }
    // A processor that has no such leaves answers with something else.
    if (last_extended > extended && last_extended < extended + 0x10000) {
        const std::uint32_t edx = identify(extended + 1).edx;
        add(edx, 20, core::Feature::no_execute);
        add(edx, 26, core::Feature::huge_pages);
    }
    if (last_basic >= 7) {
        const std::uint32_t ebx = identify(7).ebx;
        add(ebx, 7, core::Feature::supervisor_execution);
        add(ebx, 20, core::Feature::supervisor_access);
    }
    return result;
}

core::ControlRegisters Processor::control_registers() const {
    const bool has_efer = core::has(features(), core::Feature::no_execute);
    return {.cr0 = static_cast<std::uint32_t>(read_cr0()),
            .cr2 = read_cr2(),
            .cr3 = read_cr3(),
            .cr4 = static_cast<std::uint32_t>(read_cr4()),
            .efer = has_efer ? read_efer() : 0};
}

void Processor::invalidate_page(core::LinearAddress address) {
    asm volatile("invlpg (%0)" : : "r"(in_register(address)) : "memory");
}

Attempt Processor::access(core::LinearAddress address, Access access, std::uint32_t ring,
                          bool alignment_check) {
    const std::uintptr_t eflags = with(EFLAGS_CLEAR, EFLAGS_ALIGNMENT_CHECK, alignment_check);
    const std::uintptr_t value = value_to_write(access);
    const std::uintptr_t esp = ring != 0 ? user_stack_top : probe_stack_top();
    const std::uintptr_t ebp = in_register(address);
    const bool is_index = access.through == protocol::base_register::stack;
    const std::uintptr_t ebx = is_index ? ebp - esp : ebp;
    const bool is_call = access.kind == access_kind::execute;
    if (ring != 0) {
        const std::byte* code = is_call ? fault_at_user_call : code_of(access, user_accesses);
        return run_access(in_ring3(code, eflags, {.eax = value, .ebx = ebx, .ebp = ebp}),
                          access.kind);
    }
    return run_access({.eax = value,
                       .ebx = ebx,
                       .ebp = ebp,
                       .eflags = eflags,
                       .esp = esp,
                       .eip = is_call ? fault_at_call : code_of(access, kernel_accesses)},
                      access.kind);
}

Attempt Processor::raise(raise_cause cause) {
    switch (cause) {
    case raise_cause::divide_error:
        return raise_in_ring0(fault_at_raise_divide_error);
    case raise_cause::debug:
        return raise_in_ring0(attempt_debug);
    case raise_cause::breakpoint:
        return raise_in_ring0(attempt_breakpoint);
    case raise_cause::overflow:
        return run({.eflags = EFLAGS_CLEAR | EFLAGS_OVERFLOW,
                    .esp = probe_stack_top(),
                    .eip = attempt_overflow});
    case raise_cause::bound_range:
        return raise_in_ring0(fault_at_raise_bound_range);
    case raise_cause::invalid_opcode:
        return raise_in_ring0(fault_at_raise_invalid_opcode);
    case raise_cause::device_not_available:
        return raise_device_not_available();
    case raise_cause::double_fault:
        return raise_double_fault();
    case raise_cause::short_task:
        return raise_in_ring0(fault_at_raise_short_task);
    case raise_cause::absent_gate:
        return raise_in_ring0(fault_at_raise_absent_gate);
    case raise_cause::gate_beyond_limit:
        return raise_in_ring0(fault_at_raise_gate_beyond_limit);
    case raise_cause::absent_segment:
        return raise_in_ring0(fault_at_raise_absent_segment, protocol::selector_absent);
    case raise_cause::absent_stack:
        return raise_in_ring0(fault_at_raise_absent_stack, protocol::selector_absent);
    case raise_cause::selector_beyond_limit:
        return raise_in_ring0(fault_at_raise_selector_beyond_limit, protocol::selector_beyond);
    case raise_cause::reserved_control_bit:
        return raise_reserved_control_bit();
    case raise_cause::privileged_instruction:
        return raise_in_ring3(fault_at_user_privileged_instruction);
    case raise_cause::privileged_gate:
        return raise_in_ring3(fault_at_user_privileged_gate);
    case raise_cause::alignment_check:
        return raise_alignment_check();
    case raise_cause::return_inward:
        return run(in_ring3(
            fault_at_user_return_frame, EFLAGS_CLEAR,
            {.eax = probe_stack_top(), .ebx = reinterpret_cast<std::uintptr_t>(attempt_over)}));
    default:
        return run(return_with_defect(cause));
    }
}

Attempt Processor::interrupt(std::uint8_t vector) {
    return raise_in_ring0(interrupt_attempts[vector]);
}

Attempt Processor::reload() {
    return run(loading(fault_at_reload, 0));
}

Attempt Processor::write_control(protocol::control_bit bit, bool value) {
    switch (bit) {
    case protocol::control_bit::write_protect:
        return run(loading(fault_at_control_cr0, with(read_cr0(), cr0::write_protect, value)));
    case protocol::control_bit::page_size_extensions:
        return run(
            loading(fault_at_control_cr4, with(read_cr4(), cr4::page_size_extensions, value)));
    case protocol::control_bit::no_execute:
        return run(loading(fault_at_control_efer, with(read_efer(), efer::no_execute, value)));
    case protocol::control_bit::supervisor_execution:
        return run(
            loading(fault_at_control_cr4, with(read_cr4(), cr4::supervisor_execution, value)));
    case protocol::control_bit::supervisor_access:
        return run(loading(fault_at_control_cr4, with(read_cr4(), cr4::supervisor_access, value)));
    }
    return {protocol::attempt::done, 0};
}

Attempt Processor::overflow(core::LinearAddress stack, protocol::overflow_kind how,
                            std::uint32_t size) {
    using protocol::overflow_kind;
    const std::uintptr_t bottom = in_register(stack);
    const std::uintptr_t top = bottom + protocol::frame_size;
    constexpr std::uint32_t words = protocol::task_stack_size / 4;
    switch (how) {
    case overflow_kind::push:
        return run({.eax = frame_end, .esp = top, .eip = fault_at_overflow_push});
    case overflow_kind::call:
        return run({.esp = top, .eip = fault_at_overflow_call});
    case overflow_kind::recursion:
        return run(
            {.eax = frame_end, .ecx = size, .esp = top, .eip = fault_at_overflow_recursion_call});
    case overflow_kind::array:
        return run({.eax = frame_end, .ecx = size, .esp = top, .eip = attempt_overflow_array});
    case overflow_kind::interrupt:
        return run({.esp = bottom, .eip = fault_at_overflow_interrupt});
    case overflow_kind::exception:
        return run({.esp = bottom, .eip = fault_at_overflow_exception});
    case overflow_kind::string:
        return run({.eax = frame_end,
                    .ecx = words,
                    .edi = top - 4,
                    .eflags = EFLAGS_CLEAR | EFLAGS_DIRECTION,
                    .esp = probe_stack_top(),
                    .eip = fault_at_overflow_string});
    case overflow_kind::straddle:
        return run({.eax = frame_end,
                    .ebx = bottom - 2,
                    .esp = probe_stack_top(),
                    .eip = fault_at_overflow_straddle});
    }
    return {protocol::attempt::done, 0};
}

void Processor::shut_down() {
    x86::shut_down();
}

} // namespace x86
