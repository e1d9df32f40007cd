// The operations of tasks (TASKS.md, "Operations").
#include "core/checksum.hpp"
#include "core/features.hpp"
#include "core/interpreter.hpp"

namespace core {

namespace event = protocol::event;
namespace operation = protocol::operation;
using protocol::compute_kind;
using protocol::schedule;
using protocol::spawn_failure;
using protocol::task_failure;

namespace {

constexpr std::uint16_t no_task = protocol::idle_task;

bool is_number_of_ticks(std::uint32_t ticks) {
    return 0 < ticks && ticks <= protocol::maximum_ticks;
}

Interruption interruption_of(schedule schedule) {
    switch (schedule) {
    case schedule::cooperative:
        return Interruption::none;
    case schedule::stepped:
        return Interruption::step;
    case schedule::timer:
        return Interruption::timer;
    }
    return Interruption::none;
}

// The registers in which a computation of a task begins.
ComputationRegisters first_registers(std::uint32_t task, const operation::compute& operation,
                                     std::uint32_t scratch_address) {
    ComputationRegisters registers{.eax = register_pattern(task, 0),
                                   .ecx = operation.iterations,
                                   .edx = register_pattern(task, 2),
                                   .ebx = register_pattern(task, 1),
                                   .ebp = register_pattern(task, 5),
                                   .esi = register_pattern(task, 3),
                                   .edi = register_pattern(task, 4)};
    if (operation.kind == compute_kind::string) {
        registers.ebp = operation.iterations;
        registers.edi = scratch_address;
    }
    return registers;
}

std::uint64_t checksum_of(const ComputationRegisters& registers) {
    const std::uint32_t words[] = {registers.eax, registers.ecx, registers.edx, registers.ebx,
                                   registers.ebp, registers.esi, registers.edi};
    return checksum(words, 0xFFFFFFFF);
}

} // namespace

Progress Interpreter::perform(const operation::spawn& operation) {
    if (operation.body >= m_bodies.count())
        return report_spawn_failed(spawn_failure::no_body);
    if (operation.priority >= protocol::task_priorities)
        return report_spawn_failed(spawn_failure::bad_priority);
    if (m_parts.scheduler.tasks_left() == 0)
        return report_spawn_failed(spawn_failure::no_task);
    Task* const task =
        are_stacks_usable() ? m_parts.scheduler.spawn(operation.body, operation.priority) : nullptr;
    if (task == nullptr)
        return report_spawn_failed(spawn_failure::no_stack);
    m_grants[m_operation].task = task;
    return m_parts.trace.write(event::spawned{.operation = m_operation,
                                              .task = task->number,
                                              .body = operation.body,
                                              .priority = operation.priority,
                                              .stack = task->stack});
}

Progress Interpreter::perform(const operation::yield&) {
    return m_parts.scheduler.yield();
}

Progress Interpreter::perform(const operation::block&) {
    Scheduler& scheduler = m_parts.scheduler;
    if (scheduler.is_main(scheduler.running()))
        return report_task_rejected(task_failure::main_task);
    return report_proceeded(scheduler.block());
}

Progress Interpreter::perform(const operation::wake& operation) {
    Task* const task = granted_task(operation.operation);
    if (task == nullptr)
        return report_task_rejected(task_failure::not_spawned);
    if (task->state == TaskState::exited)
        return report_task_rejected(task_failure::exited);
    if (m_parts.scheduler.is_blocked(*task))
        return m_parts.scheduler.wake(*task, protocol::wake_reason::wake);
    task->wake_kept = true;
    return m_parts.trace.write(event::wake_kept{.operation = m_operation, .task = task->number});
}

Progress Interpreter::perform(const operation::join& operation) {
    Task* const task = granted_task(operation.operation);
    if (task == nullptr)
        return report_task_rejected(task_failure::not_spawned);
    if (task == &m_parts.scheduler.running())
        return report_task_rejected(task_failure::itself);
    return report_proceeded(m_parts.scheduler.join(*task));
}

Progress Interpreter::perform(const operation::sleep& operation) {
    if (!is_number_of_ticks(operation.ticks))
        return report_task_rejected(task_failure::bad_value);
    return report_proceeded(m_parts.scheduler.sleep(operation.ticks));
}

Progress Interpreter::perform(const operation::tick&) {
    if (m_parts.scheduler.policy().schedule == schedule::timer)
        return report_task_rejected(task_failure::wrong_schedule);
    return m_parts.scheduler.tick();
}

Progress Interpreter::perform(const operation::exit&) {
    Scheduler& scheduler = m_parts.scheduler;
    if (scheduler.is_main(scheduler.running()))
        return report_task_rejected(task_failure::main_task);
    return scheduler.exit();
}

Progress Interpreter::perform(const operation::compute& operation) {
    if (!is_known(operation.kind) || operation.iterations == 0 ||
        operation.iterations > protocol::maximum_iterations)
        return report_task_rejected(task_failure::bad_value);
    const std::uint16_t task = m_parts.scheduler.running().number;
    TaskProcessor& processor = m_parts.task_processor;
    const auto registers = processor.compute(
        operation.kind, first_registers(task, operation, processor.scratch_address()),
        interruption_of(m_parts.scheduler.policy().schedule));
    return m_parts.trace.write(event::computed{
        .operation = m_operation, .task = task, .registers = checksum_of(registers)});
}

Progress Interpreter::perform(const operation::spin& operation) {
    if (m_parts.scheduler.policy().schedule != schedule::timer)
        return report_task_rejected(task_failure::wrong_schedule);
    if (!is_number_of_ticks(operation.ticks))
        return report_task_rejected(task_failure::bad_value);
    const volatile std::uint32_t& clock = m_parts.scheduler.clock();
    m_parts.task_processor.spin(clock, clock + operation.ticks);
    return report_proceeded(Progress::going);
}

Progress Interpreter::perform(const operation::lock& operation) {
    if (operation.mutex >= protocol::mutexes)
        return report_task_rejected(task_failure::bad_value);
    Scheduler& scheduler = m_parts.scheduler;
    if (scheduler.owner(operation.mutex) == &scheduler.running())
        return report_task_rejected(task_failure::already_owner);
    const Progress progress = scheduler.lock(operation.mutex);
    return stopped(progress) ? progress
                             : m_parts.trace.write(event::locked{.operation = m_operation,
                                                                 .task = scheduler.running().number,
                                                                 .mutex = operation.mutex});
}

Progress Interpreter::perform(const operation::unlock& operation) {
    if (operation.mutex >= protocol::mutexes)
        return report_task_rejected(task_failure::bad_value);
    Scheduler& scheduler = m_parts.scheduler;
    if (scheduler.owner(operation.mutex) != &scheduler.running())
        return report_task_rejected(task_failure::not_owner);
    Task* const next = scheduler.hand_over(operation.mutex);
    const event::unlocked unlocked{.operation = m_operation,
                                   .task = scheduler.running().number,
                                   .mutex = operation.mutex,
                                   .next = next == nullptr ? no_task : next->number};
    if (stopped(m_parts.trace.write(unlocked)))
        return Progress::stopped;
    return next == nullptr ? Progress::going : scheduler.wake(*next, protocol::wake_reason::mutex);
}

Progress Interpreter::perform(const operation::overflow_own&) {
    Scheduler& scheduler = m_parts.scheduler;
    if (scheduler.is_main(scheduler.running()))
        return report_task_rejected(task_failure::main_task);
    return report_attempt(m_parts.task_processor.overflow_own_stack());
}

bool Interpreter::are_stacks_usable() const {
    // Where it is not enabled, XD is a reserved bit (SDM vol. 3, 4.4.2).
    const Processor& processor = m_parts.processor;
    return m_parts.probe_area.mode() == PagingMode::legacy ||
           !has(processor.features(), Feature::no_execute) ||
           (processor.control_registers().efer & efer_no_execute) != 0;
}

Task* Interpreter::granted_task(std::uint32_t operation) const {
    return operation < m_operation ? m_grants[operation].task : nullptr;
}

Progress Interpreter::report_spawn_failed(spawn_failure reason) {
    return m_parts.trace.write(event::spawn_failed{.operation = m_operation, .reason = reason});
}

Progress Interpreter::report_proceeded(Progress waited) {
    if (stopped(waited))
        return waited;
    return m_parts.trace.write(
        event::proceeded{.operation = m_operation, .task = m_parts.scheduler.running().number});
}

Progress Interpreter::report_task_rejected(task_failure reason) {
    return m_parts.trace.write(event::task_rejected{
        .operation = m_operation, .task = m_parts.scheduler.running().number, .reason = reason});
}

} // namespace core
