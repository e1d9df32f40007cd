#include "arch/x86/faults.hpp"

#include "arch/x86/control_registers.hpp"

extern "C" {
// Returns EAX at the attempt's end.
std::uintptr_t begin_attempt(const x86::AttemptStart& start);
}

namespace x86 {

namespace {

constinit core::FaultListener* the_listener = nullptr;
constinit bool in_attempt = false;
constinit bool in_handler = false;
constinit bool has_faulted = false;

} // namespace

void report_fault(const core::FaultRecord& fault) {
    if (the_listener == nullptr)
        finish_run();
    // The handler itself must not fault: nothing would come after it.
    const bool expected = in_attempt && !in_handler;
    in_handler = true;
    const auto after = the_listener->on_fault(fault, expected);
    if (after == core::AfterFault::end_run || !expected)
        finish_run();
    in_handler = false;
    has_faulted = true;
}

std::uintptr_t address_for_user(const std::byte* symbol) {
    return protocol::area::user + static_cast<std::uintptr_t>(symbol - user_code_start);
}

AttemptEnd attempt(const AttemptStart& start) {
    has_faulted = false;
    in_attempt = true;
    // So that a processor is seen that writes it for anything but a page fault.
    write_cr2(protocol::untouched_cr2);
    const std::uintptr_t eax = begin_attempt(start);
    in_attempt = false;
    return {has_faulted, eax};
}

void listen_to_faults(core::FaultListener& listener) {
    the_listener = &listener;
}

} // namespace x86
