#include "arch/x86/faults.hpp"

#include "arch/i686/task_state.hpp"
#include "arch/x86/control_registers.hpp"
#include "arch/x86/interruptions.hpp"
#include "arch/x86/saved_registers.hpp"

namespace {

// What the stubs have pushed, from the last to the first, below what the processor has pushed.
struct FaultFrame {
    std::uint32_t cr2;
    std::uint32_t edi, esi, ebp, esp_of_stub, ebx, edx, ecx, eax;
    std::uint32_t vector;
    std::uint32_t error_code;
    std::uint32_t eip, cs, eflags;
    std::uint32_t esp, ss; // only if the privilege level has changed
};

} // namespace

extern "C" {
void handle_fault(FaultFrame& frame);
void handle_double_fault(std::uint32_t error_code);
}

namespace x86 {

namespace {

void handle(FaultFrame& frame) {
    if (handle_interruption(frame.vector, interrupted_computation(frame)))
        return;
    const bool from_user = privilege_of(frame) != 0;
    // Without a change of privilege ESP is not pushed: it is where the frame begins.
    const std::uint32_t esp = from_user ? frame.esp : reinterpret_cast<std::uint32_t>(&frame.esp);
    report_fault(fault_record({.vector = static_cast<protocol::exception>(frame.vector),
                               .error_code = frame.error_code,
                               .cr2 = frame.cr2,
                               .esp = esp},
                              frame));
    frame.eip = from_user ? address_for_user(user_attempt_over)
                          : reinterpret_cast<std::uint32_t>(attempt_over);
    frame.eflags = EFLAGS_CLEAR;
}

// Runs in the double fault's task, which IRET leaves for the main one.
void handle_in_task(std::uint32_t error_code) {
    report_fault(fault_record({.vector = protocol::exception::double_fault,
                               .error_code = error_code,
                               .cr2 = read_cr2(),
                               .esp = main_task.esp},
                              main_task));
    main_task.eip = reinterpret_cast<std::uint32_t>(attempt_over);
    main_task.eflags = EFLAGS_CLEAR;
    main_task.cs = SELECTOR_KERNEL_CODE;
    // The task switch loads them all, and must not fault. `attempt_over` brings its own ESP.
    main_task.ss = main_task.ds = main_task.es = SELECTOR_KERNEL_DATA;
    main_task.fs = main_task.gs = SELECTOR_KERNEL_DATA;
}

} // namespace

} // namespace x86

void handle_fault(FaultFrame& frame) {
    x86::handle(frame);
}

void handle_double_fault(std::uint32_t error_code) {
    x86::handle_in_task(error_code);
}
