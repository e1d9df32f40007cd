// The operations on frames (TRACE.md, "Operations").
#include "core/interpreter.hpp"

namespace core {

namespace event = protocol::event;
namespace operation = protocol::operation;

Progress Interpreter::perform(const operation::allocate&) {
    if (const auto frame = m_parts.frames.allocate())
        return report_allocated(FrameRange::from_count(*frame, 1));
    return report_failed(protocol::allocation_failure::none_free);
}

Progress Interpreter::perform(const operation::allocate_run& operation) {
    const auto run = m_parts.frames.allocate_run(operation.count, operation.alignment);
    return run.has_value() ? report_allocated(run.value()) : report_failed(run.failure());
}

Progress Interpreter::perform(const operation::free& operation) {
    const bool is_earlier = operation.operation < m_operation;
    const FrameRange frames = is_earlier ? m_grants[operation.operation].frames : FrameRange{};
    if (frames.empty())
        return report_free(FreeFailure{{}, protocol::free_failure::nothing_allocated});
    return report_free(m_parts.frames.free(frames));
}

Progress Interpreter::perform(const operation::free_address& operation) {
    return report_free(m_parts.frames.free(PhysicalAddress(operation.address)));
}

Progress Interpreter::perform(const operation::count&) {
    return m_parts.trace.write(
        event::counted{.operation = m_operation, .free_frames = m_parts.frames.free_count()});
}

Progress Interpreter::perform(const operation::exhaust&) {
    std::uint32_t total = 0;
    FrameRange run{};
    while (const auto taken = next_to_exhaust(total, run.end)) {
        total += taken->count();
        if (taken->first != run.end) {
            if (stopped(report_exhausted_run(run)))
                return Progress::stopped;
            run.first = taken->first;
        }
        run.end = taken->end;
    }
    if (stopped(report_exhausted_run(run)))
        return Progress::stopped;
    return m_parts.trace.write(event::exhausted{.operation = m_operation, .frames = total});
}

// One frame after the other is what this is about; but of tens of millions an emulator would never
// come to an end.
std::optional<FrameRange> Interpreter::next_to_exhaust(std::uint32_t taken, Frame from) {
    if (taken < protocol::frame_unit) {
        const auto frame = m_parts.frames.allocate();
        return frame ? std::optional(FrameRange::from_count(*frame, 1)) : std::nullopt;
    }
    const auto range = m_parts.frames.next_free_range(from);
    if (range)
        m_parts.frames.take_back(*range);
    return range;
}

Progress Interpreter::perform(const operation::dump&) {
    std::uint32_t ranges = 0;
    std::uint32_t total = 0;
    Frame from{};
    while (const auto range = m_parts.frames.next_free_range(from)) {
        if (stopped(m_parts.trace.write(event::free_range{.operation = m_operation,
                                                          .first = range->first.number(),
                                                          .end = range->end.number()})))
            return Progress::stopped;
        ++ranges;
        total += range->count();
        from = range->end;
    }
    return m_parts.trace.write(
        event::dumped{.operation = m_operation, .ranges = ranges, .frames = total});
}

Progress Interpreter::report_allocated(FrameRange frames) {
    m_grants[m_operation].frames = frames;
    return m_parts.trace.write(event::allocated{
        .operation = m_operation, .frame = frames.first.number(), .count = frames.count()});
}

Progress Interpreter::report_failed(protocol::allocation_failure reason) {
    return m_parts.trace.write(
        event::allocation_failed{.operation = m_operation, .reason = reason});
}

Progress Interpreter::report_free(const Result<FrameRange, FreeFailure>& result) {
    if (!result.has_value())
        return m_parts.trace.write(event::free_rejected{.operation = m_operation,
                                                        .address = result.failure().address.value(),
                                                        .reason = result.failure().reason});
    const FrameRange frames = result.value();
    return m_parts.trace.write(event::freed{
        .operation = m_operation, .frame = frames.first.number(), .count = frames.count()});
}

Progress Interpreter::report_exhausted_run(FrameRange frames) {
    if (frames.empty())
        return Progress::going;
    return m_parts.trace.write(event::exhausted_run{
        .operation = m_operation, .first = frames.first.number(), .count = frames.count()});
}

} // namespace core
