// The operations on the task stack pool (TRACE.md, "The task stack pool").
#include "core/interpreter.hpp"

namespace core {

namespace event = protocol::event;
namespace operation = protocol::operation;
using protocol::overflow_kind;
using protocol::rejection;
using protocol::stack_failure;

namespace {

// Only some ways to overflow a stack have a size.
bool is_overflow_size(overflow_kind how, std::uint32_t size) {
    const auto between = [size](std::uint32_t least, std::uint32_t most) {
        return least <= size && size <= most && size % sizeof(std::uint32_t) == 0;
    };
    if (how == overflow_kind::array)
        return between(4, 3 * protocol::frame_size);
    if (how == overflow_kind::recursion)
        return between(8, 1024);
    return true;
}

} // namespace

Progress Interpreter::perform(const operation::stack_allocate&) {
    const auto stack = m_parts.stacks.allocate();
    if (!stack)
        return report_stack_rejected(0, stack_failure::none_free);
    m_grants[m_operation].stack = stack;
    return m_parts.trace.write(event::stack_allocated{
        .operation = m_operation, .stack = *stack, .address = TaskStackPool::address(*stack)});
}

Progress Interpreter::perform(const operation::stack_free& operation) {
    const auto stack = granted_stack(operation.operation);
    if (!stack)
        return report_stack_rejected(0, stack_failure::nothing_allocated);
    if (m_parts.stacks.is_used_by_task(*stack))
        return report_stack_rejected(0, stack_failure::used_by_task);
    return free_stack(TaskStackPool::address(*stack));
}

Progress Interpreter::perform(const operation::stack_free_address& operation) {
    return free_stack(operation.address);
}

Progress Interpreter::perform(const operation::overflow& operation) {
    const auto stack = granted_stack(operation.operation);
    if (!stack)
        return report_stack_rejected(0, stack_failure::nothing_allocated);
    if (m_parts.stacks.is_used_by_task(*stack))
        return report_stack_rejected(0, stack_failure::used_by_task);
    if (!is_known(operation.how))
        return report_rejected(rejection::bad_value);
    if (!is_overflow_size(operation.how, operation.size))
        return report_rejected(rejection::bad_size);
    // A large array jumps over the guard page, into the object below.
    if (operation.how == overflow_kind::array &&
        m_parts.stacks.touches_task(TaskStackPool::end(*stack) - operation.size,
                                    sizeof(std::uint32_t)))
        return report_stack_rejected(0, stack_failure::used_by_task);
    return report_attempt(
        m_parts.processor.overflow(TaskStackPool::bottom(*stack), operation.how, operation.size));
}

std::optional<std::uint32_t> Interpreter::granted_stack(std::uint32_t operation) const {
    return operation < m_operation ? m_grants[operation].stack : std::nullopt;
}

Progress Interpreter::free_stack(LinearAddress address) {
    const auto stack = m_parts.stacks.free(address);
    if (!stack.has_value())
        return report_stack_rejected(address, stack.failure());
    return m_parts.trace.write(
        event::stack_freed{.operation = m_operation, .stack = stack.value()});
}

Progress Interpreter::report_stack_rejected(LinearAddress address, stack_failure reason) {
    return m_parts.trace.write(
        event::stack_rejected{.operation = m_operation, .address = address, .reason = reason});
}

} // namespace core
