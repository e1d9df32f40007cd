// A row of bits in 32-bit words that somebody else owns. Searching and filling go by words.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <span>

namespace core {

enum class Bit : bool { clear, set };

// How many bits are set. std::popcount may become a call into a library that the kernel lacks.
[[nodiscard]] constexpr std::uint32_t population(std::uint32_t word) {
    word -= (word >> 1) & 0x55555555;
    word = (word & 0x33333333) + ((word >> 2) & 0x33333333);
    word = (word + (word >> 4)) & 0x0F0F0F0F;
    return (word * 0x01010101) >> 24;
}

class Bitmap {
public:
    static constexpr std::uint32_t word_bits = 32;

    // The words hold `size` bits at least.
    constexpr Bitmap(std::span<std::uint32_t> words, std::uint32_t size)
        : m_words(words), m_size(size) {}

    [[nodiscard]] constexpr std::uint32_t size() const { return m_size; }
    [[nodiscard]] constexpr std::span<const std::uint32_t> words() const { return m_words; }

    // Clears every bit, and those after the last.
    void clear() { __builtin_memset(m_words.data(), 0, m_words.size_bytes()); }

    [[nodiscard]] constexpr bool is_set(std::uint32_t index) const {
        return (m_words[index / word_bits] & bit(index)) != 0;
    }

    // Clears the lowest bit that is set in word number `word` or a later one, and moves `word` to
    // where that was. Here bits after the last must be clear. This is the inner loop of whoever
    // takes everything, bit by bit.
    constexpr std::optional<std::uint32_t> clear_lowest(std::uint32_t& word) {
        for (; word < m_words.size(); ++word) {
            const std::uint32_t bits = m_words[word];
            if (bits != 0) {
                m_words[word] = bits & (bits - 1);
                return word * word_bits + static_cast<std::uint32_t>(std::countr_zero(bits));
            }
        }
        return std::nullopt;
    }

    // The first bit of [from, end) that has the value, or `end`.
    template <Bit value>
    [[nodiscard]] constexpr std::uint32_t find(std::uint32_t from, std::uint32_t end) const {
        if (from >= end)
            return end;
        std::uint32_t index = from / word_bits;
        const std::uint32_t last = (end - 1) / word_bits;
        std::uint32_t candidates = matching<value>(index) & from_mask(from);
        while (candidates == 0) {
            if (index == last)
                return end;
            candidates = matching<value>(++index);
        }
        const std::uint32_t found =
            index * word_bits + static_cast<std::uint32_t>(std::countr_zero(candidates));
        return found < end ? found : end;
    }

    // Gives every bit of [first, end) the value; how many had the other one.
    template <Bit value> constexpr std::uint32_t fill(std::uint32_t first, std::uint32_t end) {
        if (first >= end)
            return 0;
        std::uint32_t changed = 0;
        const std::uint32_t last = (end - 1) / word_bits;
        std::uint32_t mask = from_mask(first);
        for (std::uint32_t index = first / word_bits; index < last; ++index) {
            changed += fill_word<value>(index, mask);
            mask = all_bits;
        }
        return changed + fill_word<value>(last, mask & through_mask(end - 1));
    }

private:
    static constexpr std::uint32_t all_bits = 0xFFFFFFFF;

    // The bit of an index within its word; that bit and those after it; that bit and those before.
    static constexpr std::uint32_t bit(std::uint32_t index) { return 1u << (index % word_bits); }
    static constexpr std::uint32_t from_mask(std::uint32_t index) {
        return all_bits << (index % word_bits);
    }
    static constexpr std::uint32_t through_mask(std::uint32_t index) {
        return all_bits >> (word_bits - 1 - index % word_bits);
    }

    template <Bit value> constexpr std::uint32_t matching(std::uint32_t index) const {
        return value == Bit::set ? m_words[index] : ~m_words[index];
    }

    template <Bit value>
    constexpr std::uint32_t fill_word(std::uint32_t index, std::uint32_t mask) {
        const std::uint32_t different = ~matching<value>(index) & mask;
        m_words[index] ^= different;
        // Most words of a large range are all the same: counting their bits is not worth it.
        if (different == 0)
            return 0;
        return different == all_bits ? word_bits : population(different);
    }

    std::span<std::uint32_t> m_words;
    std::uint32_t m_size;
};

} // namespace core
