#include "core/frame_passes.hpp"

#include "core/memory_map.hpp"

namespace core {

namespace {

using protocol::allocator_pass;

class Passes {
public:
    Passes(FrameAllocator& frames, Trace& trace) : m_frames(frames), m_trace(trace) {}

    Progress available(const MultibootInformation& information) {
        MemoryMapReader map(information.memory_map_bytes());
        for (std::uint32_t index = 0; const auto region = map.next(); ++index) {
            if (region->type != MemoryRegion::available)
                continue;
            m_frames.make_free(contained_frames(region->bytes()));
            const auto missing = MissingFrames::of(region->base, region->length);
            if (!missing.empty() &&
                stopped(m_trace.write(protocol::event::clipped{
                    .index = index, .first = missing.first, .end = missing.end})))
                return Progress::stopped;
        }
        return over(allocator_pass::available);
    }

    Progress unavailable(const MultibootInformation& information) {
        MemoryMapReader map(information.memory_map_bytes());
        while (const auto region = map.next()) {
            if (region->type != MemoryRegion::available)
                m_frames.take_back(touched_frames(region->bytes()));
        }
        return over(allocator_pass::unavailable);
    }

    // A pass over nothing but one range.
    Progress reserve(allocator_pass pass, const ByteRange& range) {
        if (stopped(take_back(pass, touched_frames(range))))
            return Progress::stopped;
        return over(pass);
    }

    Progress reserve(allocator_pass pass, const std::optional<ByteRange>& range) {
        return range ? reserve(pass, *range) : Progress::going;
    }

    Progress modules(const MultibootInformation& information) {
        if (information.module_count() == 0)
            return Progress::going;
        for (std::uint32_t index = 0; index < information.module_count(); ++index) {
            const auto frames = touched_frames(information.module(index));
            if (stopped(take_back(allocator_pass::module, frames)))
                return Progress::stopped;
        }
        return over(allocator_pass::module);
    }

    Progress over(allocator_pass pass) {
        return m_trace.write(
            protocol::event::pass{.pass = pass, .free_frames = m_frames.free_count()});
    }

private:
    Progress take_back(allocator_pass pass, FrameRange frames) {
        m_frames.take_back(frames);
        return m_trace.write(protocol::event::reserved{
            .pass = pass, .first = frames.first.number(), .end = frames.end.number()});
    }

    FrameAllocator& m_frames;
    Trace& m_trace;
};

constexpr ByteRange first_frame{PhysicalAddress(0), PhysicalAddress(protocol::frame_size)};

} // namespace

Frame frame_extent(const MultibootInformation& information) {
    std::uint32_t end = 1;
    MemoryMapReader map(information.memory_map_bytes());
    while (const auto region = map.next()) {
        const auto frames = contained_frames(region->bytes());
        if (region->type == MemoryRegion::available && !frames.empty() && frames.end.number() > end)
            end = frames.end.number();
    }
    return Frame((end + protocol::frame_unit - 1) / protocol::frame_unit * protocol::frame_unit);
}

Progress initialise_frames(FrameAllocator& frames, const MultibootInformation& information,
                           const ImageLayout& layout, Trace& trace) {
    Passes passes(frames, trace);
    if (stopped(passes.over(allocator_pass::all_used)) || stopped(passes.available(information)) ||
        stopped(passes.unavailable(information)) ||
        stopped(passes.reserve(allocator_pass::first_frame, first_frame)) ||
        stopped(passes.reserve(allocator_pass::kernel_image, layout.kernel_image)) ||
        stopped(passes.reserve(allocator_pass::information, information.structure())) ||
        stopped(passes.reserve(allocator_pass::memory_map, information.memory_map())) ||
        stopped(passes.reserve(allocator_pass::module_list, information.module_list())) ||
        stopped(passes.modules(information)) ||
        stopped(passes.reserve(allocator_pass::page_tables, layout.page_tables)) ||
        stopped(passes.reserve(allocator_pass::task_stacks, layout.task_stacks)) ||
        stopped(passes.reserve(allocator_pass::probe_arena, layout.probe_arena)) ||
        stopped(passes.reserve(allocator_pass::trace_buffer, layout.trace_buffer)))
        return Progress::stopped;

    frames.own_what_is_free();
    const auto lowest = frames.lowest_free();
    const std::uint32_t number = lowest ? lowest->number() : protocol::no_frame;
    const auto progress =
        trace.write(protocol::event::ready{.free_frames = frames.free_count(), .lowest = number});
    if (!stopped(progress) && frames.free_count() == 0)
        return trace.panic(protocol::panic_reason::no_usable_frame, 0);
    return progress;
}

} // namespace core
