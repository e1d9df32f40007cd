// In 64-bit mode there are no segments with a limit: the kernel rejects the operation.
#include "arch/x86/processor.hpp"

namespace x86 {

core::Attempt Processor::access_segment(const core::SegmentDescription&, std::uint32_t,
                                        core::Access) {
    return {protocol::attempt::done, 0};
}

} // namespace x86
