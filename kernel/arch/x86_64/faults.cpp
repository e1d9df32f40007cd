#include "arch/x86/faults.hpp"

#include "arch/x86/control_registers.hpp"
#include "arch/x86/interruptions.hpp"

namespace {

// What the stubs have pushed, from the last to the first, below what the processor has pushed.
struct FaultFrame {
    std::uint64_t cr2;
    std::uint64_t r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    std::uint64_t vector;
    std::uint64_t error_code;
    std::uint64_t rip, cs, rflags;
    std::uint64_t rsp, ss; // always, in 64-bit mode
};

} // namespace

extern "C" {
void handle_fault(FaultFrame& frame);
}

namespace x86 {

namespace {

constexpr std::uint32_t low(std::uint64_t value) {
    return static_cast<std::uint32_t>(value);
}

void handle(FaultFrame& frame) {
    if (handle_interruption(frame.vector, {.eip = frame.rip,
                                           .registers = {.eax = low(frame.rax),
                                                         .ecx = low(frame.rcx),
                                                         .edx = low(frame.rdx),
                                                         .ebx = low(frame.rbx),
                                                         .ebp = low(frame.rbp),
                                                         .esi = low(frame.rsi),
                                                         .edi = low(frame.rdi)},
                                           .eflags = low(frame.rflags)}))
        return;
    const auto cpl = static_cast<std::uint8_t>(frame.cs & requested_privilege);
    report_fault({.vector = static_cast<protocol::exception>(frame.vector),
                  .error_code = low(frame.error_code),
                  .cr2 = frame.cr2,
                  .eip = frame.rip,
                  .esp = frame.rsp,
                  .cpl = cpl,
                  .eax = frame.rax,
                  .ecx = frame.rcx,
                  .edx = frame.rdx,
                  .ebx = frame.rbx,
                  .ebp = frame.rbp,
                  .esi = frame.rsi,
                  .edi = frame.rdi,
                  .eflags = low(frame.rflags),
                  .cs = low(frame.cs & 0xFFFF),
                  .cr0 = low(read_cr0()),
                  .cr3 = read_cr3(),
                  .cr4 = low(read_cr4())});
    frame.rip = cpl != 0 ? address_for_user(user_attempt_over)
                         : reinterpret_cast<std::uint64_t>(attempt_over);
    frame.rflags = EFLAGS_CLEAR;
}

} // namespace

} // namespace x86

void handle_fault(FaultFrame& frame) {
    x86::handle(frame);
}
