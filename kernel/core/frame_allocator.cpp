#include "core/frame_allocator.hpp"

namespace core {

namespace {

// Not std::has_single_bit: libstdc++ counts bits, by a call into a library that the kernel lacks.
constexpr bool is_power_of_two(std::uint32_t number) {
    return number != 0 && (number & (number - 1)) == 0;
}

constexpr std::uint32_t words_of(Frame extent) {
    return extent.number() / Bitmap::word_bits;
}
static_assert(protocol::frame_unit % Bitmap::word_bits == 0);
static_assert(protocol::frame_count % protocol::frame_unit == 0);

} // namespace

FrameAllocator::FrameAllocator(std::span<std::uint32_t> free_words,
                               std::span<std::uint32_t> owned_words, Frame extent)
    : m_frames(free_words.first(words_of(extent)), extent.number(),
               BitmapAllocator::Birth::all_used),
      m_owned(owned_words.first(words_of(extent)), extent.number()) {
    m_owned.clear();
}

void FrameAllocator::own_what_is_free() {
    Frame from{};
    while (const auto range = next_free_range(from)) {
        m_owned.fill<Bit::set>(range->first.number(), range->end.number());
        from = range->end;
    }
}

Result<FrameRange, protocol::allocation_failure>
FrameAllocator::allocate_run(std::uint32_t count, std::uint32_t alignment) {
    if (count == 0)
        return protocol::allocation_failure::zero_count;
    if (!is_power_of_two(alignment))
        return protocol::allocation_failure::bad_alignment;
    const auto first = m_frames.allocate_run(count, alignment);
    if (!first)
        return protocol::allocation_failure::no_run;
    return FrameRange::from_count(Frame(*first), count);
}

Result<FrameRange, FreeFailure> FrameAllocator::free(PhysicalAddress address) {
    if (!address.is_frame_aligned())
        return FreeFailure{address, protocol::free_failure::misaligned};
    const Frame frame = touched_frames({address, address}).first;
    if (frame.number() >= protocol::frame_count)
        return FreeFailure{address, protocol::free_failure::out_of_range};
    if (frame.number() >= m_owned.size())
        return FreeFailure{address, protocol::free_failure::not_owned};
    return free(FrameRange::from_count(frame, 1));
}

Result<FrameRange, FreeFailure> FrameAllocator::free(FrameRange frames) {
    const auto [first, end] = numbers(frames);
    const std::uint32_t not_owned = m_owned.find<Bit::clear>(first, end);
    const std::uint32_t already_free = m_frames.find_free(first, end);
    // The lowest frame that fails is named, and ownership is asked about first.
    if (not_owned < end && not_owned <= already_free)
        return FreeFailure{Frame(not_owned).address(), protocol::free_failure::not_owned};
    if (already_free < end)
        return FreeFailure{Frame(already_free).address(), protocol::free_failure::already_free};
    m_frames.release({first, end});
    return frames;
}

std::optional<FrameRange> FrameAllocator::next_free_range(Frame from) const {
    const auto range = m_frames.next_free_range(from.number());
    if (!range)
        return std::nullopt;
    return FrameRange{Frame(range->first), Frame(range->end)};
}

} // namespace core
