// The frames that probes reach, and what is in them (TRACE.md, "Address space").
#pragma once

#include <cstdint>
#include <span>

namespace core {

// Writes all of the arena: memory survives a reset, and with it what an earlier run left.
void fill_arena(std::span<std::uint32_t> words);

} // namespace core
