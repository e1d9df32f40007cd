// The events of the scheduler, in few words, and headers of programs with tasks.
#pragma once

#include "protocol.hpp"

#include <cstdint>

namespace tests {

inline constexpr std::uint16_t no_stack = protocol::no_stack;
inline constexpr std::uint16_t idle_task = protocol::idle_task;
inline constexpr std::uint16_t no_task = idle_task;

[[nodiscard]] inline protocol::event::spawned spawned(std::uint32_t operation, std::uint16_t task,
                                                      std::uint32_t body, std::uint16_t stack,
                                                      std::uint8_t priority = 0) {
    return {
        .operation = operation, .task = task, .body = body, .priority = priority, .stack = stack};
}

[[nodiscard]] inline protocol::event::spawn_failed spawn_failed(std::uint32_t operation,
                                                                protocol::spawn_failure reason) {
    return {.operation = operation, .reason = reason};
}

[[nodiscard]] inline protocol::event::switched switched(std::uint16_t from, std::uint16_t to,
                                                        protocol::switch_reason reason) {
    return {.from = from, .to = to, .reason = reason};
}

[[nodiscard]] inline protocol::event::started started(std::uint16_t task, std::uint16_t stack) {
    return {.task = task, .stack = stack};
}

[[nodiscard]] inline protocol::event::resumed resumed(std::uint16_t task, std::uint16_t stack,
                                                      std::uint32_t damaged = 0) {
    return {.task = task, .stack = stack, .damaged = damaged};
}

[[nodiscard]] inline protocol::event::blocked blocked(std::uint32_t operation, std::uint16_t task,
                                                      protocol::wait_reason reason,
                                                      std::uint32_t on = 0) {
    return {.operation = operation, .task = task, .reason = reason, .on = on};
}

[[nodiscard]] inline protocol::event::woken woken(std::uint16_t task, protocol::wake_reason reason,
                                                  std::uint16_t by) {
    return {.task = task, .reason = reason, .by = by};
}

[[nodiscard]] inline protocol::event::wake_kept wake_kept(std::uint32_t operation,
                                                          std::uint16_t task) {
    return {.operation = operation, .task = task};
}

[[nodiscard]] inline protocol::event::proceeded proceeded(std::uint32_t operation,
                                                          std::uint16_t task) {
    return {.operation = operation, .task = task};
}

[[nodiscard]] inline protocol::event::locked locked(std::uint32_t operation, std::uint16_t task,
                                                    std::uint8_t mutex) {
    return {.operation = operation, .task = task, .mutex = mutex};
}

[[nodiscard]] inline protocol::event::unlocked unlocked(std::uint32_t operation, std::uint16_t task,
                                                        std::uint8_t mutex,
                                                        std::uint16_t next = no_task) {
    return {.operation = operation, .task = task, .mutex = mutex, .next = next};
}

[[nodiscard]] inline protocol::event::task_rejected
task_rejected(std::uint32_t operation, std::uint16_t task, protocol::task_failure reason) {
    return {.operation = operation, .task = task, .reason = reason};
}

[[nodiscard]] inline protocol::event::exited exited(std::uint16_t task, std::uint16_t stack) {
    return {.task = task, .stack = stack};
}

[[nodiscard]] inline protocol::event::reclaimed reclaimed(std::uint16_t task, std::uint16_t stack) {
    return {.task = task, .stack = stack};
}

[[nodiscard]] inline protocol::event::idle idle(std::uint32_t now) {
    return {.now = now};
}

[[nodiscard]] inline protocol::event::ticked ticked(std::uint32_t now) {
    return {.now = now};
}

[[nodiscard]] inline protocol::event::counted counted(std::uint32_t operation,
                                                      std::uint32_t free_frames) {
    return {.operation = operation, .free_frames = free_frames};
}

[[nodiscard]] inline protocol::event::panic deadlock(std::uint64_t tasks) {
    return {.reason = protocol::panic_reason::deadlock, .detail = tasks};
}

[[nodiscard]] inline protocol::program_header header_of(protocol::schedule schedule,
                                                        std::uint32_t quantum) {
    return {.magic = 0,
            .operations = 0,
            .state_regions = 0,
            .flags = 0,
            .stacks = 0,
            .schedule = static_cast<std::uint32_t>(schedule),
            .quantum = quantum};
}

[[nodiscard]] inline protocol::program_header header_with_priorities() {
    protocol::program_header header = header_of(protocol::schedule::cooperative, 1);
    header.flags = static_cast<std::uint32_t>(protocol::program_flag::priorities);
    return header;
}

} // namespace tests
