// What the scheduler needs of the processor.
#pragma once

#include "core/task_processor.hpp"

namespace x86 {

class TaskProcessor final : public core::TaskProcessor {
public:
    void listen(core::InterruptionListener& listener) override;

    void prepare(core::SavedTask& task, core::LinearAddress stack_end,
                 core::TaskEntry& entry) override;
    std::uint32_t switch_tasks(core::SavedTask& from, const core::SavedTask& to,
                               std::uint32_t number) override;
    [[nodiscard]] core::LinearAddress stack_pointer() const override;

    core::ComputationRegisters compute(protocol::compute_kind kind,
                                       const core::ComputationRegisters& start,
                                       core::Interruption interruption) override;
    [[nodiscard]] std::uint32_t scratch_address() const override;

    void start_timer() override;
    void stop_timer() override;
    void spin(const volatile std::uint32_t& clock, std::uint32_t tick) override;
    void halt() override;

    core::Attempt overflow_own_stack() override;
};

} // namespace x86
