// Attempts that access memory through a segment with a limit, which 64-bit mode does not have.
#include "arch/x86/access_attempts.hpp"
#include "arch/x86/descriptors.hpp"
#include "arch/x86/processor.hpp"

extern "C" {
// ECX: the selector; EBP: the offset; EAX: the value.
extern const std::byte attempt_fs_read_1[], attempt_fs_read_2[], attempt_fs_read_4[];
extern const std::byte attempt_fs_write_1[], attempt_fs_write_2[], attempt_fs_write_4[];
extern const std::byte attempt_ss_read_1[], attempt_ss_read_2[], attempt_ss_read_4[];
extern const std::byte attempt_ss_write_1[], attempt_ss_write_2[], attempt_ss_write_4[];
}

namespace x86 {

namespace {

using core::Access;
using core::Attempt;

constexpr AccessCode fs_access{{attempt_fs_read_1, attempt_fs_read_2, attempt_fs_read_4},
                               {attempt_fs_write_1, attempt_fs_write_2, attempt_fs_write_4}};
constexpr AccessCode ss_access{{attempt_ss_read_1, attempt_ss_read_2, attempt_ss_read_4},
                               {attempt_ss_write_1, attempt_ss_write_2, attempt_ss_write_4}};

} // namespace

Attempt Processor::access_segment(const core::SegmentDescription& segment, std::uint32_t offset,
                                  Access access) {
    describe_probe_segment(segment.base, segment.limit, segment.expand_down);
    const bool is_stack = segment.target == protocol::segment_register::ss;
    return run_access({.eax = value_to_write(access),
                       .ecx = protocol::selector_probe,
                       .ebp = offset,
                       .esp = probe_stack_top(),
                       .eip = (is_stack ? ss_access : fs_access).of(access)},
                      access.kind);
}

} // namespace x86
