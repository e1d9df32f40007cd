// Runs the operations of a program (TRACE.md, "Operations").
#pragma once

#include "core/addresses.hpp"
#include "core/frame_allocator.hpp"
#include "core/program.hpp"
#include "core/progress.hpp"
#include "core/trace.hpp"
#include "protocol.hpp"

#include <cstdint>
#include <span>

namespace core {

class Interpreter {
public:
    // `grants` has a place for each operation: what it was given. What is in there now is not read.
    Interpreter(FrameAllocator& frames, Trace& trace, std::span<FrameRange> grants)
        : m_frames(frames), m_trace(trace), m_grants(grants) {}

    // The program has no defect, and no more operations than there are places for grants.
    Progress run(const Program& program);

private:
    Progress perform_next(Program::Cursor& cursor);

    Progress perform(const protocol::operation::allocate& operation);
    Progress perform(const protocol::operation::allocate_run& operation);
    Progress perform(const protocol::operation::free& operation);
    Progress perform(const protocol::operation::free_address& operation);
    Progress perform(const protocol::operation::count& operation);
    Progress perform(const protocol::operation::exhaust& operation);
    Progress perform(const protocol::operation::dump& operation);

    Progress report_allocated(FrameRange frames);
    Progress report_failed(protocol::allocation_failure reason);
    Progress report_free(const Result<FrameRange, FreeFailure>& result);
    Progress report_exhausted_run(FrameRange frames);

    FrameAllocator& m_frames;
    Trace& m_trace;
    std::span<FrameRange> m_grants;
    std::uint32_t m_operation = 0;
};

} // namespace core
