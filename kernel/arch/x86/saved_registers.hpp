// What is told of registers, wherever an exception has saved them: in its handler's frame, or in
// the task that it left. In 64-bit mode they are RAX and so on.
#pragma once

#include "arch/x86/control_registers.hpp"
#include "arch/x86/faults.hpp"
#include "core/processor.hpp"
#include "core/task_processor.hpp"

#include <cstdint>

namespace x86 {

template <typename Saved> std::uint8_t privilege_of(const Saved& saved) {
    return static_cast<std::uint8_t>(saved.cs & requested_privilege);
}

// Computations know no more than the lower halves.
template <typename Saved> core::InterruptedComputation interrupted_computation(const Saved& saved) {
    const auto low = [](std::uintptr_t value) { return static_cast<std::uint32_t>(value); };
    return {.eip = saved.eip,
            .registers = {.eax = low(saved.eax),
                          .ecx = low(saved.ecx),
                          .edx = low(saved.edx),
                          .ebx = low(saved.ebx),
                          .ebp = low(saved.ebp),
                          .esi = low(saved.esi),
                          .edi = low(saved.edi)},
            .eflags = low(saved.eflags)};
}

// What is not the same for every handler.
struct Fault {
    protocol::exception vector;
    std::uintptr_t error_code, cr2, esp;
};

template <typename Saved> core::FaultRecord fault_record(const Fault& fault, const Saved& saved) {
    return {.vector = fault.vector,
            .error_code = static_cast<std::uint32_t>(fault.error_code),
            .cr2 = fault.cr2,
            .eip = saved.eip,
            .esp = fault.esp,
            .cpl = privilege_of(saved),
            .eax = saved.eax,
            .ecx = saved.ecx,
            .edx = saved.edx,
            .ebx = saved.ebx,
            .ebp = saved.ebp,
            .esi = saved.esi,
            .edi = saved.edi,
            .eflags = static_cast<std::uint32_t>(saved.eflags),
            .cs = static_cast<std::uint32_t>(saved.cs & 0xFFFF),
            .cr0 = static_cast<std::uint32_t>(read_cr0()),
            .cr3 = read_cr3(),
            .cr4 = static_cast<std::uint32_t>(read_cr4())};
}

} // namespace x86
