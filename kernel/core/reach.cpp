#include "core/reach.hpp"

#include "core/probe_area.hpp"

namespace core {

namespace {

// A part of physical memory, as it appears in the window.
constexpr LinearRange in_window(PhysicalAddress start, std::uint32_t size) {
    const LinearAddress address =
        protocol::boot::kernel_window + static_cast<std::uint32_t>(start.value());
    return {address, address + size};
}

} // namespace

Reach::Reach(const ImageLayout& layout, LinearRange stacks)
    : m_kernel(in_window(layout.kernel_image.start, protocol::frame_size)),
      m_arena(in_window(layout.probe_arena.start, protocol::arena_frames * protocol::frame_size)),
      m_stacks(stacks) {}

bool Reach::allows_probe(LinearAddress address, Access access, std::uint32_t ring) const {
    using protocol::access_kind;
    if (ProbeArea::contains(address, access.size))
        return true;
    if (m_stacks.contains(address, access.size))
        return access.kind != access_kind::execute;
    if (m_kernel.contains(address, access.size))
        return ring == 3 || access.kind == access_kind::read;
    return false;
}

bool Reach::allows_segment(LinearAddress address, std::uint32_t size) const {
    return m_arena.contains(address, size) || ProbeArea::contains(address, size);
}

} // namespace core
