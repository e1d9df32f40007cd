#include "core/checksum.hpp"
#include "tests/bytes.hpp"
#include "tests/interpreter_fixture.hpp"
#include "tests/task_events.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace {

namespace event = protocol::event;
namespace operation = protocol::operation;
// Has three stacks.
using Fixture = tests::InterpreterFixture;
using PaeFixture = tests::PaeInterpreterFixture;
using protocol::compute_kind;
using protocol::schedule;
using protocol::spawn_failure;
using protocol::switch_reason;
using protocol::task_failure;
using protocol::wait_reason;
using protocol::wake_reason;
using namespace tests;

using Calls = std::vector<std::string>;

operation::spawn spawn(std::uint32_t body, std::uint8_t priority = 0) {
    return {.body = body, .priority = priority};
}

operation::wake wake(std::uint32_t number) {
    return {.operation = number};
}

operation::join join(std::uint32_t number) {
    return {.operation = number};
}

operation::sleep sleep(std::uint32_t ticks) {
    return {.ticks = ticks};
}

operation::compute compute(compute_kind kind, std::uint32_t iterations) {
    return {.kind = kind, .iterations = iterations};
}

constexpr operation::body body{};
constexpr operation::count count{};
constexpr operation::yield yield{};
constexpr operation::block block{};
constexpr operation::exit leave{};

// The main task, at the end of so many operations, waits for so many others.
event::blocked waits_for_all(std::uint32_t operations, std::uint32_t tasks) {
    return blocked(operations, 0, wait_reason::all, tasks);
}

} // namespace

TEST_CASE_FIXTURE(Fixture, "tasks take turns, in the order in which they became ready") {
    CHECK_RECORDS(
        run(spawn(0), spawn(1), count, body, count, yield, count, body, count),
        records_of(spawned(0, 1, 0, 0), spawned(1, 2, 1, 1), counted(2, 8), waits_for_all(9, 2),
                   switched(0, 1, switch_reason::wait), started(1, 0), counted(4, 8),
                   switched(1, 2, switch_reason::yield), started(2, 1), counted(8, 8), exited(2, 1),
                   switched(2, 1, switch_reason::exit), reclaimed(2, 1), resumed(1, 0),
                   counted(6, 8), exited(1, 0), woken(0, wake_reason::all, 1),
                   switched(1, 0, switch_reason::exit), reclaimed(1, 0), resumed(0, no_stack)));
    CHECK(progress == core::Progress::going);
    CHECK(machine.task_threads.calls.empty());
    CHECK(stacks.free_count() == 3);
}

TEST_CASE_FIXTURE(Fixture, "without tasks there is nothing to switch to, and nothing to say") {
    CHECK_RECORDS(run(yield, count), records_of(counted(1, 8)));
    CHECK_RECORDS(run(body, count), Records{});
}

TEST_CASE_FIXTURE(Fixture, "a list of operations ends at the next body, and may be empty") {
    CHECK_RECORDS(run(spawn(0), body, body, count),
                  records_of(spawned(0, 1, 0, 0), waits_for_all(4, 1),
                             switched(0, 1, switch_reason::wait), started(1, 0), exited(1, 0),
                             woken(0, wake_reason::all, 1), switched(1, 0, switch_reason::exit),
                             reclaimed(1, 0), resumed(0, no_stack)));
}

TEST_CASE_FIXTURE(Fixture, "priorities come first, where the program wants them") {
    const auto events = run_with_header(header_with_priorities(), spawn(0, 1), spawn(0, 3),
                                        spawn(0, 1), yield, body, yield, leave);
    CHECK_RECORDS(events,
                  records_of(spawned(0, 1, 0, 0, 1), spawned(1, 2, 0, 1, 3), spawned(2, 3, 0, 2, 1),
                             switched(0, 2, switch_reason::yield), started(2, 1), exited(2, 1),
                             switched(2, 1, switch_reason::exit), reclaimed(2, 1), started(1, 0),
                             switched(1, 3, switch_reason::yield), started(3, 2),
                             switched(3, 1, switch_reason::yield), resumed(1, 0), exited(1, 0),
                             switched(1, 3, switch_reason::exit), reclaimed(1, 0), resumed(3, 2),
                             exited(3, 2), switched(3, 0, switch_reason::exit), reclaimed(3, 2),
                             resumed(0, no_stack)));
}

