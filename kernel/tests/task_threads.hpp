// A processor whose tasks are threads, of which one runs at a time: what the scheduler is tested
// on.
#pragma once

#include "core/task_processor.hpp"

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace tests {

class TaskThreads final : public core::TaskProcessor {
public:
    static constexpr std::uint32_t main_stack_pointer = 0xC0120000;

    TaskThreads() { m_contexts.push_back({.stack_pointer = main_stack_pointer}); }
    TaskThreads(const TaskThreads&) = delete;
    TaskThreads& operator=(const TaskThreads&) = delete;
    ~TaskThreads() { end_tasks(); }

    // Ends all tasks, wherever they are. Needed before what they refer to goes away.
    void end_tasks() {
        {
            const std::lock_guard lock(m_mutex);
            m_over = true;
        }
        m_changed.notify_all();
        for (Context& context : m_contexts) {
            if (context.thread)
                context.thread->join();
        }
        m_contexts.resize(1);
        m_running = 0;
        m_over = false;
    }

    void listen(core::InterruptionListener& interruption_listener) override {
        listener = &interruption_listener;
    }

    void prepare(core::SavedTask& task, core::LinearAddress stack_end,
                 core::TaskEntry& entry) override {
        const std::lock_guard lock(m_mutex);
        task.stack_pointer = m_contexts.size();
        m_contexts.push_back({.stack_pointer = stack_end - 16, .entry = &entry});
    }

    std::uint32_t switch_tasks(core::SavedTask& from, const core::SavedTask& to,
                               std::uint32_t number) override {
        std::unique_lock lock(m_mutex);
        const std::size_t left = m_running;
        from.stack_pointer = left;
        m_running = to.stack_pointer;
        Context& context = m_contexts[m_running];
        if (context.entry != nullptr && !context.thread)
            context.thread = std::make_unique<std::thread>(
                [this, self = m_running, entry = context.entry] { run(self, *entry); });
        m_changed.notify_all();
        wait_for_turn(lock, left);
        return damaged[number];
    }

    [[nodiscard]] core::LinearAddress stack_pointer() const override {
        const std::lock_guard lock(m_mutex);
        return m_contexts[m_running].stack_pointer;
    }

    core::ComputationRegisters compute(protocol::compute_kind kind,
                                       const core::ComputationRegisters& start,
                                       core::Interruption interruption) override {
        note("compute", static_cast<std::uint32_t>(kind), start.eax, start.ecx, start.edx,
             start.ebx, start.ebp, start.esi, start.edi, static_cast<std::uint32_t>(interruption));
        for (std::uint32_t step = 0; interruption == core::Interruption::step && step < steps;
             ++step) {
            core::InterruptedComputation computation{
                .eip = first_eip + step, .registers = start, .eflags = 0xFFFFFFFF};
            computation.registers.eax = step;
            if (listener->on_step(computation) == core::AfterFault::end_run)
                break;
        }
        if (interruption == core::Interruption::timer)
            tick(ticks);
        if (on_end_of_computation)
            on_end_of_computation();
        core::ComputationRegisters end = start;
        end.eax += 1;
        return end;
    }
    [[nodiscard]] std::uint32_t scratch_address() const override { return 0xC0123450; }

    void start_timer() override { note("start_timer"); }
    void stop_timer() override { note("stop_timer"); }
    void spin(const volatile std::uint32_t& clock, std::uint32_t until) override {
        note("spin");
        while (clock != until && listener->on_timer() == core::AfterFault::resume) {
        }
    }
    void halt() override {
        note("halt");
        tick(1);
    }

    core::Attempt overflow_own_stack() override {
        note("overflow_own_stack");
        return {protocol::attempt::faulted, 0};
    }

    static constexpr std::uint32_t first_eip = 0xC0105000;
    core::InterruptionListener* listener = nullptr;
    std::uint32_t steps = 0; // of each computation with the schedule `stepped`
    std::uint32_t ticks = 0; // during each computation with the schedule `timer`
    std::function<void()> on_end_of_computation;
    // What a switch away from a task of this number finds later.
    std::map<std::uint32_t, std::uint32_t> damaged;
    // What happened to it. All numbers of a call are hexadecimal.
    std::vector<std::string> calls;

private:
    struct Context {
        core::LinearAddress stack_pointer;
        core::TaskEntry* entry = nullptr;
        std::unique_ptr<std::thread> thread{};
    };
    // Thrown through a task that is waiting when all tasks end.
    struct TasksEnd {};

    template <typename... Numbers> void note(const char* name, Numbers... numbers) {
        std::ostringstream call;
        call << name << std::hex;
        ((call << ' ' << std::uint32_t{numbers}), ...);
        calls.push_back(call.str());
    }

    void tick(std::uint32_t count) {
        for (std::uint32_t index = 0; index < count; ++index) {
            if (listener->on_timer() == core::AfterFault::end_run)
                return;
        }
    }

    void wait_for_turn(std::unique_lock<std::mutex>& lock, std::size_t self) {
        m_changed.wait(lock, [&] { return m_over || m_running == self; });
        if (m_over)
            throw TasksEnd{};
    }

    void run(std::size_t self, core::TaskEntry& entry) {
        try {
            std::unique_lock lock(m_mutex);
            wait_for_turn(lock, self);
            lock.unlock();
            entry.enter();
        } catch (const TasksEnd&) {
        }
    }

    mutable std::mutex m_mutex;
    std::condition_variable m_changed;
    std::vector<Context> m_contexts; // the main task's first; a saved stack pointer is a place here
    std::size_t m_running = 0;
    bool m_over = false;
};

} // namespace tests
