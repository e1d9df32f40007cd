// The descriptor tables.
#pragma once

#include "protocol.hpp"

#include <cstdint>

namespace x86 {

// Loads the tables and the task register.
void install_descriptors();

// Makes selector_probe a writable 32-bit data segment of DPL 0. Only i686 has it.
//   limit: effective, in bytes; from 2^20 up its low 12 bits are all 1.
void describe_probe_segment(std::uint32_t base, std::uint32_t limit, bool expand_down);

enum class GatePresence { absent, present };

void set_gate_presence(protocol::exception vector, GatePresence presence);

// LIDT with limit 0, then UD2.
void shut_down();

} // namespace x86
