// Which paging mode the entry code has chosen.
#pragma once

#include "arch/x86/control_registers.hpp"
#include "constants.h"
#include "core/paging_mode.hpp"
#include "protocol.hpp"

#include <cstddef>

namespace x86 {

// The entry code reads it.
static_assert(sizeof(protocol::program_header) == PROGRAM_HEADER_SIZE);
static_assert(offsetof(protocol::program_header, magic) == PROGRAM_OFFSET_MAGIC);
static_assert(offsetof(protocol::program_header, flags) == PROGRAM_OFFSET_FLAGS);

inline core::PagingMode paging_mode() {
    const bool pae = (read_cr4() & cr4::physical_address_extension) != 0;
    return pae ? core::PagingMode::pae : core::PagingMode::legacy;
}

} // namespace x86
