// What interrupts a task between two instructions: single steps of computations, and the timer.
#pragma once

#include "core/task_processor.hpp"

#include <cstdint>

namespace x86 {

void listen_to_interruptions(core::InterruptionListener& listener);

// If this vector is no fault but interrupts a task, tells the listener: another task may run before
// this returns true. `interrupted` is of use for a computation only.
[[nodiscard]] bool handle_interruption(std::uint64_t vector,
                                       const core::InterruptedComputation& interrupted);

} // namespace x86
