// There is only one that 64-bit mode knows here.
#pragma once

#include "core/paging_mode.hpp"

namespace x86 {

constexpr core::PagingMode paging_mode() {
    return core::PagingMode::four_level;
}

} // namespace x86
