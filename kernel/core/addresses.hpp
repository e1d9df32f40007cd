// Addresses and frames as distinct types, and the half-open ranges of them.
#pragma once

#include "protocol.hpp"

#include <bit>
#include <compare>
#include <cstdint>
#include <limits>

namespace core {

inline constexpr unsigned frame_shift = std::countr_zero(protocol::frame_size);
static_assert(protocol::frame_size == 1u << frame_shift);

class PhysicalAddress {
public:
    constexpr PhysicalAddress() = default;
    constexpr explicit PhysicalAddress(std::uint64_t value) : m_value(value) {}

    [[nodiscard]] constexpr std::uint64_t value() const { return m_value; }
    [[nodiscard]] constexpr bool is_frame_aligned() const {
        return (m_value & (protocol::frame_size - 1)) == 0;
    }
    constexpr auto operator<=>(const PhysicalAddress&) const = default;

private:
    std::uint64_t m_value = 0;
};

// The number of a frame: frame n is physical [n * frame_size, (n + 1) * frame_size).
class Frame {
public:
    constexpr Frame() = default;
    constexpr explicit Frame(std::uint32_t number) : m_number(number) {}

    [[nodiscard]] constexpr std::uint32_t number() const { return m_number; }
    [[nodiscard]] constexpr PhysicalAddress address() const {
        return PhysicalAddress(std::uint64_t{m_number} << frame_shift);
    }
    constexpr auto operator<=>(const Frame&) const = default;

private:
    std::uint32_t m_number = 0;
};

// Bytes [start, end). As the last byte of the address space cannot be inside, an end of 2^64 is
// taken one byte short; no frame that exists is near enough to see the difference.
struct ByteRange {
    PhysicalAddress start;
    PhysicalAddress end;

    [[nodiscard]] static constexpr ByteRange from_length(PhysicalAddress base,
                                                         std::uint64_t length) {
        constexpr std::uint64_t last = std::numeric_limits<std::uint64_t>::max();
        const bool saturates = length > last - base.value();
        return {base, PhysicalAddress(saturates ? last : base.value() + length)};
    }

    [[nodiscard]] constexpr bool empty() const { return start >= end; }
    [[nodiscard]] constexpr std::uint64_t size() const {
        return empty() ? 0 : end.value() - start.value();
    }
    constexpr bool operator==(const ByteRange&) const = default;
};

// Frames [first, end).
struct FrameRange {
    Frame first;
    Frame end;

    [[nodiscard]] static constexpr FrameRange from_count(Frame first, std::uint32_t count) {
        return {first, Frame(first.number() + count)};
    }

    [[nodiscard]] constexpr bool empty() const { return first >= end; }
    [[nodiscard]] constexpr std::uint32_t count() const {
        return empty() ? 0 : end.number() - first.number();
    }
    constexpr bool operator==(const FrameRange&) const = default;
};

namespace detail {

// Frames from frame_count up do not exist: a range ends there at the latest.
[[nodiscard]] constexpr Frame existing_frame(std::uint64_t number) {
    return Frame(number < protocol::frame_count ? static_cast<std::uint32_t>(number)
                                                : protocol::frame_count);
}

// The first frame that starts at or after an address.
[[nodiscard]] constexpr Frame frame_rounded_up(PhysicalAddress address) {
    const bool whole = address.is_frame_aligned();
    return existing_frame((address.value() >> frame_shift) + (whole ? 0 : 1));
}

[[nodiscard]] constexpr Frame frame_rounded_down(PhysicalAddress address) {
    return existing_frame(address.value() >> frame_shift);
}

} // namespace detail

// The frames that lie wholly inside a range of bytes. Both ends are rounded from the same original
// range: rounding one and then computing the other from it would let a partial frame in.
[[nodiscard]] constexpr FrameRange contained_frames(const ByteRange& range) {
    const Frame first = detail::frame_rounded_up(range.start);
    const Frame end = detail::frame_rounded_down(range.end);
    return {first, first < end ? end : first};
}

// The frames that lie wholly inside [base, base + length) and do not exist all the same. Their
// numbers have up to 53 bits. An end beyond 2^64 is taken as 2^64.
struct MissingFrames {
    std::uint64_t first;
    std::uint64_t end;

    [[nodiscard]] static constexpr MissingFrames of(PhysicalAddress base, std::uint64_t length) {
        if (length == 0)
            return {0, 0};
        constexpr std::uint64_t last_address = std::numeric_limits<std::uint64_t>::max();
        constexpr std::uint64_t inside = protocol::frame_size - 1;
        const std::uint64_t last =
            length - 1 > last_address - base.value() ? last_address : base.value() + (length - 1);
        // Neither sum can wrap: both are done on frames.
        const std::uint64_t first =
            (base.value() >> frame_shift) + (base.is_frame_aligned() ? 0 : 1);
        const std::uint64_t end = (last >> frame_shift) + ((last & inside) == inside ? 1 : 0);
        return {first < protocol::frame_count ? protocol::frame_count : first, end};
    }

    [[nodiscard]] constexpr bool empty() const { return first >= end; }
};

// The frames that share a byte with a range; for an empty one, no frames at the frame of its start.
[[nodiscard]] constexpr FrameRange touched_frames(const ByteRange& range) {
    const Frame first = detail::frame_rounded_down(range.start);
    return {first, range.empty() ? first : detail::frame_rounded_up(range.end)};
}

} // namespace core
