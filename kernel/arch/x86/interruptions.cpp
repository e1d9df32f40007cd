#include "arch/x86/interruptions.hpp"

#include "arch/x86/faults.hpp"
#include "arch/x86/interrupt_timer.hpp"

#include <cstddef>

extern "C" {
extern const std::byte computations_start[], computations_end[];
}

namespace x86 {

namespace {

constinit core::InterruptionListener* the_listener = nullptr;

// Whether a computation is over by one instruction: a #DB is nothing else there.
bool is_step(std::uint64_t vector, core::LinearAddress eip) {
    return vector == static_cast<std::uint64_t>(protocol::exception::debug) &&
           reinterpret_cast<std::uintptr_t>(computations_start) <= eip &&
           eip < reinterpret_cast<std::uintptr_t>(computations_end);
}

core::AfterFault tell(std::uint64_t vector, const core::InterruptedComputation& interrupted) {
    if (vector != timer_vector)
        return the_listener->on_step(interrupted);
    // Acknowledged first: the task that runs then lets the next one in.
    acknowledge_timer_interrupt();
    return the_listener->on_timer();
}

} // namespace

void listen_to_interruptions(core::InterruptionListener& listener) {
    the_listener = &listener;
}

bool handle_interruption(std::uint64_t vector, const core::InterruptedComputation& interrupted) {
    if (vector != timer_vector && !is_step(vector, interrupted.eip))
        return false;
    if (tell(vector, interrupted) == core::AfterFault::end_run)
        finish_run();
    return true;
}

} // namespace x86
