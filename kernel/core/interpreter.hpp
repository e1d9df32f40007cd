// Performs the operations of one task of a program (TRACE.md, "Operations" and what follows it; and
// TASKS.md). Each group of operations has a source file of its own: frame_operations.cpp,
// paging_operations.cpp, attempt_operations.cpp, stack_operations.cpp and task_operations.cpp.
#pragma once

#include "core/addresses.hpp"
#include "core/bodies.hpp"
#include "core/faults.hpp"
#include "core/frame_allocator.hpp"
#include "core/probe_area.hpp"
#include "core/processor.hpp"
#include "core/program.hpp"
#include "core/progress.hpp"
#include "core/reach.hpp"
#include "core/scheduler.hpp"
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
    Task* task = nullptr;
};

// What the operations work on.
struct KernelParts {
    FrameAllocator& frames;
    ProbeArea& probe_area;
    TaskStackPool& stacks;
    Processor& processor;
    TaskProcessor& task_processor;
    Scheduler& scheduler;
    Trace& trace;
};

class Interpreter {
public:
    // `grants` has a place for each operation, and is what all tasks were given.
    Interpreter(const KernelParts& parts, const Reach& reach, const Bodies& bodies,
                std::span<Grant> grants)
        : m_parts(parts), m_reach(reach), m_bodies(bodies), m_grants(grants) {}

    // Performs a list of operations: from this one up to the next `body`, or to the end.
    Progress run(Body list);

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

    Progress perform(const protocol::operation::spawn& operation);
    Progress perform(const protocol::operation::yield& operation);
    Progress perform(const protocol::operation::block& operation);
    Progress perform(const protocol::operation::wake& operation);
    Progress perform(const protocol::operation::join& operation);
    Progress perform(const protocol::operation::sleep& operation);
    Progress perform(const protocol::operation::tick& operation);
    Progress perform(const protocol::operation::exit& operation);
    Progress perform(const protocol::operation::compute& operation);
    Progress perform(const protocol::operation::spin& operation);
    Progress perform(const protocol::operation::lock& operation);
    Progress perform(const protocol::operation::unlock& operation);
    Progress perform(const protocol::operation::overflow_own& operation);

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

    // Whether the pool's stacks can be accessed: not all of their entries' bits may be set now.
    [[nodiscard]] bool are_stacks_usable() const;
    // The task that an earlier operation has spawned.
    [[nodiscard]] Task* granted_task(std::uint32_t operation) const;
    Progress report_spawn_failed(protocol::spawn_failure reason);
    // If the running task still runs, what it waited for is there.
    Progress report_proceeded(Progress waited);
    Progress report_task_rejected(protocol::task_failure reason);

    const KernelParts& m_parts;
    const Reach& m_reach;
    const Bodies& m_bodies;
    std::span<Grant> m_grants;
    std::uint32_t m_operation = 0;
};

} // namespace core
