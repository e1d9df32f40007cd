// How the frame allocator comes to know what is free: the passes of TRACE.md, "The run", 5 and 6.
#pragma once

#include "core/frame_allocator.hpp"
#include "core/multiboot.hpp"
#include "core/platform.hpp"
#include "core/progress.hpp"
#include "core/trace.hpp"

namespace core {

// How far the allocator's bitmaps have to reach: a multiple of frame_unit, at least one of it.
[[nodiscard]] Frame frame_extent(const MultibootInformation& information);

// The allocator is a new one. Stops where nothing is free in the end.
Progress initialise_frames(FrameAllocator& frames, const MultibootInformation& information,
                           const ImageLayout& layout, Trace& trace);

} // namespace core
