// The operations that try something which may fault (TRACE.md, "Operations on paging").
#include "core/features.hpp"
#include "core/interpreter.hpp"

namespace core {

namespace operation = protocol::operation;
using protocol::access_kind;
using protocol::base_register;
using protocol::control_bit;
using protocol::exception;
using protocol::rejection;
using protocol::segment_register;

namespace {

bool is_access_size(std::uint32_t size) {
    return size == 1 || size == 2 || size == 4;
}

// Bits 63 to 47 are all equal (SDM vol. 1, 3.3.7.1).
bool is_canonical(LinearAddress address) {
    constexpr std::int64_t highest = (std::int64_t{1} << 47) - 1;
    const auto value = static_cast<std::int64_t>(address);
    return -highest - 1 <= value && value <= highest;
}

// Whether the cause is one that only 64-bit mode has.
bool needs_64_bit_mode(protocol::raise_cause cause) {
    using protocol::raise_cause;
    return cause == raise_cause::return_nowhere || cause == raise_cause::return_user_nowhere ||
           cause == raise_cause::push_nowhere;
}

// Whether there is such a control bit in this paging mode of a processor.
bool has_control_bit(control_bit bit, std::uint32_t features, PagingMode mode) {
    switch (bit) {
    case control_bit::write_protect:
        return true;
    case control_bit::page_size_extensions:
        return has(features, Feature::page_size_extensions);
    case control_bit::no_execute:
        return has_wide_entries(mode) && has(features, Feature::no_execute);
    case control_bit::supervisor_execution:
        return has(features, Feature::supervisor_execution);
    case control_bit::supervisor_access:
        return has(features, Feature::supervisor_access);
    }
    return false;
}

// Vectors whose handlers find an error code on the stack, which INT n does not push (SDM vol. 3,
// 6.4.2).
bool has_error_code(std::uint32_t vector) {
    switch (static_cast<exception>(vector)) {
    case exception::double_fault:
    case exception::invalid_tss:
    case exception::segment_not_present:
    case exception::stack_segment:
    case exception::general_protection:
    case exception::page_fault:
    case exception::alignment_check:
    case exception::control_protection:
        return true;
    default:
        return false;
    }
}

// Whether a descriptor can say this limit: from 2^20 up it counts in units of 4 KiB (SDM vol. 3,
// 3.4.5).
bool can_describe(std::uint32_t limit) {
    return limit < 1u << 20 || (limit & 0xFFF) == 0xFFF;
}

// Whether the kernel's own stacks, in the first 4 MiB of the window, can be reached through SS all
// the same: handlers run on it.
bool can_be_stack_segment(const operation::segment& segment) {
    constexpr LinearAddress lowest = protocol::boot::kernel_window + (4u << 20);
    return segment.expand_down == 0 && segment.base == 0 && LinearAddress{segment.limit} >= lowest;
}

} // namespace

Progress Interpreter::perform(const operation::reload&) {
    return report_attempt(m_parts.processor.reload());
}

Progress Interpreter::perform(const operation::control& operation) {
    if (!is_known(operation.bit) || operation.value > 1)
        return report_rejected(rejection::bad_value);
    const PagingMode mode = m_parts.probe_area.mode();
    if (!has_control_bit(operation.bit, m_parts.processor.features(), mode))
        return report_rejected(rejection::no_feature);
    if (operation.bit == control_bit::page_size_extensions && operation.value == 0 &&
        mode == PagingMode::legacy && m_parts.probe_area.has_large_page())
        return report_rejected(rejection::large_page_mapped);
    if (operation.bit == control_bit::no_execute && operation.value == 0 &&
        m_parts.stacks.are_any_used_by_tasks())
        return report_rejected(rejection::used_by_task);
    return report_attempt(m_parts.processor.write_control(operation.bit, operation.value != 0));
}

Progress Interpreter::perform(const operation::probe& operation) {
    const bool in_64_bit_mode = m_parts.probe_area.mode() == PagingMode::four_level;
    const bool is_call = operation.access == access_kind::execute;
    if (!is_known(operation.access) || !is_known(operation.through) ||
        operation.alignment_check > 1 || (is_call && operation.through != base_register::plain))
        return report_rejected(rejection::bad_value);
    if (!is_access_size(operation.size) && !(in_64_bit_mode && operation.size == 8))
        return report_rejected(rejection::bad_size);
    if (operation.ring != 0 && operation.ring != 3)
        return report_rejected(rejection::bad_ring);
    const Access access{
        .kind = operation.access, .size = operation.size, .through = operation.through};
    const bool is_write = operation.access == access_kind::write;
    // What is at no address can come to no harm.
    const bool is_nowhere = in_64_bit_mode && !is_canonical(operation.address);
    if ((!is_nowhere && !m_reach.allows_probe(operation.address, access, operation.ring)) ||
        (is_write && m_parts.stacks.touches_task(operation.address, operation.size)))
        return report_rejected(rejection::bad_address);
    Attempt attempt = m_parts.processor.access(operation.address, access, operation.ring,
                                               operation.alignment_check != 0);
    // What is in a stack or in the kernel's image is nobody's business.
    if (!ProbeArea::contains(operation.address, operation.size))
        attempt.value = 0;
    return report_attempt(attempt);
}

Progress Interpreter::perform(const operation::segment& operation) {
    // SDM vol. 3, 5.3.1: in 64-bit mode segments have no limits.
    if (m_parts.probe_area.mode() == PagingMode::four_level)
        return report_rejected(rejection::no_feature);
    if (!is_known(operation.target) || operation.expand_down > 1 ||
        (operation.access != access_kind::read && operation.access != access_kind::write))
        return report_rejected(rejection::bad_value);
    if (!is_access_size(operation.size))
        return report_rejected(rejection::bad_size);
    if (!can_describe(operation.limit) ||
        (operation.target == segment_register::ss && !can_be_stack_segment(operation)))
        return report_rejected(rejection::bad_segment);
    if (!m_reach.allows_segment(operation.base + operation.offset, operation.size))
        return report_rejected(rejection::bad_address);
    const SegmentDescription segment{.target = operation.target,
                                     .expand_down = operation.expand_down != 0,
                                     .base = operation.base,
                                     .limit = operation.limit};
    const Access access{.kind = operation.access, .size = operation.size};
    return report_attempt(m_parts.processor.access_segment(segment, operation.offset, access));
}

Progress Interpreter::perform(const operation::raise& operation) {
    if (!is_known(operation.cause))
        return report_rejected(rejection::bad_value);
    if (needs_64_bit_mode(operation.cause) && m_parts.probe_area.mode() != PagingMode::four_level)
        return report_rejected(rejection::no_feature);
    return report_attempt(m_parts.processor.raise(operation.cause));
}

Progress Interpreter::perform(const operation::interrupt& operation) {
    constexpr std::uint32_t exceptions = 32;
    if (operation.vector >= exceptions || has_error_code(operation.vector))
        return report_rejected(rejection::bad_vector);
    return report_attempt(m_parts.processor.interrupt(operation.vector));
}

Progress Interpreter::perform(const operation::triple_fault&) {
    m_parts.processor.shut_down();
    // Only where a machine has survived it: the trace stays as it is, cut short.
    return Progress::stopped;
}

} // namespace core
