#include "core/faults.hpp"

namespace core {

namespace {

namespace event = protocol::event;
using protocol::stack_kind;

constexpr LinearRange user_stack{protocol::area::user + protocol::frame_size,
                                 protocol::area::user + 2 * protocol::frame_size};

} // namespace

AfterFault Faults::on_fault(const FaultRecord& fault, bool expected) {
    const Stack stack = stack_of(fault.esp);
    if (stopped(m_trace.write(event::fault{.operation = m_operation,
                                           .vector = fault.vector,
                                           .error_code = fault.error_code,
                                           .cr2 = fault.cr2,
                                           .eip = fault.eip,
                                           .esp = fault.esp,
                                           .cpl = fault.cpl,
                                           .stack = stack.kind,
                                           .stack_number = stack.number})))
        return AfterFault::end_run;
    if (expected)
        return AfterFault::resume;
    // Without room for the registers, the trace says that instead and takes nothing more.
    static_cast<void>(m_trace.write(event::registers{.eax = fault.eax,
                                                     .ecx = fault.ecx,
                                                     .edx = fault.edx,
                                                     .ebx = fault.ebx,
                                                     .ebp = fault.ebp,
                                                     .esi = fault.esi,
                                                     .edi = fault.edi,
                                                     .eflags = fault.eflags,
                                                     .cs = static_cast<std::uint16_t>(fault.cs),
                                                     .cr0 = fault.cr0,
                                                     .cr3 = fault.cr3,
                                                     .cr4 = fault.cr4}));
    static_cast<void>(m_trace.panic(protocol::panic_reason::unexpected_fault, fault.eip));
    return AfterFault::end_run;
}

Faults::Stack Faults::stack_of(LinearAddress stack_pointer) const {
    if (m_probe_stack.is_stack_of(stack_pointer))
        return {stack_kind::probe, 0};
    if (user_stack.is_stack_of(stack_pointer))
        return {stack_kind::user, 0};
    if (m_task_stacks.is_stack_of(stack_pointer)) {
        // An empty stack's pointer is where the next object starts: it is not on that one.
        const LinearAddress offset = stack_pointer - 1 - m_task_stacks.start;
        return {stack_kind::task, static_cast<std::uint16_t>(offset / protocol::task_stack_size)};
    }
    return {stack_kind::kernel, 0};
}

} // namespace core
