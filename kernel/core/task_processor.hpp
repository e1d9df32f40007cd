// What the scheduler asks of the processor, and of the interrupt timer beside it (TASKS.md). Arch
// code answers; on the host, tests do.
#pragma once

#include "core/processor.hpp"
#include "protocol.hpp"

#include <cstdint>

namespace core {

// Registers begin with these: different ones for each task and index.
[[nodiscard]] constexpr std::uint32_t register_pattern(std::uint32_t task, std::uint32_t index) {
    return (task + 1) * 0x9E3779B1u + index * 0x85EBCA6Bu;
}

// The flags that computations change: CF, PF, AF, ZF, SF, OF (SDM vol. 1, 3.4.3.1).
inline constexpr std::uint32_t status_flags = 0x8D5;

// Where the registers of a task are while another one runs: on its own stack.
struct SavedTask {
    std::uintptr_t stack_pointer = 0;
};

// What a task does when it runs for the first time.
class TaskEntry {
public:
    // Does not return: in the end another task is switched to.
    virtual void enter() = 0;

protected:
    ~TaskEntry() = default;
};

// The registers of a computation.
struct ComputationRegisters {
    std::uint32_t eax, ecx, edx, ebx, ebp, esi, edi;
};

// A computation, interrupted between two instructions.
struct InterruptedComputation {
    LinearAddress eip;
    ComputationRegisters registers;
    std::uint32_t eflags;
};

// Is told of what interrupts a task, by its handler, on that task's stack.
class InterruptionListener {
public:
    // One more instruction of a computation is over.
    virtual AfterFault on_step(const InterruptedComputation& computation) = 0;
    // The timer has ticked.
    virtual AfterFault on_timer() = 0;

protected:
    ~InterruptionListener() = default;
};

// What may interrupt a computation.
enum class Interruption { none, step, timer };

class TaskProcessor {
public:
    virtual void listen(InterruptionListener& listener) = 0;

    // A task that will begin with `entry` when it is switched to, on an empty stack that ends at
    // `stack_end`.
    virtual void prepare(SavedTask& task, LinearAddress stack_end, TaskEntry& entry) = 0;
    // Saves what runs in `from`, and runs `to`. Returns when `from` runs again, and says what is
    // not as it was then: bits as in event::resumed.damaged. `number` is that of the task that is
    // left, and gives the pattern in its registers.
    virtual std::uint32_t switch_tasks(SavedTask& from, const SavedTask& to,
                                       std::uint32_t number) = 0;
    [[nodiscard]] virtual LinearAddress stack_pointer() const = 0;

    // The computation writes to what is at `scratch_address`, of which these are the low 32 bits.
    virtual ComputationRegisters compute(protocol::compute_kind kind,
                                         const ComputationRegisters& start,
                                         Interruption interruption) = 0;
    [[nodiscard]] virtual std::uint32_t scratch_address() const = 0;

    // From now on the timer lets interrupts wait until they are let in. Until then, and after
    // `stop_timer`, no interrupt comes.
    virtual void start_timer() = 0;
    virtual void stop_timer() = 0;
    // Lets interrupts in until the clock, which they change, has come to a tick.
    virtual void spin(const volatile std::uint32_t& clock, std::uint32_t tick) = 0;
    // Halts until an interrupt has come.
    virtual void halt() = 0;

    // Pushes on the stack that is in use, until it overflows.
    virtual Attempt overflow_own_stack() = 0;

protected:
    ~TaskProcessor() = default;
};

} // namespace core
