// The operations that change or read paging-structure entries (TRACE.md, "Operations on paging").
#include "core/interpreter.hpp"

namespace core {

namespace event = protocol::event;
namespace operation = protocol::operation;

Progress Interpreter::perform(const operation::map& operation) {
    return report_change(
        m_parts.probe_area.map(operation.address, operation.frame, operation.rights),
        operation.address, operation.invalidate);
}

Progress Interpreter::perform(const operation::unmap& operation) {
    return report_change(m_parts.probe_area.unmap(operation.address), operation.address,
                         operation.invalidate);
}

Progress Interpreter::perform(const operation::protect& operation) {
    return report_change(m_parts.probe_area.protect(operation.address, operation.rights),
                         operation.address, operation.invalidate);
}

Progress Interpreter::perform(const operation::invalidate& operation) {
    const bool probeable = ProbeArea::contains(operation.address, 1);
    const auto rejection =
        probeable ? std::nullopt : ProbeArea::Rejection(protocol::rejection::bad_address);
    return report_change(rejection, operation.address, 1);
}

Progress Interpreter::perform(const operation::write_entry& operation) {
    return report_change(m_parts.probe_area.write_entry(operation.address, operation.level,
                                                        operation.clear, operation.set),
                         operation.address, operation.invalidate);
}

Progress Interpreter::perform(const operation::read_entry& operation) {
    const auto entry = m_parts.probe_area.read_entry(operation.address, operation.level);
    if (!entry.has_value())
        return report_rejected(entry.failure());
    return m_parts.trace.write(event::entry_read{
        .operation = m_operation, .level = operation.level, .value = entry.value()});
}

// An entry was written, unless that was rejected: what is left of the operation.
Progress Interpreter::report_change(ProbeArea::Rejection rejection, LinearAddress address,
                                    std::uint8_t invalidate) {
    if (rejection)
        return report_rejected(*rejection);
    if (invalidate != 0)
        m_parts.processor.invalidate_page(address);
    return m_parts.trace.write(event::changed{.operation = m_operation});
}

} // namespace core
