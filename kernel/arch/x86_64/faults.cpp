#include "arch/x86/faults.hpp"

#include "arch/x86/interruptions.hpp"
#include "arch/x86/saved_registers.hpp"

namespace {

// What the stubs have pushed, from the last to the first, below what the processor has pushed.
struct FaultFrame {
    std::uint64_t cr2;
    std::uint64_t r11, r10, r9, r8, edi, esi, ebp, ebx, edx, ecx, eax; // RDI and so on
    std::uint64_t vector;
    std::uint64_t error_code;
    std::uint64_t eip, cs, eflags;
    std::uint64_t esp, ss; // always, in 64-bit mode
};

} // namespace

extern "C" {
void handle_fault(FaultFrame& frame);
}

namespace x86 {

namespace {

void handle(FaultFrame& frame) {
    if (handle_interruption(frame.vector, interrupted_computation(frame)))
        return;
    report_fault(fault_record({.vector = static_cast<protocol::exception>(frame.vector),
                               .error_code = frame.error_code,
                               .cr2 = frame.cr2,
                               .esp = frame.esp},
                              frame));
    frame.eip = privilege_of(frame) != 0 ? address_for_user(user_attempt_over)
                                         : reinterpret_cast<std::uint64_t>(attempt_over);
    frame.eflags = EFLAGS_CLEAR;
}

} // namespace

} // namespace x86

void handle_fault(FaultFrame& frame) {
    x86::handle(frame);
}
