// Attempts to return from an interrupt with something wrong (TRACE.md, `raise`).
#pragma once

#include "arch/x86/faults.hpp"

namespace x86 {

// For a cause that is an IRET in ring 0.
[[nodiscard]] AttemptStart return_with_defect(protocol::raise_cause cause);

} // namespace x86
