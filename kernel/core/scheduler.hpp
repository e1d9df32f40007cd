// Who runs, who waits for what, and the clock (TASKS.md). Checks of operations are the
// interpreter's: what is asked for here can be done.
#pragma once

#include "core/faults.hpp"
#include "core/progress.hpp"
#include "core/task.hpp"
#include "core/task_processor.hpp"
#include "core/task_stack_pool.hpp"
#include "core/trace.hpp"
#include "protocol.hpp"

#include <cstdint>
#include <span>

namespace core {

// What the program's header says about tasks.
struct SchedulingPolicy {
    protocol::schedule schedule;
    std::uint32_t quantum;
    bool priorities;
};

// What tasks do.
class TaskBodies {
public:
    // Runs on the stack of the task that has this body.
    virtual Progress run_body(std::uint32_t body) = 0;

protected:
    ~TaskBodies() = default;
};

struct SchedulerParts {
    TaskProcessor& processor;
    TaskStackPool& stacks;
    Faults& faults;
    Trace& trace;
};

class Scheduler final : private TaskEntry, private InterruptionListener {
public:
    // Numbers of tasks are places in `tasks`, the first of which is the main task's.
    static constexpr std::size_t task_places = protocol::maximum_tasks + 1;

    // `idle_stack_end`: of the idle task's own stack. What is in `tasks` now is not read.
    Scheduler(const SchedulerParts& parts, const SchedulingPolicy& policy, std::span<Task> tasks,
              LinearAddress idle_stack_end);
    Scheduler(const Scheduler&) = delete;
    Scheduler& operator=(const Scheduler&) = delete;

    // Around the program's operations: tasks and the timer run between them.
    void start(TaskBodies& bodies);
    void stop();

    [[nodiscard]] const SchedulingPolicy& policy() const { return m_policy; }
    [[nodiscard]] Task& running() { return *m_running; }
    [[nodiscard]] bool is_main(const Task& task) const { return &task == &m_tasks[0]; }
    // Goes on also while a task runs.
    [[nodiscard]] const volatile std::uint32_t& clock() const { return m_now; }

    // The running task performs this operation from now on.
    void operation_begins(std::uint32_t number);

    // How many tasks can still be made in this run.
    [[nodiscard]] std::uint32_t tasks_left() const { return protocol::maximum_tasks - m_spawned; }
    // Makes a task that is ready; nothing if there is no stack for it.
    [[nodiscard]] Task* spawn(std::uint32_t body, std::uint8_t priority);

    // Where the running task has to wait, these return when it runs again.
    Progress yield();
    Progress block();
    Progress join(Task& task);
    Progress sleep(std::uint32_t ticks);
    Progress wait_for_all();
    Progress lock(std::uint8_t mutex);

    [[nodiscard]] Task* owner(std::uint8_t mutex) const { return m_mutexes[mutex].owner; }
    // Gives a mutex to the task that has waited for it longest, if there is one. It has to be
    // woken.
    [[nodiscard]] Task* hand_over(std::uint8_t mutex);
    // Whether the task waits in `block`.
    [[nodiscard]] bool is_blocked(const Task& task) const;
    // The task waits, and in no queue any more.
    Progress wake(Task& task, protocol::wake_reason reason);

    // The running task is over: does not return, but to end the run.
    Progress exit();
    // The clock goes on.
    Progress tick();

private:
    struct Mutex {
        Task* owner = nullptr;
        TaskQueue waiting;
    };

    void enter() override;
    AfterFault on_step(const InterruptedComputation& computation) override;
    AfterFault on_timer() override;

    Progress perform_body();
    Progress idle();
    Progress idle_once();
    Progress wait(protocol::wait_reason reason, std::uint32_t on);
    Progress wake(Task& task, protocol::wake_reason reason, std::uint16_t by);
    void become_ready(Task& task);
    [[nodiscard]] TaskQueue* first_ready_queue();
    [[nodiscard]] Task* take_next_task();
    // Lets another task run, if the one that is next has the running one's priority at least.
    Progress give_way(protocol::switch_reason reason);
    Progress switch_to_next(protocol::switch_reason reason);
    Progress switch_to(Task& task, protocol::switch_reason reason);
    Progress arrive(std::uint32_t damaged);
    Progress reclaim();

    SchedulerParts m_parts;
    SchedulingPolicy m_policy;
    std::span<Task> m_tasks;
    LinearAddress m_idle_stack_end;
    TaskBodies* m_bodies = nullptr;
    Task m_idle;
    Task* m_running;
    Task* m_left_for_good = nullptr; // has exited; its stack is still its own
    TaskQueue m_ready[protocol::task_priorities];
    TaskQueue m_sleeping;
    Mutex m_mutexes[protocol::mutexes];
    std::uint32_t m_now = 0;
    std::uint32_t m_slice = 0;   // instructions or ticks that the running task has had
    std::uint32_t m_spawned = 0; // tasks ever
    std::uint32_t m_living = 1;  // tasks that have not exited
    bool m_over = false;         // the run, by a task that is not the main one
};

} // namespace core
