#include "arch/x86/faults.hpp"

#include "arch/x86/control_registers.hpp"

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

void handle(FaultFrame& frame) {
    const auto vector = static_cast<protocol::exception>(frame.vector);
    const bool has_cr2 =
        vector == protocol::exception::page_fault || vector == protocol::exception::double_fault;
    const auto cpl = static_cast<std::uint8_t>(frame.cs & requested_privilege);
    report_fault({.vector = vector,
                  .error_code = static_cast<std::uint32_t>(frame.error_code),
                  .cr2 = has_cr2 ? frame.cr2 : 0,
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
                  .eflags = static_cast<std::uint32_t>(frame.rflags),
                  .cs = static_cast<std::uint32_t>(frame.cs & 0xFFFF),
                  .cr0 = static_cast<std::uint32_t>(read_cr0()),
                  .cr3 = read_cr3(),
                  .cr4 = static_cast<std::uint32_t>(read_cr4())});
    frame.rip = cpl != 0 ? address_for_user(user_attempt_over)
                         : reinterpret_cast<std::uint64_t>(attempt_over);
    frame.rflags = EFLAGS_CLEAR;
}

} // namespace

} // namespace x86

void handle_fault(FaultFrame& frame) {
    x86::handle(frame);
}
