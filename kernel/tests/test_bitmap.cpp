#include "core/bitmap.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

namespace {

using core::Bit;
using core::Bitmap;

// What Bitmap does, bit by bit.
class Model {
public:
    explicit Model(std::uint32_t size) : m_bits(size) {}

    bool is_set(std::uint32_t index) const { return m_bits[index]; }

    std::uint32_t find(bool value, std::uint32_t from, std::uint32_t end) const {
        while (from < end && m_bits[from] != value)
            ++from;
        return std::min(from, end);
    }

    std::uint32_t fill(bool value, std::uint32_t first, std::uint32_t end) {
        std::uint32_t changed = 0;
        for (; first < end; ++first) {
            changed += m_bits[first] != value;
            m_bits[first] = value;
        }
        return changed;
    }

private:
    std::vector<bool> m_bits;
};

} // namespace

TEST_CASE("population counts bits") {
    CHECK(core::population(0) == 0);
    CHECK(core::population(0xFFFFFFFF) == 32);
    std::mt19937 random(1);
    for (int round = 0; round < 1000; ++round) {
        const auto word = static_cast<std::uint32_t>(random());
        REQUIRE(core::population(word) == static_cast<std::uint32_t>(std::popcount(word)));
    }
}

TEST_CASE("filling says how many bits changed, and touches no others") {
    std::vector<std::uint32_t> words(4, 0);
    Bitmap bitmap(words, 128);
    CHECK(bitmap.fill<Bit::set>(31, 97) == 66);
    CHECK(words == std::vector<std::uint32_t>{0x80000000, 0xFFFFFFFF, 0xFFFFFFFF, 0x00000001});
    CHECK(bitmap.fill<Bit::set>(31, 97) == 0);
    CHECK(bitmap.fill<Bit::clear>(0, 128) == 66);
    CHECK(bitmap.fill<Bit::set>(5, 5) == 0);
    CHECK(bitmap.fill<Bit::set>(9, 5) == 0);
    CHECK(words == std::vector<std::uint32_t>(4, 0));
}

TEST_CASE("finding looks at nothing outside [from, end)") {
    std::vector<std::uint32_t> words{0x80000001, 0, 0x00000100};
    const Bitmap bitmap(words, 96);
    CHECK(bitmap.find<Bit::set>(0, 96) == 0);
    CHECK(bitmap.find<Bit::set>(1, 96) == 31);
    CHECK(bitmap.find<Bit::set>(1, 31) == 31);
    CHECK(bitmap.find<Bit::set>(32, 96) == 72);
    CHECK(bitmap.find<Bit::set>(32, 72) == 72);
    CHECK(bitmap.find<Bit::set>(73, 96) == 96);
    CHECK(bitmap.find<Bit::set>(96, 96) == 96);
    CHECK(bitmap.find<Bit::clear>(31, 96) == 32);
}

TEST_CASE("the lowest set bit is cleared, and the search goes on from its word") {
    std::vector<std::uint32_t> words{0, 0x80000010, 0x00000001};
    Bitmap bitmap(words, 96);
    std::uint32_t word = 0;
    CHECK(bitmap.clear_lowest(word) == std::optional(36u));
    CHECK(word == 1);
    CHECK(bitmap.clear_lowest(word) == std::optional(63u));
    CHECK(bitmap.clear_lowest(word) == std::optional(64u));
    CHECK(bitmap.clear_lowest(word) == std::nullopt);
    CHECK(word == 3);
    CHECK(words == std::vector<std::uint32_t>(3, 0));
}

TEST_CASE("random fills and searches agree with the model") {
    std::mt19937 random(2);
    for (const std::uint32_t size : {1u, 31u, 32u, 33u, 64u, 200u, 1000u}) {
        // No word more than needed, so that the address sanitizer sees what is beyond.
        std::vector<std::uint32_t> words((size + 31) / 32, 0);
        Bitmap bitmap(words, size);
        Model model(size);
        const auto index = [&] { return static_cast<std::uint32_t>(random() % (size + 1)); };
        for (int round = 0; round < 2000; ++round) {
            const std::uint32_t first = index();
            const std::uint32_t end = index();
            INFO("size ", size, " round ", round, " [", first, ", ", end, ")");
            if (random() % 2 != 0)
                REQUIRE(bitmap.fill<Bit::set>(first, end) == model.fill(true, first, end));
            else
                REQUIRE(bitmap.fill<Bit::clear>(first, end) == model.fill(false, first, end));
            const std::uint32_t from = index();
            const std::uint32_t to = index();
            REQUIRE(bitmap.find<Bit::set>(from, to) == model.find(true, from, to));
            REQUIRE(bitmap.find<Bit::clear>(from, to) == model.find(false, from, to));
            if (from < size)
                REQUIRE(bitmap.is_set(from) == model.is_set(from));
        }
    }
}
