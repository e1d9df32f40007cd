// The kernel's one run, from its entry to `completed` or `panic` (TRACE.md, "The run").
#pragma once

#include "core/platform.hpp"
#include "protocol.hpp"

namespace core {

// Returns when the status has been written into the trace's header, or when the machine survived a
// `triple_fault`.
[[nodiscard]] protocol::trace_status run_kernel(const EntryState& entry, const Platform& platform);

// Whether the program wants the trace to be sent through the debug port when the run is over.
[[nodiscard]] bool wants_echo(const EntryState& entry, const Platform& platform);

} // namespace core
