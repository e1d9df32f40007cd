// The paging modes that the kernel can run in (SDM vol. 3, 4.1.1).
#pragma once

namespace core {

enum class PagingMode { legacy, pae, four_level };

// Whether an entry has 64 bits, and with them one that forbids execution.
[[nodiscard]] constexpr bool has_wide_entries(PagingMode mode) {
    return mode != PagingMode::legacy;
}

} // namespace core
