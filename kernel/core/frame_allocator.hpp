// The allocator of physical frames: which are free, and which it has ever owned.
#pragma once

#include "core/addresses.hpp"
#include "core/bitmap.hpp"
#include "core/bitmap_allocator.hpp"
#include "core/result.hpp"
#include "protocol.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace core {

// Why nothing was taken back, and the address that is to blame.
struct FreeFailure {
    PhysicalAddress address;
    protocol::free_failure reason;
};

class FrameAllocator {
public:
    // Both spans hold one bit for each of the frames that can ever be free: those up to the extent,
    // a multiple of frame_unit. At birth no frame is free and none is owned.
    FrameAllocator(std::span<std::uint32_t> free_words, std::span<std::uint32_t> owned_words,
                   Frame extent);

    // For the initialisation: while it lasts, frames become free and are taken back by range. None
    // from the extent up becomes free.
    void make_free(FrameRange frames) { m_frames.release(numbers(frames)); }
    void take_back(FrameRange frames) { m_frames.claim(numbers(clipped(frames))); }
    // What is free now is owned, for good.
    void own_what_is_free();

    // The bitmaps, as far as they are used.
    [[nodiscard]] std::span<const std::uint32_t> free_words() const { return m_frames.words(); }
    [[nodiscard]] std::span<const std::uint32_t> owned_words() const { return m_owned.words(); }

    [[nodiscard]] std::uint32_t free_count() const { return m_frames.free_count(); }
    [[nodiscard]] std::optional<Frame> lowest_free() const { return frame(m_frames.lowest_free()); }

    // Takes the lowest free frame.
    [[nodiscard]] std::optional<Frame> allocate() { return frame(m_frames.allocate()); }

    // Takes the lowest run of free frames whose first is a multiple of `alignment`.
    [[nodiscard]] Result<FrameRange, protocol::allocation_failure>
    allocate_run(std::uint32_t count, std::uint32_t alignment);

    // Take back the one frame at an address; or all of the frames, or none if one of them fails.
    [[nodiscard]] Result<FrameRange, FreeFailure> free(PhysicalAddress address);
    [[nodiscard]] Result<FrameRange, FreeFailure> free(FrameRange frames);

    // The first maximal range of free frames at or after `from`.
    [[nodiscard]] std::optional<FrameRange> next_free_range(Frame from) const;

private:
    static BitmapAllocator::Range numbers(FrameRange frames) {
        return {frames.first.number(), frames.end.number()};
    }
    [[nodiscard]] FrameRange clipped(FrameRange frames) const {
        const Frame extent(m_frames.size());
        return {frames.first, frames.end < extent ? frames.end : extent};
    }
    static std::optional<Frame> frame(std::optional<std::uint32_t> number) {
        return number ? std::optional(Frame(*number)) : std::nullopt;
    }

    BitmapAllocator m_frames;
    Bitmap m_owned;
};

} // namespace core