TEST_CASE_FIXTURE(Fixture, "a priority is remembered, but does not count where it should not") {
    const auto events = run(spawn(0, 1), spawn(0, 3), body);
    CHECK(only<event::spawned>(events) ==
          records_of(spawned(0, 1, 0, 0, 1), spawned(1, 2, 0, 1, 3)));
    CHECK(only<event::started>(events) == records_of(started(1, 0), started(2, 1)));
}

TEST_CASE_FIXTURE(Fixture, "what cannot be spawned is checked in order") {
    CHECK_RECORDS(run(spawn(0, 4)), records_of(spawn_failed(0, spawn_failure::no_body)));
    CHECK_RECORDS(run(spawn(1, 4), spawn(0xFFFFFFFF), body),
                  records_of(spawn_failed(0, spawn_failure::no_body),
                             spawn_failed(1, spawn_failure::no_body)));
    const auto events = run(spawn(0, 4), spawn(0, 255), spawn(0, 3), spawn(0), spawn(0),
                            spawn(0, 4), spawn(0), body);
    CHECK_RECORDS(Records(events.begin(), events.begin() + 7),
                  records_of(spawn_failed(0, spawn_failure::bad_priority),
                             spawn_failed(1, spawn_failure::bad_priority), spawned(2, 1, 0, 0, 3),
                             spawned(3, 2, 0, 1), spawned(4, 3, 0, 2),
                             spawn_failed(5, spawn_failure::bad_priority),
                             spawn_failed(6, spawn_failure::no_stack)));
}

TEST_CASE_FIXTURE(Fixture, "a stack is free again when another task runs, and a number never is") {
    const auto events = run(spawn(0), yield, spawn(0), yield, body);
    CHECK_RECORDS(events,
                  records_of(spawned(0, 1, 0, 0), switched(0, 1, switch_reason::yield),
                             started(1, 0), exited(1, 0), switched(1, 0, switch_reason::exit),
                             reclaimed(1, 0), resumed(0, no_stack), spawned(2, 2, 0, 0),
                             switched(0, 2, switch_reason::yield), started(2, 0), exited(2, 0),
                             switched(2, 0, switch_reason::exit), reclaimed(2, 0),
                             resumed(0, no_stack)));
}

TEST_CASE_FIXTURE(Fixture, "a task blocks until it is woken; one wake is kept, not several") {
    CHECK_RECORDS(
        run(spawn(0), wake(0), wake(0), yield, wake(0), yield, wake(0), body, block, block),
        records_of(spawned(0, 1, 0, 0), wake_kept(1, 1), wake_kept(2, 1),
                   switched(0, 1, switch_reason::yield), started(1, 0), proceeded(8, 1),
                   blocked(9, 1, wait_reason::block), switched(1, 0, switch_reason::wait),
                   resumed(0, no_stack), woken(1, wake_reason::wake, 0),
                   switched(0, 1, switch_reason::yield), resumed(1, 0), proceeded(9, 1),
                   exited(1, 0), switched(1, 0, switch_reason::exit), reclaimed(1, 0),
                   resumed(0, no_stack), task_rejected(6, 0, task_failure::exited)));
}

TEST_CASE_FIXTURE(Fixture, "only who waits in `block` is woken; for others the wake is kept") {
    const auto events =
        run(spawn(0), spawn(1), yield, wake(1), operation::tick{}, yield, body, sleep(1), body,
            operation::wake{.operation = 0}, operation::wake{.operation = 1}, join(0), block);
    CHECK_RECORDS(only<event::woken>(events),
                  records_of(woken(1, wake_reason::tick, no_task), woken(2, wake_reason::exit, 1),
                             woken(0, wake_reason::all, 2)));
    CHECK_RECORDS(only<event::wake_kept>(events),
                  records_of(wake_kept(9, 1), wake_kept(10, 2), wake_kept(3, 2)));
    CHECK(only<event::proceeded>(events) ==
          records_of(proceeded(7, 1), proceeded(11, 2), proceeded(12, 2)));
}

