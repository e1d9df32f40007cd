// Records each exception, and ends the run at one that nothing expects (TRACE.md, "Faults").
#pragma once

#include "core/linear_range.hpp"
#include "core/processor.hpp"
#include "core/trace.hpp"

#include <cstdint>

namespace core {

class Faults final : public FaultListener {
public:
    Faults(Trace& trace, LinearRange probe_stack) : m_trace(trace), m_probe_stack(probe_stack) {}

    // From now on faults happen while this operation runs.
    void operation_begins(std::uint32_t number) { m_operation = number; }
    // From now on these are the objects of the task stack pool.
    void know_task_stacks(LinearRange objects) { m_task_stacks = objects; }

    AfterFault on_fault(const FaultRecord& fault, bool expected) override;

private:
    struct Stack {
        protocol::stack_kind kind;
        std::uint16_t number;
    };
    [[nodiscard]] Stack stack_of(LinearAddress stack_pointer) const;

    Trace& m_trace;
    LinearRange m_probe_stack;
    LinearRange m_task_stacks{0, 0};
    std::uint32_t m_operation = 0;
};

} // namespace core
