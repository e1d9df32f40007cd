// What the scheduler knows about a task, and queues of tasks (TASKS.md, "Bodies and tasks").
#pragma once

#include "core/task_processor.hpp"
#include "protocol.hpp"

#include <cstdint>
#include <utility>

namespace core {

struct Task;

// Tasks in the order in which they came. A task is in one queue at most, and knows its successor.
class TaskQueue {
public:
    [[nodiscard]] bool empty() const { return m_first == nullptr; }
    [[nodiscard]] Task* first() const { return m_first; }
    void push(Task& task);
    // The first one, which is in no queue any more; nothing if there is none.
    [[nodiscard]] Task* pop();
    // All of them: this queue is empty then.
    [[nodiscard]] TaskQueue take_all() { return std::exchange(*this, {}); }

private:
    Task* m_first = nullptr;
    Task* m_last = nullptr;
};

enum class TaskState : std::uint8_t { running, ready, waiting, exited };

struct Task {
    std::uint16_t number = 0;
    std::uint16_t stack = protocol::no_stack; // of the pool
    std::uint32_t body = 0;
    std::uint8_t priority = 0; // as it counts
    TaskState state = TaskState::ready;
    protocol::wait_reason waits_for{}; // while it waits
    bool has_run = false;
    bool wake_kept = false;
    std::uint32_t operation = 0; // that it performs
    std::uint32_t wake_tick = 0; // while it sleeps
    SavedTask saved{};           // while another one runs
    TaskQueue joining{};         // those that wait for its end
    Task* next = nullptr;        // in the queue that it is in
};

inline void TaskQueue::push(Task& task) {
    task.next = nullptr;
    (m_first == nullptr ? m_first : m_last->next) = &task;
    m_last = &task;
}

inline Task* TaskQueue::pop() {
    Task* const task = m_first;
    if (task != nullptr)
        m_first = task->next;
    return task;
}

} // namespace core
