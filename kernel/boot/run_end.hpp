// The one exit path of the ROM and of the kernel (kernel/TRACE.md, "The exit path").
#pragma once

#include <cstdint>

// Tells whatever engine runs this that the run is over.
//   mailbox: where the mailbox is, as an address that can be read now.
//   power_off: not 0 to end the emulator as well.
extern "C" [[noreturn]] void end_run(std::uintptr_t mailbox, std::uint32_t power_off);
