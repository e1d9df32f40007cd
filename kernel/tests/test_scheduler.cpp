#include "core/scheduler.hpp"
#include "tests/bytes.hpp"
#include "tests/machine.hpp"
#include "tests/task_events.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

namespace {

using core::Task;
using core::TaskQueue;

// A scheduler of its own, with as many stacks as there can be.
class Fixture {
public:
    tests::Machine machine;
    core::Trace trace{machine.trace_buffer};
    core::Faults faults{trace, tests::Machine::probe_stack};
    std::vector<std::uint32_t> words = std::vector<std::uint32_t>(32);
    core::TaskStackPool stacks{words, protocol::maximum_stacks};
    std::vector<Task> tasks = std::vector<Task>(core::Scheduler::task_places);
    core::Scheduler scheduler{
        {.processor = machine.task_threads, .stacks = stacks, .faults = faults, .trace = trace},
        {.schedule = protocol::schedule::cooperative, .quantum = 1, .priorities = true},
        tasks,
        tests::Machine::idle_stack.end};
};

} // namespace

TEST_CASE("a queue is in the order in which tasks came") {
    Task tasks[3];
    TaskQueue queue;
    CHECK(queue.empty());
    CHECK(queue.pop() == nullptr);
    for (Task& task : tasks)
        queue.push(task);
    CHECK(queue.first() == &tasks[0]);
    CHECK(queue.pop() == &tasks[0]);
    queue.push(tasks[0]);
    CHECK(queue.pop() == &tasks[1]);
    CHECK(queue.pop() == &tasks[2]);
    CHECK(queue.pop() == &tasks[0]);
    CHECK(queue.pop() == nullptr);
    CHECK(queue.empty());
    queue.push(tasks[1]);
    CHECK(queue.first() == &tasks[1]);
    TaskQueue other = queue.take_all();
    CHECK(queue.empty());
    CHECK(other.pop() == &tasks[1]);
    CHECK(other.empty());
}

TEST_CASE_FIXTURE(Fixture, "a run has as many tasks as it may, each on a stack of its own") {
    for (std::uint32_t number = 1; number <= protocol::maximum_tasks; ++number) {
        REQUIRE(scheduler.tasks_left() == protocol::maximum_tasks - number + 1);
        Task* const task = scheduler.spawn(7, 3);
        REQUIRE(task != nullptr);
        CHECK(task->number == number);
        CHECK(task->stack == number - 1);
        CHECK(task->body == 7);
        CHECK(task->priority == 3);
        CHECK(stacks.is_used_by_task(number - 1));
    }
    CHECK(scheduler.tasks_left() == 0);
    CHECK(stacks.free_count() == 0);
}

TEST_CASE_FIXTURE(Fixture, "what an earlier run left in the places of tasks does not matter") {
    for (Task& task : tasks)
        task = {.state = core::TaskState::exited, .has_run = true, .wake_kept = true};
    Task* const task = scheduler.spawn(0, 0);
    CHECK_FALSE(task->has_run);
    CHECK_FALSE(task->wake_kept);
    CHECK(task->state == core::TaskState::ready);
}

TEST_CASE_FIXTURE(Fixture, "a task that no stack is left for is not made") {
    while (stacks.allocate()) {
    }
    CHECK(scheduler.spawn(0, 0) == nullptr);
    CHECK(scheduler.tasks_left() == protocol::maximum_tasks);
    REQUIRE(stacks.free(0xD0000000 + 5 * 8192).has_value());
    Task* const task = scheduler.spawn(0, 0);
    REQUIRE(task != nullptr);
    CHECK(task->number == 1);
    CHECK(task->stack == 5);
}
