#include "core/scheduler.hpp"

#include "core/checksum.hpp"

namespace core {

namespace event = protocol::event;
using protocol::switch_reason;
using protocol::wait_reason;
using protocol::wake_reason;

Scheduler::Scheduler(const SchedulerParts& parts, const SchedulingPolicy& policy,
                     std::span<Task> tasks, LinearAddress idle_stack_end)
    : m_parts(parts), m_policy(policy), m_tasks(tasks), m_idle_stack_end(idle_stack_end),
      m_running(&tasks[0]) {
    m_tasks[0] = {.state = TaskState::running, .has_run = true};
    m_idle.number = protocol::idle_task;
}

void Scheduler::start(TaskBodies& bodies) {
    m_bodies = &bodies;
    m_parts.processor.prepare(m_idle.saved, m_idle_stack_end, *this);
    m_parts.processor.listen(*this);
    if (m_policy.schedule == protocol::schedule::timer)
        m_parts.processor.start_timer();
}

void Scheduler::stop() {
    if (m_policy.schedule == protocol::schedule::timer)
        m_parts.processor.stop_timer();
}

void Scheduler::operation_begins(std::uint32_t number) {
    m_running->operation = number;
    m_parts.faults.operation_begins(number);
}

Task* Scheduler::spawn(std::uint32_t body, std::uint8_t priority) {
    const auto stack = m_parts.stacks.allocate_for_task();
    if (!stack)
        return nullptr;
    ++m_spawned;
    ++m_living;
    Task& task = m_tasks[m_spawned];
    task = {.number = static_cast<std::uint16_t>(m_spawned),
            .stack = static_cast<std::uint16_t>(*stack),
            .body = body,
            .priority = m_policy.priorities ? priority : std::uint8_t{0}};
    m_parts.processor.prepare(task.saved, TaskStackPool::end(*stack), *this);
    become_ready(task);
    return &task;
}

Progress Scheduler::yield() {
    return give_way(switch_reason::yield);
}

Progress Scheduler::block() {
    if (m_running->wake_kept) {
        m_running->wake_kept = false;
        return Progress::going;
    }
    return wait(wait_reason::block, 0);
}

Progress Scheduler::join(Task& task) {
    if (task.state == TaskState::exited)
        return Progress::going;
    task.joining.push(*m_running);
    return wait(wait_reason::join, task.number);
}

Progress Scheduler::sleep(std::uint32_t ticks) {
    m_running->wake_tick = m_now + ticks;
    m_sleeping.push(*m_running);
    return wait(wait_reason::sleep, m_running->wake_tick);
}

Progress Scheduler::wait_for_all() {
    const std::uint32_t others = m_living - 1;
    return others == 0 ? Progress::going : wait(wait_reason::all, others);
}

bool Scheduler::is_blocked(const Task& task) const {
    return task.state == TaskState::waiting && task.waits_for == wait_reason::block;
}

Progress Scheduler::lock(std::uint8_t mutex) {
    Mutex& wanted = m_mutexes[mutex];
    if (wanted.owner == nullptr) {
        wanted.owner = m_running;
        return Progress::going;
    }
    wanted.waiting.push(*m_running);
    return wait(wait_reason::mutex, mutex);
}

Task* Scheduler::hand_over(std::uint8_t mutex) {
    Mutex& given = m_mutexes[mutex];
    given.owner = given.waiting.pop();
    return given.owner;
}

Progress Scheduler::wake(Task& task, wake_reason reason) {
    return wake(task, reason, m_running->number);
}

Progress Scheduler::wake(Task& task, wake_reason reason, std::uint16_t by) {
    become_ready(task);
    return m_parts.trace.write(event::woken{.task = task.number, .reason = reason, .by = by});
}

Progress Scheduler::exit() {
    Task& task = *m_running;
    if (stopped(m_parts.trace.write(event::exited{.task = task.number, .stack = task.stack})))
        return Progress::stopped;
    task.state = TaskState::exited;
    --m_living;
    m_left_for_good = &task;
    while (Task* const joining = task.joining.pop()) {
        if (stopped(wake(*joining, wake_reason::exit)))
            return Progress::stopped;
    }
    Task& main = m_tasks[0];
    const bool main_waits = main.state == TaskState::waiting && main.waits_for == wait_reason::all;
    if (main_waits && m_living == 1 && stopped(wake(main, wake_reason::all)))
        return Progress::stopped;
    return switch_to_next(switch_reason::exit);
}

Progress Scheduler::tick() {
    ++m_now;
    if (stopped(m_parts.trace.write(event::ticked{.now = m_now})))
        return Progress::stopped;
    TaskQueue sleeping = m_sleeping.take_all();
    while (Task* const task = sleeping.pop()) {
        if (task->wake_tick != m_now)
            m_sleeping.push(*task);
        else if (stopped(wake(*task, wake_reason::tick, protocol::idle_task)))
            return Progress::stopped;
    }
    return Progress::going;
}

// A task begins, and so does the idle one. Whatever ends the run from here on, the main task has to
// end it: it is the one that can return from it.
void Scheduler::enter() {
    Progress progress = arrive(0);
    if (!stopped(progress))
        progress = m_running == &m_idle ? idle() : perform_body();
    m_over = stopped(progress);
    m_parts.processor.switch_tasks(m_running->saved, m_tasks[0].saved, m_running->number);
}

Progress Scheduler::perform_body() {
    const Progress progress = m_bodies->run_body(m_running->body);
    return stopped(progress) ? progress : exit();
}

Progress Scheduler::idle() {
    while (!stopped(idle_once())) {
    }
    return Progress::stopped;
}

Progress Scheduler::idle_once() {
    if (Task* const next = take_next_task())
        return switch_to(*next, switch_reason::idle);
    // Nobody else can wake anybody.
    if (m_sleeping.empty())
        return m_parts.trace.panic(protocol::panic_reason::deadlock, m_living);
    if (stopped(m_parts.trace.write(event::idle{.now = m_now})))
        return Progress::stopped;
    if (m_policy.schedule != protocol::schedule::timer)
        return tick();
    m_parts.processor.halt();
    return Progress::going;
}

AfterFault Scheduler::on_step(const InterruptedComputation& computation) {
    if (++m_slice < m_policy.quantum)
        return AfterFault::resume;
    m_slice = 0;
    const auto& registers = computation.registers;
    const std::uint32_t words[] = {
        registers.eax, registers.ecx, registers.edx, registers.ebx,
        registers.ebp, registers.esi, registers.edi, computation.eflags & status_flags};
    const bool over =
        stopped(m_parts.trace.write(event::stepped{.task = m_running->number,
                                                   .eip = computation.eip,
                                                   .registers = checksum(words, 0xFFFFFFFF)})) ||
        stopped(tick()) || stopped(give_way(switch_reason::preempt));
    return over ? AfterFault::end_run : AfterFault::resume;
}

AfterFault Scheduler::on_timer() {
    if (stopped(tick()))
        return AfterFault::end_run;
    // The idle task looks for others itself.
    if (m_running == &m_idle || ++m_slice < m_policy.quantum)
        return AfterFault::resume;
    m_slice = 0;
    return stopped(give_way(switch_reason::preempt)) ? AfterFault::end_run : AfterFault::resume;
}

Progress Scheduler::wait(wait_reason reason, std::uint32_t on) {
    Task& task = *m_running;
    task.state = TaskState::waiting;
    task.waits_for = reason;
    const event::blocked blocked{
        .operation = task.operation, .task = task.number, .reason = reason, .on = on};
    if (stopped(m_parts.trace.write(blocked)))
        return Progress::stopped;
    return switch_to_next(switch_reason::wait);
}

void Scheduler::become_ready(Task& task) {
    task.state = TaskState::ready;
    m_ready[task.priority].push(task);
}

// Without priorities all tasks are in the first of these queues.
TaskQueue* Scheduler::first_ready_queue() {
    for (std::uint32_t priority = protocol::task_priorities; priority-- > 0;) {
        if (!m_ready[priority].empty())
            return &m_ready[priority];
    }
    return nullptr;
}

Task* Scheduler::take_next_task() {
    TaskQueue* const queue = first_ready_queue();
    return queue == nullptr ? nullptr : queue->pop();
}

Progress Scheduler::give_way(switch_reason reason) {
    const TaskQueue* const queue = first_ready_queue();
    if (queue == nullptr || queue->first()->priority < m_running->priority)
        return Progress::going;
    become_ready(*m_running);
    return switch_to_next(reason);
}

Progress Scheduler::switch_to_next(switch_reason reason) {
    Task* const next = take_next_task();
    return switch_to(next == nullptr ? m_idle : *next, reason);
}

Progress Scheduler::switch_to(Task& task, switch_reason reason) {
    Task& left = *m_running;
    if (stopped(m_parts.trace.write(
            event::switched{.from = left.number, .to = task.number, .reason = reason})))
        return Progress::stopped;
    m_running = &task;
    return arrive(m_parts.processor.switch_tasks(left.saved, task.saved, left.number));
}

// The running task is another one than before: here is where it was left, or where it begins.
Progress Scheduler::arrive(std::uint32_t damaged) {
    if (m_over)
        return Progress::stopped;
    Task& task = *m_running;
    task.state = TaskState::running;
    m_slice = 0;
    if (&task != &m_idle)
        m_parts.faults.operation_begins(task.operation);
    if (m_left_for_good != nullptr && stopped(reclaim()))
        return Progress::stopped;
    const auto on_stack = m_parts.stacks.stack_at(m_parts.processor.stack_pointer());
    const auto stack = static_cast<std::uint16_t>(on_stack.value_or(protocol::no_stack));
    if (task.has_run)
        return m_parts.trace.write(
            event::resumed{.task = task.number, .stack = stack, .damaged = damaged});
    task.has_run = true;
    return m_parts.trace.write(event::started{.task = task.number, .stack = stack});
}

Progress Scheduler::reclaim() {
    const Task& task = *std::exchange(m_left_for_good, nullptr);
    m_parts.stacks.reclaim(task.stack);
    return m_parts.trace.write(event::reclaimed{.task = task.number, .stack = task.stack});
}

} // namespace core
