// Runs the operations of a program (TRACE.md, "Operations" and what follows it). Each group of
// operations has a source file of its own: frame_operations.cpp, paging_operations.cpp,
// attempt_operations.cpp and stack_operations.cpp.
#pragma once

#include "core/addresses.hpp"
#include "core/faults.hpp"
#include "core/frame_allocator.hpp"
#include "core/probe_area.hpp"
#include "core/processor.hpp"
#include "core/program.hpp"
#include "core/progress.hpp"
#include "core/reach.hpp"
#include "core/task_stack_pool.hpp"
#include "core/trace.hpp"
#include "protocol.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace core {

// What an operation was given.
struct Grant {
    FrameRange frames;
    std::optional<std::uint32_t> stack;
};

// What the operations work on.
struct KernelParts {
    FrameAllocator& frames;
    ProbeArea& probe_area;
    TaskStackPool& stacks;
    Processor& processor;
    Faults& faults;
    Trace& trace;
};

class Interpreter {
public:
    // `grants` has a place for each operation. What is in there now is not read.
    Interpreter(const KernelParts& parts, const Reach& reach, std::span<Grant> grants)
        : m_parts(parts), m_reach(reach), m_grants(grants) {}

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

    Progress perform(const protocol::operation::map& operation);
    Progress perform(const protocol::operation::unmap& operation);
    Progress perform(const protocol::operation::protect& operation);
    Progress perform(const protocol::operation::invalidate& operation);
    Progress perform(const protocol::operation::write_entry& operation);
    Progress perform(const protocol::operation::read_entry& operation);

    Progress perform(const protocol::operation::reload& operation);
    Progress perform(const protocol::operation::control& operation);
    Progress perform(const protocol::operation::probe& operation);
    Progress perform(const protocol::operation::segment& operation);
    Progress perform(const protocol::operation::raise& operation);
    Progress perform(const protocol::operation::interrupt& operation);
    Progress perform(const protocol::operation::triple_fault& operation);

    Progress perform(const protocol::operation::stack_allocate& operation);
    Progress perform(const protocol::operation::stack_free& operation);
    Progress perform(const protocol::operation::stack_free_address& operation);
    Progress perform(const protocol::operation::overflow& operation);

    // What `exhaust` takes next, after so many frames, of which `from` follows the last.
    [[nodiscard]] std::optional<FrameRange> next_to_exhaust(std::uint32_t taken, Frame from);
    Progress report_allocated(FrameRange frames);
    Progress report_failed(protocol::allocation_failure reason);
    Progress report_free(const Result<FrameRange, FreeFailure>& result);
    Progress report_exhausted_run(FrameRange frames);

    Progress report_change(ProbeArea::Rejection rejection, LinearAddress address,
                           std::uint8_t invalidate);
    Progress report_attempt(const Attempt& attempt);
    Progress report_rejected(protocol::rejection reason);

    // The stack that an earlier operation was given.
    [[nodiscard]] std::optional<std::uint32_t> granted_stack(std::uint32_t operation) const;
    Progress free_stack(LinearAddress address);
    Progress report_stack_rejected(LinearAddress address, protocol::stack_failure reason);

    KernelParts m_parts;
    Reach m_reach;
    std::span<Grant> m_grants;
    std::uint32_t m_operation = 0;
};

} // namespace core
