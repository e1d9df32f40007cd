#include "arch/x86/returns.hpp"

#include "arch/x86/access_attempts.hpp"
#include "arch/x86/attempts.hpp"

extern "C" {
// By cause, from return_null_code on. EDX, ECX, ESI, EDI, EBP: what the IRET is to load into EIP,
// CS, EFLAGS, ESP and SS.
extern const std::byte* const return_attempts[];
}

namespace x86 {

namespace {

using protocol::raise_cause;

struct ReturnFrame {
    std::uintptr_t eip, cs, esp, ss;
};

// Frames with nothing wrong, which lead to an attempt's end.
ReturnFrame to_ring0() {
    return {.eip = reinterpret_cast<std::uintptr_t>(attempt_over),
            .cs = SELECTOR_KERNEL_CODE,
            .esp = probe_stack_top(),
            .ss = SELECTOR_KERNEL_DATA};
}

ReturnFrame to_ring3() {
    return {.eip = address_for_user(user_attempt_over),
            .cs = SELECTOR_USER_CODE,
            .esp = user_stack_top,
            .ss = SELECTOR_USER_DATA};
}

ReturnFrame with_code(ReturnFrame frame, std::uint32_t selector) {
    frame.cs = selector;
    return frame;
}

ReturnFrame with_stack(ReturnFrame frame, std::uint32_t selector) {
    frame.ss = selector;
    return frame;
}

ReturnFrame with_ip(ReturnFrame frame, std::uintptr_t address) {
    frame.eip = address;
    return frame;
}

ReturnFrame frame_of(raise_cause cause) {
    switch (cause) {
    case raise_cause::return_null_code:
        return with_code(to_ring0(), 0);
    case raise_cause::return_code_beyond:
        return with_code(to_ring0(), protocol::selector_beyond);
    case raise_cause::return_data_as_code:
        return with_code(to_ring0(), SELECTOR_KERNEL_DATA);
    case raise_cause::return_absent_code:
        return with_code(to_ring0(), protocol::selector_absent_code);
    case raise_cause::return_code_privilege:
        return with_code(to_ring3(), SELECTOR_KERNEL_CODE | requested_privilege);
    case raise_cause::return_null_stack:
        return with_stack(to_ring3(), 0);
    case raise_cause::return_stack_privilege:
        return with_stack(to_ring3(), SELECTOR_KERNEL_DATA);
    case raise_cause::return_code_as_stack:
        return with_stack(to_ring3(), SELECTOR_USER_CODE);
    case raise_cause::return_absent_stack:
        return with_stack(to_ring3(), protocol::selector_absent_user_data | requested_privilege);
    case raise_cause::return_unmapped:
        return with_ip(to_ring3(), user_stack_top);
#ifdef __x86_64__
    case raise_cause::return_nowhere:
        return with_ip(to_ring0(), protocol::nowhere);
    case raise_cause::return_user_nowhere:
        return with_ip(to_ring3(), protocol::nowhere);
    case raise_cause::push_nowhere: {
        ReturnFrame frame = with_ip(to_ring3(), address_for_user(fault_at_user_push));
        frame.esp = protocol::nowhere;
        return frame;
    }
#endif
    default:
        return to_ring0(); // return_nested_task: it is a flag that is wrong
    }
}

} // namespace

AttemptStart return_with_defect(raise_cause cause) {
    const ReturnFrame frame = frame_of(cause);
    const std::uint32_t index = static_cast<std::uint32_t>(cause) -
                                static_cast<std::uint32_t>(raise_cause::return_null_code);
    const std::uintptr_t nested = cause == raise_cause::return_nested_task ? EFLAGS_NESTED_TASK : 0;
    return {.ecx = frame.cs,
            .edx = frame.eip,
            .ebp = frame.ss,
            .esi = EFLAGS_CLEAR,
            .edi = frame.esp,
            .eflags = EFLAGS_CLEAR | nested,
            .esp = probe_stack_top(),
            .eip = return_attempts[index]};
}

} // namespace x86
