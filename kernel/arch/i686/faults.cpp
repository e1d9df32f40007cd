#include "arch/i686/faults.hpp"

#include "arch/i686/control_registers.hpp"
#include "arch/i686/descriptors.hpp"
#include "arch/x86/interrupt_timer.hpp"

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
extern const std::byte attempt_over[], user_attempt_over[], user_code_start[];
extern const std::byte computations_start[], computations_end[];
// Returns EAX at the attempt's end.
std::uint32_t begin_attempt(const i686::AttemptStart& start);
void handle_fault(FaultFrame& frame);
void handle_double_fault(std::uint32_t error_code);
}

namespace i686 {

namespace {

constinit core::FaultListener* the_listener = nullptr;
constinit core::InterruptionListener* the_interruption_listener = nullptr;
constinit bool in_attempt = false;
constinit bool in_handler = false;
constinit bool has_faulted = false;

constexpr std::uint32_t requested_privilege = 3; // the bits of a selector

// Returns if there is an attempt to go on with.
void report(const core::FaultRecord& fault) {
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

std::uint32_t address_for_user(const std::byte* symbol) {
    return protocol::area::user + static_cast<std::uint32_t>(symbol - user_code_start);
}

// Whether a computation is over by one instruction: a #DB is nothing else there.
bool is_step(const FaultFrame& frame) {
    const auto* const eip = reinterpret_cast<const std::byte*>(frame.eip);
    return frame.vector == static_cast<std::uint32_t>(protocol::exception::debug) &&
           computations_start <= eip && eip < computations_end;
}

// Another task may run before this returns.
void step(const FaultFrame& frame) {
    const auto after = the_interruption_listener->on_step({.eip = frame.eip,
                                                           .registers = {.eax = frame.eax,
                                                                         .ecx = frame.ecx,
                                                                         .edx = frame.edx,
                                                                         .ebx = frame.ebx,
                                                                         .ebp = frame.ebp,
                                                                         .esi = frame.esi,
                                                                         .edi = frame.edi},
                                                           .eflags = frame.eflags});
    if (after == core::AfterFault::end_run)
        finish_run();
}

// The same. Acknowledged first: the task that runs then lets the next one in.
void handle_timer() {
    x86::acknowledge_timer_interrupt();
    if (the_interruption_listener->on_timer() == core::AfterFault::end_run)
        finish_run();
}

void handle(FaultFrame& frame) {
    if (frame.vector == x86::timer_vector)
        return handle_timer();
    if (is_step(frame))
        return step(frame);
    const auto vector = static_cast<protocol::exception>(frame.vector);
    const bool from_user = (frame.cs & requested_privilege) != 0;
    // Without a change of privilege ESP is not pushed: it is where the frame begins.
    const std::uint32_t esp = from_user ? frame.esp : reinterpret_cast<std::uint32_t>(&frame.esp);
    report({.vector = vector,
            .error_code = frame.error_code,
            .cr2 = vector == protocol::exception::page_fault ? frame.cr2 : 0,
            .eip = frame.eip,
            .esp = esp,
            .cpl = static_cast<std::uint8_t>(frame.cs & requested_privilege),
            .eax = frame.eax,
            .ecx = frame.ecx,
            .edx = frame.edx,
            .ebx = frame.ebx,
            .ebp = frame.ebp,
            .esi = frame.esi,
            .edi = frame.edi,
            .eflags = frame.eflags,
            .cs = frame.cs & 0xFFFF,
            .cr0 = read_cr0(),
            .cr3 = read_cr3(),
            .cr4 = read_cr4()});
    frame.eip = from_user ? address_for_user(user_attempt_over)
                          : reinterpret_cast<std::uint32_t>(attempt_over);
    frame.eflags = EFLAGS_CLEAR;
}

// Runs in the double fault's task, which IRET leaves for the main one.
void handle_in_task(std::uint32_t error_code) {
    report({.vector = protocol::exception::double_fault,
            .error_code = error_code,
            .cr2 = read_cr2(),
            .eip = main_task.eip,
            .esp = main_task.esp,
            .cpl = static_cast<std::uint8_t>(main_task.cs & requested_privilege),
            .eax = main_task.eax,
            .ecx = main_task.ecx,
            .edx = main_task.edx,
            .ebx = main_task.ebx,
            .ebp = main_task.ebp,
            .esi = main_task.esi,
            .edi = main_task.edi,
            .eflags = main_task.eflags,
            .cs = main_task.cs & 0xFFFF,
            .cr0 = read_cr0(),
            .cr3 = read_cr3(),
            .cr4 = read_cr4()});
    main_task.eip = reinterpret_cast<std::uint32_t>(attempt_over);
    main_task.eflags = EFLAGS_CLEAR;
    main_task.cs = SELECTOR_KERNEL_CODE;
    // The task switch loads them all, and must not fault. `attempt_over` brings its own ESP.
    main_task.ss = main_task.ds = main_task.es = SELECTOR_KERNEL_DATA;
    main_task.fs = main_task.gs = SELECTOR_KERNEL_DATA;
}

} // namespace

AttemptEnd attempt(const AttemptStart& start) {
    has_faulted = false;
    in_attempt = true;
    const std::uint32_t eax = begin_attempt(start);
    in_attempt = false;
    return {has_faulted, eax};
}

void listen_to_faults(core::FaultListener& listener) {
    the_listener = &listener;
}

void listen_to_interruptions(core::InterruptionListener& listener) {
    the_interruption_listener = &listener;
}

} // namespace i686

void handle_fault(FaultFrame& frame) {
    i686::handle(frame);
}

void handle_double_fault(std::uint32_t error_code) {
    i686::handle_in_task(error_code);
}
