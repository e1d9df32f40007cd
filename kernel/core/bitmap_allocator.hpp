// Hands out the numbers [0, size), the lowest free one first. One bit a number: 1 is free.
#pragma once

#include "core/bitmap.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace core {

class BitmapAllocator {
public:
    enum class Birth { all_free, all_used };

    // Numbers [first, end).
    struct Range {
        std::uint32_t first;
        std::uint32_t end;
    };

    // The words are the allocator's own, and hold `size` bits at least.
    BitmapAllocator(std::span<std::uint32_t> words, std::uint32_t size, Birth birth)
        : m_bitmap(words, size) {
        m_bitmap.clear();
        if (birth == Birth::all_free)
            release({0, size});
    }

    [[nodiscard]] constexpr std::uint32_t size() const { return m_bitmap.size(); }
    [[nodiscard]] constexpr std::span<const std::uint32_t> words() const {
        return m_bitmap.words();
    }
    [[nodiscard]] constexpr std::uint32_t free_count() const { return m_free_count; }
    [[nodiscard]] constexpr bool is_free(std::uint32_t number) const {
        return m_bitmap.is_set(number);
    }

    [[nodiscard]] constexpr std::optional<std::uint32_t> lowest_free() const {
        const std::uint32_t number = m_bitmap.find<Bit::set>(search_start(), size());
        return number == size() ? std::nullopt : std::optional(number);
    }

    [[nodiscard]] constexpr std::optional<std::uint32_t> allocate() {
        const auto number = m_bitmap.clear_lowest(m_search_word);
        if (number)
            --m_free_count;
        return number;
    }

    // Takes the lowest `count` free numbers in a row whose first is a multiple of `alignment`.
    // The count is not 0 and the alignment is a power of two.
    [[nodiscard]] constexpr std::optional<std::uint32_t> allocate_run(std::uint32_t count,
                                                                      std::uint32_t alignment) {
        if (count > m_free_count)
            return std::nullopt;
        const std::uint32_t last_start = size() - count;
        std::uint32_t from = search_start();
        for (;;) {
            const std::uint32_t first = aligned(m_bitmap.find<Bit::set>(from, size()), alignment);
            if (first > last_start)
                return std::nullopt;
            const std::uint32_t end = first + count;
            const std::uint32_t obstacle = m_bitmap.find<Bit::clear>(first, end);
            if (obstacle == end) {
                claim({first, end});
                return first;
            }
            from = obstacle + 1;
        }
    }

    // Makes numbers free, whatever they were.
    constexpr void release(Range range) {
        if (range.first >= range.end)
            return;
        m_free_count += m_bitmap.fill<Bit::set>(range.first, range.end);
        const std::uint32_t word = range.first / Bitmap::word_bits;
        if (word < m_search_word)
            m_search_word = word;
    }

    // Makes numbers used, whatever they were.
    constexpr void claim(Range range) {
        m_free_count -= m_bitmap.fill<Bit::clear>(range.first, range.end);
    }

    // The first free number of [from, end), or `end`.
    [[nodiscard]] constexpr std::uint32_t find_free(std::uint32_t from, std::uint32_t end) const {
        return m_bitmap.find<Bit::set>(from, end);
    }

    // The first maximal range of free numbers at or after `from`.
    [[nodiscard]] constexpr std::optional<Range> next_free_range(std::uint32_t from) const {
        const std::uint32_t first = m_bitmap.find<Bit::set>(from, size());
        if (first == size())
            return std::nullopt;
        return Range{first, m_bitmap.find<Bit::clear>(first, size())};
    }

private:
    // Numbers stay far enough below 2^32 for this not to wrap: an alignment is 2^31 at most.
    static constexpr std::uint32_t aligned(std::uint32_t number, std::uint32_t alignment) {
        return (number + (alignment - 1)) & ~(alignment - 1);
    }

    constexpr std::uint32_t search_start() const { return m_search_word * Bitmap::word_bits; }

    Bitmap m_bitmap;
    std::uint32_t m_free_count = 0;
    // Where searches start: all numbers of the words before this one are used.
    std::uint32_t m_search_word = 0;
};

} // namespace core
