// What happens when an exception is raised, and attempts: pieces of code that may raise one.
#pragma once

#include "arch/x86/constants.h"
#include "core/processor.hpp"
#include "core/task_processor.hpp"

#include <cstddef>
#include <cstdint>

extern "C" {
extern const std::byte attempt_over[], user_attempt_over[], user_code_start[];
}

namespace x86 {

// The registers with which an attempt starts, in ring 0 with flat segments. In 64-bit mode they are
// RAX and so on.
struct AttemptStart {
    std::uintptr_t eax = 0, ecx = 0, edx = 0, ebx = 0, ebp = 0, esi = 0, edi = 0;
    std::uintptr_t eflags = EFLAGS_CLEAR;
    std::uintptr_t esp;
    const std::byte* eip;
};
static_assert(offsetof(AttemptStart, eax) == START_EAX);
static_assert(offsetof(AttemptStart, ecx) == START_ECX);
static_assert(offsetof(AttemptStart, edx) == START_EDX);
static_assert(offsetof(AttemptStart, ebx) == START_EBX);
static_assert(offsetof(AttemptStart, ebp) == START_EBP);
static_assert(offsetof(AttemptStart, esi) == START_ESI);
static_assert(offsetof(AttemptStart, edi) == START_EDI);
static_assert(offsetof(AttemptStart, eflags) == START_EFLAGS);
static_assert(offsetof(AttemptStart, esp) == START_ESP);
static_assert(offsetof(AttemptStart, eip) == START_EIP);

struct AttemptEnd {
    bool faulted;
    std::uintptr_t eax;
};

// Runs a piece of code on its own stack until it is over: until it jumps to `attempt_over` or
// executes INT vector_user_return, or until it faults. What comes after an instruction that faults
// is always one of these two, so that is where its handler goes on.
AttemptEnd attempt(const AttemptStart& start);

// Returns if there is an attempt to go on with: at `attempt_over`, or at what address_for_user says
// of `user_attempt_over`.
void report_fault(const core::FaultRecord& fault);
[[nodiscard]] std::uintptr_t address_for_user(const std::byte* symbol);

inline constexpr std::uint32_t requested_privilege = 3; // the bits of a selector

void listen_to_faults(core::FaultListener& listener);

void listen_to_interruptions(core::InterruptionListener& listener);

// Ends the run, on whatever stack and in whatever task.
[[noreturn]] void finish_run();

} // namespace x86