TEST_CASE_FIXTURE(Fixture, "only what has spawned a task can be woken or joined") {
    const auto not_spawned = task_failure::not_spawned;
    CHECK_RECORDS(run(count, wake(0), wake(1), wake(2), join(0), join(4), join(9), wake(0xFFFFFFFF),
                      spawn(7), join(8), body),
                  records_of(counted(0, 8), task_rejected(1, 0, not_spawned),
                             task_rejected(2, 0, not_spawned), task_rejected(3, 0, not_spawned),
                             task_rejected(4, 0, not_spawned), task_rejected(5, 0, not_spawned),
                             task_rejected(6, 0, not_spawned), task_rejected(7, 0, not_spawned),
                             spawn_failed(8, spawn_failure::no_body),
                             task_rejected(9, 0, not_spawned)));
}

TEST_CASE_FIXTURE(Fixture, "what nobody has performed was given nothing") {
    // The task of body 1 asks for what body 0 would have been given.
    const auto events = run(spawn(1), body, spawn(0), operation::allocate{}, body, join(2),
                            operation::free{.operation = 3}, operation::stack_free{.operation = 3});
    CHECK(only<event::task_rejected>(events) ==
          records_of(task_rejected(5, 1, task_failure::not_spawned)));
    CHECK(only<event::free_rejected>(events).size() == 1);
    CHECK(only<event::stack_rejected>(events).size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "an operation was given what it was given last, by whichever task") {
    // There are four frames in a row, twice: the third task gets none, and frees nothing.
    const operation::allocate_run four{.count = 4, .alignment = 1};
    const auto events =
        run(spawn(0), spawn(0), spawn(0), body, four, yield, operation::free{.operation = 4});
    CHECK(only<event::allocated>(events).size() == 2);
    CHECK(only<event::allocation_failed>(events).size() == 1);
    CHECK(only<event::freed>(events).empty());
    CHECK(only<event::free_rejected>(events).size() == 3);
}

TEST_CASE_FIXTURE(Fixture, "a task is joined by several, in turn, and by nobody at its end") {
    CHECK_RECORDS(
        run(spawn(0), spawn(1), spawn(1), join(0), join(0), body, yield, join(0), body, join(0)),
        records_of(
            spawned(0, 1, 0, 0), spawned(1, 2, 1, 1), spawned(2, 3, 1, 2),
            blocked(3, 0, wait_reason::join, 1), switched(0, 1, switch_reason::wait), started(1, 0),
            switched(1, 2, switch_reason::yield), started(2, 1),
            blocked(9, 2, wait_reason::join, 1), switched(2, 3, switch_reason::wait), started(3, 2),
            blocked(9, 3, wait_reason::join, 1), switched(3, 1, switch_reason::wait), resumed(1, 0),
            task_rejected(7, 1, task_failure::itself), exited(1, 0), woken(0, wake_reason::exit, 1),
            woken(2, wake_reason::exit, 1), woken(3, wake_reason::exit, 1),
            switched(1, 0, switch_reason::exit), reclaimed(1, 0), resumed(0, no_stack),
            proceeded(3, 0), proceeded(4, 0), waits_for_all(10, 2),
            switched(0, 2, switch_reason::wait), resumed(2, 1), proceeded(9, 2), exited(2, 1),
            switched(2, 3, switch_reason::exit), reclaimed(2, 1), resumed(3, 2), proceeded(9, 3),
            exited(3, 2), woken(0, wake_reason::all, 3), switched(3, 0, switch_reason::exit),
            reclaimed(3, 2), resumed(0, no_stack)));
}

TEST_CASE_FIXTURE(Fixture, "the idle task lets the clock go on, for those who sleep") {
    CHECK_RECORDS(
        run(spawn(0), spawn(1), sleep(2), body, sleep(3), body, sleep(2)),
        records_of(
            spawned(0, 1, 0, 0), spawned(1, 2, 1, 1), blocked(2, 0, wait_reason::sleep, 2),
            switched(0, 1, switch_reason::wait), started(1, 0),
            blocked(4, 1, wait_reason::sleep, 3), switched(1, 2, switch_reason::wait),
            started(2, 1), blocked(6, 2, wait_reason::sleep, 2),
            switched(2, idle_task, switch_reason::wait), started(idle_task, no_stack), idle(0),
            ticked(1), idle(1), ticked(2), woken(0, wake_reason::tick, no_task),
            woken(2, wake_reason::tick, no_task), switched(idle_task, 0, switch_reason::idle),
            resumed(0, no_stack), proceeded(2, 0), waits_for_all(7, 2),
            switched(0, 2, switch_reason::wait), resumed(2, 1), proceeded(6, 2), exited(2, 1),
            switched(2, idle_task, switch_reason::exit), reclaimed(2, 1),
            resumed(idle_task, no_stack), idle(2), ticked(3), woken(1, wake_reason::tick, no_task),
            switched(idle_task, 1, switch_reason::idle), resumed(1, 0), proceeded(4, 1),
            exited(1, 0), woken(0, wake_reason::all, 1), switched(1, 0, switch_reason::exit),
            reclaimed(1, 0), resumed(0, no_stack)));
}

TEST_CASE_FIXTURE(Fixture, "a task can let the clock go on, and sleeps from now") {
    CHECK_RECORDS(run(operation::tick{}, spawn(0), yield, operation::tick{}, body, sleep(1)),
                  records_of(ticked(1), spawned(1, 1, 0, 0), switched(0, 1, switch_reason::yield),
                             started(1, 0), blocked(5, 1, wait_reason::sleep, 2),
                             switched(1, 0, switch_reason::wait), resumed(0, no_stack), ticked(2),
                             woken(1, wake_reason::tick, no_task), waits_for_all(6, 1),
                             switched(0, 1, switch_reason::wait), resumed(1, 0), proceeded(5, 1),
                             exited(1, 0), woken(0, wake_reason::all, 1),
                             switched(1, 0, switch_reason::exit), reclaimed(1, 0),
                             resumed(0, no_stack)));
}

TEST_CASE_FIXTURE(Fixture, "one sleeps for 1 to 1000 ticks") {
    const auto bad_value = task_failure::bad_value;
    const auto events = run(sleep(0), sleep(1001), sleep(0xFFFFFFFF), sleep(1000));
    CHECK_RECORDS(Records(events.begin(), events.begin() + 4),
                  records_of(task_rejected(0, 0, bad_value), task_rejected(1, 0, bad_value),
                             task_rejected(2, 0, bad_value),
                             blocked(3, 0, wait_reason::sleep, 1000)));
    CHECK(only<event::ticked>(events).size() == 1000);
    CHECK(progress == core::Progress::going);
}

TEST_CASE_FIXTURE(Fixture, "the main task cannot block, exit or overflow its stack") {
    const auto main_task = task_failure::main_task;
    CHECK_RECORDS(run(block, leave, operation::overflow_own{}),
                  records_of(task_rejected(0, 0, main_task), task_rejected(1, 0, main_task),
                             task_rejected(2, 0, main_task)));
    CHECK(machine.task_threads.calls.empty());
}

TEST_CASE_FIXTURE(Fixture, "where nothing can ever run again, the idle task says so") {
    CHECK_RECORDS(run(spawn(0), join(0), count, body, block, count),
                  records_of(spawned(0, 1, 0, 0), blocked(1, 0, wait_reason::join, 1),
                             switched(0, 1, switch_reason::wait), started(1, 0),
                             blocked(4, 1, wait_reason::block),
                             switched(1, idle_task, switch_reason::wait),
                             started(idle_task, no_stack), deadlock(2)));
    CHECK(progress == core::Progress::stopped);
}

TEST_CASE_FIXTURE(Fixture, "exited tasks are not among those that a deadlock leaves") {
    const auto events = run(spawn(0), spawn(0), spawn(1), body, leave, body, block);
    CHECK(events.back() == record_of(deadlock(2)));
}

TEST_CASE_FIXTURE(Fixture, "a mutex is handed to who has waited for it longest") {
    const operation::lock lock{.mutex = 7};
    const operation::unlock unlock{.mutex = 7};
    CHECK_RECORDS(
        run(lock, lock, spawn(0), spawn(0), yield, unlock, unlock, lock, unlock, body, lock,
            unlock),
        records_of(
            locked(0, 0, 7), task_rejected(1, 0, task_failure::already_owner), spawned(2, 1, 0, 0),
            spawned(3, 2, 0, 1), switched(0, 1, switch_reason::yield), started(1, 0),
            blocked(10, 1, wait_reason::mutex, 7), switched(1, 2, switch_reason::wait),
            started(2, 1), blocked(10, 2, wait_reason::mutex, 7),
            switched(2, 0, switch_reason::wait), resumed(0, no_stack), unlocked(5, 0, 7, 1),
            woken(1, wake_reason::mutex, 0), task_rejected(6, 0, task_failure::not_owner),
            blocked(7, 0, wait_reason::mutex, 7), switched(0, 1, switch_reason::wait),
            resumed(1, 0), locked(10, 1, 7), unlocked(11, 1, 7, 2), woken(2, wake_reason::mutex, 1),
            exited(1, 0), switched(1, 2, switch_reason::exit), reclaimed(1, 0), resumed(2, 1),
            locked(10, 2, 7), unlocked(11, 2, 7, 0), woken(0, wake_reason::mutex, 2), exited(2, 1),
            switched(2, 0, switch_reason::exit), reclaimed(2, 1), resumed(0, no_stack),
            locked(7, 0, 7), unlocked(8, 0, 7)));
}

TEST_CASE_FIXTURE(Fixture, "there are eight mutexes, and who exits keeps them") {
    const operation::lock wrong{.mutex = 8};
    const operation::unlock wrong_too{.mutex = 255};
    const auto events = run(wrong, wrong_too, operation::unlock{.mutex = 0}, spawn(0), yield,
                            operation::lock{.mutex = 6}, operation::lock{.mutex = 5}, body,
                            operation::lock{.mutex = 5});
    CHECK(only<event::task_rejected>(events) ==
          records_of(task_rejected(0, 0, task_failure::bad_value),
                     task_rejected(1, 0, task_failure::bad_value),
                     task_rejected(2, 0, task_failure::not_owner)));
    CHECK(only<event::locked>(events) == records_of(locked(8, 1, 5), locked(5, 0, 6)));
    CHECK(events.back() == record_of(deadlock(1)));
}

TEST_CASE_FIXTURE(Fixture, "a computation begins with the task's pattern, and its end is checked") {
    const auto events = run(spawn(0), compute(compute_kind::arithmetic, 65536), body,
                            compute(compute_kind::string, 3));
    REQUIRE(machine.task_threads.calls.size() == 2);
    // Kind, EAX, ECX, EDX, EBX, EBP, ESI, EDI, what interrupts it.
    CHECK(machine.task_threads.calls[0] ==
          "compute 0 9e3779b1 10000 aa0f0e87 2423441c 3bd26dc8 2ffad8f2 b5e6a35d 0");
    CHECK(machine.task_threads.calls[1] ==
          "compute 1 3c6ef362 3 48468838 c25abdcd 3 ce3252a3 c0123450 0");
    const std::uint32_t words[] = {0x9E3779B2, 0x00010000, 0xAA0F0E87, 0x2423441C,
                                   0x3BD26DC8, 0x2FFAD8F2, 0xB5E6A35D};
    CHECK(only<event::computed>(events)[0] ==
          record_of(event::computed{
              .operation = 1, .task = 0, .registers = core::checksum(words, 0xFFFFFFFF)}));
}

TEST_CASE_FIXTURE(Fixture, "computations of no kind, or with no bound, are rejected") {
    const auto bad_value = task_failure::bad_value;
    CHECK_RECORDS(run(compute(compute_kind{5}, 1), compute(compute_kind::flags, 0),
                      compute(compute_kind::flags, 65537)),
                  records_of(task_rejected(0, 0, bad_value), task_rejected(1, 0, bad_value),
                             task_rejected(2, 0, bad_value)));
    CHECK(machine.task_threads.calls.empty());
}

TEST_CASE_FIXTURE(Fixture, "each schedule interrupts computations in its own way") {
    run_with_header(header_of(schedule::stepped, 100), compute(compute_kind::interrupt, 1));
    run_with_header(header_of(schedule::timer, 100), compute(compute_kind::interrupt, 1));
    const std::string start = "compute 4 9e3779b1 1 aa0f0e87 2423441c 3bd26dc8 2ffad8f2 b5e6a35d ";
    CHECK(machine.task_threads.calls ==
          Calls{start + "1", "start_timer", start + "2", "stop_timer"});
}

TEST_CASE_FIXTURE(Fixture, "after as many instructions as the quantum the next task runs") {
    machine.task_threads.steps = 3;
    const auto events =
        run_with_header(header_of(schedule::stepped, 4), spawn(0), compute(compute_kind::flags, 1),
                        compute(compute_kind::flags, 1), body, compute(compute_kind::flags, 1));
    const std::uint32_t eip = TaskThreads::first_eip;
    const auto stepped = [&](std::uint16_t task, std::uint32_t step) {
        const std::uint32_t first = core::register_pattern(task, 0);
        CHECK(first != 0);
        const std::uint32_t words[] = {step,
                                       1,
                                       core::register_pattern(task, 2),
                                       core::register_pattern(task, 1),
                                       core::register_pattern(task, 5),
                                       core::register_pattern(task, 3),
                                       core::register_pattern(task, 4),
                                       0x8D5};
        return event::stepped{
            .task = task, .eip = eip + step, .registers = core::checksum(words, 0xFFFFFFFF)};
    };
    CHECK_RECORDS(only<event::stepped>(events), records_of(stepped(0, 0)));
    CHECK_RECORDS(only<event::ticked>(events), records_of(ticked(1)));
    CHECK_RECORDS(only<event::switched>(events), records_of(switched(0, 1, switch_reason::preempt),
                                                            switched(1, 0, switch_reason::exit)));
}

TEST_CASE_FIXTURE(Fixture, "a new time slice begins with each switch and each time one is over") {
    machine.task_threads.steps = 5;
    // The main task is alone: it goes on, and its slice begins again.
    const auto alone =
        run_with_header(header_of(schedule::stepped, 2), compute(compute_kind::flags, 1),
                        compute(compute_kind::flags, 1));
    CHECK(only<event::stepped>(alone).size() == 5);
    CHECK(only<event::switched>(alone).empty());
    // Two more instructions than in a slice, but never as many without a switch.
    const auto switching = run_with_header(
        header_of(schedule::stepped, 6), spawn(0), compute(compute_kind::flags, 1), yield,
        compute(compute_kind::flags, 1), body, compute(compute_kind::flags, 1), yield);
    CHECK(only<event::stepped>(switching).empty());
}

TEST_CASE_FIXTURE(Fixture, "who computes goes on if only tasks of a lower priority are ready") {
    machine.task_threads.steps = 4;
    auto header = header_with_priorities();
    header.schedule = static_cast<std::uint32_t>(schedule::stepped);
    header.quantum = 2;
    const auto events = run_with_header(header, spawn(0, 2), yield, body, spawn(1, 1),
                                        compute(compute_kind::flags, 1), yield, body, count);
    CHECK(only<event::stepped>(events).size() == 2);
    CHECK_RECORDS(only<event::switched>(events), records_of(switched(0, 1, switch_reason::yield),
                                                            switched(1, 2, switch_reason::exit),
                                                            switched(2, 0, switch_reason::exit)));
}

TEST_CASE_FIXTURE(Fixture, "the timer ends a time slice after as many ticks as the quantum") {
    machine.task_threads.ticks = 3;
    const auto events =
        run_with_header(header_of(schedule::timer, 2), spawn(0), compute(compute_kind::flags, 1),
                        body, compute(compute_kind::flags, 1));
    const auto computed = only<event::computed>(events);
    REQUIRE(computed.size() == 2);
    CHECK_RECORDS(
        events, records_of(spawned(0, 1, 0, 0), ticked(1), ticked(2),
                           switched(0, 1, switch_reason::preempt), started(1, 0), ticked(3),
                           ticked(4), switched(1, 0, switch_reason::preempt), resumed(0, no_stack),
                           ticked(5), event_in<event::computed>(computed[0]), waits_for_all(4, 1),
                           switched(0, 1, switch_reason::wait), resumed(1, 0), ticked(6),
                           event_in<event::computed>(computed[1]), exited(1, 0),
                           woken(0, wake_reason::all, 1), switched(1, 0, switch_reason::exit),
                           reclaimed(1, 0), resumed(0, no_stack)));
}

TEST_CASE_FIXTURE(Fixture, "a slice of time that nobody else could use begins again") {
    machine.task_threads.ticks = 4;
    const auto events =
        run_with_header(header_of(schedule::timer, 3), compute(compute_kind::flags, 1), spawn(0),
                        compute(compute_kind::flags, 1), body);
    // Ticks 1 to 3 were one slice, and 4 to 6 are the next one.
    const auto computed = only<event::computed>(events);
    REQUIRE(computed.size() == 2);
    CHECK_RECORDS(Records(events.begin(), events.begin() + 10),
                  records_of(ticked(1), ticked(2), ticked(3), ticked(4),
                             event_in<event::computed>(computed[0]), spawned(1, 1, 0, 0), ticked(5),
                             ticked(6), switched(0, 1, switch_reason::preempt), started(1, 0)));
}

TEST_CASE_FIXTURE(Fixture, "the idle task has no slice of time: it gives way by itself") {
    const auto events = run_with_header(header_of(schedule::timer, 1), sleep(2), sleep(1));
    CHECK_RECORDS(only<event::switched>(events),
                  records_of(switched(0, idle_task, switch_reason::wait),
                             switched(idle_task, 0, switch_reason::idle),
                             switched(0, idle_task, switch_reason::wait),
                             switched(idle_task, 0, switch_reason::idle)));
    CHECK(progress == core::Progress::going);
}

TEST_CASE_FIXTURE(Fixture, "with a timer one spins or sleeps, and the idle task halts") {
    const auto wrong_schedule = task_failure::wrong_schedule;
    const auto events = run_with_header(header_of(schedule::timer, 100), operation::tick{},
                                        operation::spin{.ticks = 0}, operation::spin{.ticks = 1001},
                                        operation::spin{.ticks = 2}, sleep(2));
    CHECK_RECORDS(
        events,
        records_of(
            task_rejected(0, 0, wrong_schedule), task_rejected(1, 0, task_failure::bad_value),
            task_rejected(2, 0, task_failure::bad_value), ticked(1), ticked(2), proceeded(3, 0),
            blocked(4, 0, wait_reason::sleep, 4), switched(0, idle_task, switch_reason::wait),
            started(idle_task, no_stack), idle(2), ticked(3), idle(3), ticked(4),
            woken(0, wake_reason::tick, no_task), switched(idle_task, 0, switch_reason::idle),
            resumed(0, no_stack), proceeded(4, 0)));
    CHECK(machine.task_threads.calls == Calls{"start_timer", "spin", "halt", "halt", "stop_timer"});
}

TEST_CASE_FIXTURE(Fixture, "without a timer nobody spins") {
    CHECK_RECORDS(run(operation::spin{.ticks = 0}),
                  records_of(task_rejected(0, 0, task_failure::wrong_schedule)));
    CHECK_RECORDS(run_with_header(header_of(schedule::stepped, 1), operation::spin{.ticks = 1}),
                  records_of(task_rejected(0, 0, task_failure::wrong_schedule)));
    CHECK(machine.task_threads.calls.empty());
}

TEST_CASE_FIXTURE(Fixture, "even the idle task ends the run when the timer is on") {
    const auto events =
        run_with_header(header_of(schedule::timer, 1), spawn(0), join(0), body, block);
    CHECK(events.back() == record_of(deadlock(2)));
    CHECK(machine.task_threads.calls == Calls{"start_timer", "stop_timer"});
}

TEST_CASE_FIXTURE(Fixture, "what a switch has damaged is said where the task goes on") {
    machine.task_threads.damaged[1] = 0x55;
    const auto events = run(spawn(0), yield, yield, body, yield, yield);
    CHECK_RECORDS(only<event::resumed>(events),
                  records_of(resumed(0, no_stack), resumed(1, 0, 0x55), resumed(0, no_stack),
                             resumed(1, 0, 0x55), resumed(0, no_stack)));
}

TEST_CASE_FIXTURE(Fixture, "a fault is recorded at the operation of the task that runs") {
    machine.processor.expected_fault =
        tests::fault(protocol::exception::divide_error, 0xC0101234, 0xC0104000);
    // The task of body 0 waits at operation 5 while the main task reloads at 2.
    const auto events = run(spawn(0), yield, operation::reload{}, count, body, yield);
    const auto faults = only<event::fault>(events);
    REQUIRE(faults.size() == 1);
    CHECK(copy(event_in<event::fault>(faults[0]).operation) == 2);

    // It comes back to its own operation before it performs the next one: here, in a handler that
    // runs while its computation is interrupted.
    machine.task_threads.steps = 1;
    machine.processor.calls.clear();
    const auto header = header_of(schedule::stepped, 1);
    const auto bytes = tests::program_with_header(header, spawn(0), compute(compute_kind::flags, 1),
                                                  count, body, count);
    const core::Program program(bytes);
    machine.task_threads.on_end_of_computation = [&] {
        machine.processor.listener->on_fault(
            tests::fault(protocol::exception::page_fault, 0xC0101234, 0xC0104000), false);
    };
    const auto later = only<event::fault>(run_program(program, 5));
    REQUIRE(later.size() == 1);
    CHECK(copy(event_in<event::fault>(later[0]).operation) == 1);
}

TEST_CASE_FIXTURE(Fixture, "a fault that nothing expects ends the run, whoever performs it") {
    machine.processor.unexpected_fault =
        tests::fault(protocol::exception::invalid_opcode, 0xC0101234, 0xC0104000);
    const auto events = run(spawn(0), join(0), count, body, operation::reload{}, count);
    CHECK(progress == core::Progress::stopped);
    CHECK(only<event::counted>(events).empty());
    CHECK(events.back() ==
          record_of(event::panic{.reason = protocol::panic_reason::unexpected_fault,
                                 .detail = 0xC0101234}));
}

TEST_CASE_FIXTURE(Fixture, "a triple fault that a machine survives ends the run in a task, too") {
    const auto events = run(spawn(0), yield, count, body, operation::triple_fault{}, count);
    CHECK(progress == core::Progress::stopped);
    CHECK(events.back() == record_of(started(1, 0)));
    CHECK(machine.processor.calls == Calls{"shut_down"});
}

TEST_CASE_FIXTURE(Fixture, "overflowing one's own stack is an attempt") {
    const auto events = run(spawn(0), body, operation::overflow_own{});
    CHECK(only<event::attempted>(events) ==
          records_of(
              event::attempted{.operation = 2, .outcome = protocol::attempt::faulted, .value = 0}));
    CHECK(machine.task_threads.calls == Calls{"overflow_own_stack"});
}

TEST_CASE_FIXTURE(Fixture, "whenever the trace is full, everything stops, on whatever stack") {
    const auto go = [&] {
        return run_with_header(header_of(schedule::stepped, 2), spawn(0), spawn(0),
                               compute(compute_kind::flags, 1), operation::lock{.mutex = 0},
                               join(0), join(1), body, operation::lock{.mutex = 0}, yield, sleep(3),
                               compute(compute_kind::flags, 1), operation::unlock{.mutex = 0});
    };
    machine.task_threads.steps = 3;
    const Records whole = go();
    const std::size_t needed = sizeof(protocol::trace_header) +
                               tests::header_of(machine.trace_buffer).written +
                               sizeof(event::panic);
    CHECK(progress == core::Progress::going);
    for (std::size_t size = core::Trace::minimum_size; size < needed; size += 7) {
        INFO("trace buffer of ", size);
        machine.trace_buffer = Bytes(size);
        stack_words.assign(stack_words.size(), 0);
        stacks = core::TaskStackPool(stack_words, 3);
        const Records records = go();
        CHECK(progress == core::Progress::stopped);
        CHECK(records.back() ==
              record_of(event::panic{.reason = protocol::panic_reason::trace_full, .detail = 0}));
        const auto kept = static_cast<std::ptrdiff_t>(records.size() - 1);
        CHECK(Records(records.begin(), records.end() - 1) ==
              Records(whole.begin(), whole.begin() + kept));
    }
}

TEST_CASE_FIXTURE(PaeFixture, "where task stacks cannot be executed, NXE must stay set for them") {
    const operation::control clear{.bit = protocol::control_bit::no_execute, .value = 0};
    const operation::control set{.bit = protocol::control_bit::no_execute, .value = 1};
    machine.processor.registers.efer = 0x800;
    // The third one finds no task any more.
    const auto events = run(spawn(0), clear, set, yield, clear, body);
    CHECK_RECORDS(
        only<event::rejected>(events),
        records_of(event::rejected{.operation = 1, .reason = protocol::rejection::used_by_task}));
    CHECK(only<event::attempted>(events).size() == 2);

    machine.processor.registers.efer = 0x500;
    CHECK_RECORDS(run(spawn(1), spawn(0), body),
                  records_of(spawn_failed(0, spawn_failure::no_body),
                             spawn_failed(1, spawn_failure::no_stack)));
    machine.processor.has = 3; // and not NX: the bit was never set in an entry
    CHECK(run(spawn(0), body).front() == record_of(spawned(0, 1, 0, 0)));
}

TEST_CASE_FIXTURE(Fixture, "with 32-bit paging NXE does not matter") {
    machine.processor.registers.efer = 0;
    CHECK(run(spawn(0), body).front() == record_of(spawned(0, 1, 0, 0)));
}
