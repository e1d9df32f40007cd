// The two interrupt controllers (8259A) and the interval timer (8254) of the PC. Where there is a
// local APIC, the boot loader or its firmware has let their interrupts through.
#pragma once

#include "protocol.hpp"

#include <cstdint>

namespace x86 {

// Where the controllers' interrupts are delivered. IRQ 7 comes when an interrupt has gone away
// before it was acknowledged, and has no other meaning here (8259A data sheet, "interrupt
// sequence").
inline constexpr std::uint32_t timer_vector = protocol::timer_vector;
inline constexpr std::uint32_t spurious_vector = protocol::timer_vector + 7;

// From now on channel 0 interrupts at its rate, where interrupts are enabled; nothing else does.
void start_interrupt_timer();

// Masks everything again. Does nothing unless the timer was started.
void stop_interrupt_timer();

// The handler of the timer's interrupt runs: the next one may come.
void acknowledge_timer_interrupt();

} // namespace x86
