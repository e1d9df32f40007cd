// Where attempts may go (TRACE.md, "Operations on paging"): nowhere that they could do harm.
#pragma once

#include "core/linear_range.hpp"
#include "core/platform.hpp"
#include "core/processor.hpp"

#include <cstdint>

namespace core {

class Reach {
public:
    // `stacks`: the objects of the task stack pool.
    Reach(const ImageLayout& layout, LinearRange stacks);

    // Whether a probe may make an access from a ring.
    [[nodiscard]] bool allows_probe(LinearAddress address, Access access, std::uint32_t ring) const;
    // Whether an access through a segment may be to these linear addresses.
    [[nodiscard]] bool allows_segment(LinearAddress address, std::uint32_t size) const;

private:
    LinearRange m_kernel; // the beginning of its image
    LinearRange m_arena;  // through the window
    LinearRange m_stacks;
};

} // namespace core
