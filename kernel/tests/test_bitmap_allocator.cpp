#include "core/bitmap_allocator.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <random>
#include <set>
#include <vector>

namespace {

using core::BitmapAllocator;
using Birth = BitmapAllocator::Birth;

// What BitmapAllocator does, on a set of the free numbers.
class Model {
public:
    Model(std::uint32_t size, Birth birth) : m_size(size) {
        if (birth == Birth::all_free)
            release(0, size);
    }

    const std::set<std::uint32_t>& free() const { return m_free; }

    std::optional<std::uint32_t> allocate() { return allocate_run(1, 1); }

    std::optional<std::uint32_t> allocate_run(std::uint32_t count, std::uint32_t alignment) {
        for (const std::uint32_t first : m_free) {
            if (first % alignment != 0 || !starts_free_run(first, count))
                continue;
            claim(first, first + count);
            return first;
        }
        return std::nullopt;
    }

    void release(std::uint32_t first, std::uint32_t end) {
        for (; first < end; ++first)
            m_free.insert(first);
    }

    void claim(std::uint32_t first, std::uint32_t end) {
        for (; first < end; ++first)
            m_free.erase(first);
    }

private:
    bool starts_free_run(std::uint32_t first, std::uint32_t count) const {
        if (count > m_size - first)
            return false;
        for (std::uint32_t number = first; number < first + count; ++number) {
            if (!m_free.contains(number))
                return false;
        }
        return true;
    }

    std::uint32_t m_size;
    std::set<std::uint32_t> m_free;
};

std::set<std::uint32_t> free_numbers(const BitmapAllocator& allocator) {
    std::set<std::uint32_t> numbers;
    std::uint32_t from = 0;
    while (const auto range = allocator.next_free_range(from)) {
        for (std::uint32_t number = range->first; number < range->end; ++number)
            numbers.insert(number);
        from = range->end;
    }
    return numbers;
}

} // namespace

TEST_CASE("born all used, whatever was in the words") {
    std::vector<std::uint32_t> words(2, 0xFFFFFFFF);
    BitmapAllocator allocator(words, 40, Birth::all_used);
    CHECK(allocator.free_count() == 0);
    CHECK(allocator.lowest_free() == std::nullopt);
    CHECK(allocator.allocate() == std::nullopt);
    CHECK(allocator.allocate_run(1, 1) == std::nullopt);
}

TEST_CASE("born all free, and no number past the size is ever handed out") {
    std::vector<std::uint32_t> words(3, 0xFFFFFFFF);
    BitmapAllocator allocator(words, 40, Birth::all_free);
    CHECK(allocator.free_count() == 40);
    for (std::uint32_t number = 0; number < 40; ++number)
        REQUIRE(allocator.allocate() == std::optional(number));
    CHECK(allocator.allocate() == std::nullopt);
    CHECK(allocator.free_count() == 0);
}

TEST_CASE("what is released below the search's start is found again") {
    std::vector<std::uint32_t> words(8);
    BitmapAllocator allocator(words, 256, Birth::all_free);
    while (allocator.allocate())
        ;
    allocator.release({70, 72});
    allocator.release({3, 4});
    CHECK(allocator.lowest_free() == std::optional(3u));
    CHECK(allocator.allocate() == std::optional(3u));
    CHECK(allocator.allocate_run(2, 2) == std::optional(70u));
    CHECK(allocator.free_count() == 0);
}

TEST_CASE("a run is the lowest that fits, at its alignment") {
    std::vector<std::uint32_t> words(8);
    BitmapAllocator allocator(words, 256, Birth::all_free);
    allocator.claim({0, 1});
    allocator.claim({10, 11});
    CHECK(allocator.allocate_run(9, 1) == std::optional(1u));
    CHECK(allocator.allocate_run(5, 8) == std::optional(16u));
    CHECK(allocator.allocate_run(5, 1) == std::optional(11u));
    CHECK(allocator.allocate_run(128, 128) == std::optional(128u));
    CHECK(allocator.allocate_run(1, 256) == std::nullopt);
}

TEST_CASE("a run of everything, and of more than there is") {
    std::vector<std::uint32_t> words(2);
    BitmapAllocator allocator(words, 50, Birth::all_free);
    CHECK(allocator.allocate_run(51, 1) == std::nullopt);
    CHECK(allocator.allocate_run(0xFFFFFFFF, 0x80000000) == std::nullopt);
    CHECK(allocator.allocate_run(50, 0x80000000) == std::optional(0u));
    CHECK(allocator.free_count() == 0);
}

TEST_CASE("a run does not reach past the size") {
    std::vector<std::uint32_t> words(2);
    BitmapAllocator allocator(words, 50, Birth::all_free);
    allocator.claim({0, 45});
    allocator.release({0, 10});
    CHECK(allocator.allocate_run(5, 16) == std::optional(0u));
    CHECK(allocator.allocate_run(5, 16) == std::nullopt);
    CHECK(allocator.allocate_run(6, 1) == std::nullopt);
}

TEST_CASE("releasing and claiming twice changes the count once") {
    std::vector<std::uint32_t> words(4);
    BitmapAllocator allocator(words, 128, Birth::all_used);
    allocator.release({10, 100});
    allocator.release({50, 110});
    CHECK(allocator.free_count() == 100);
    allocator.claim({0, 20});
    allocator.claim({15, 30});
    CHECK(allocator.free_count() == 80);
    allocator.claim({5, 5});
    allocator.release({5, 5});
    CHECK(allocator.free_count() == 80);
}

TEST_CASE("random operations agree with the model") {
    std::mt19937 random(3);
    for (const std::uint32_t size : {1u, 32u, 33u, 150u, 512u}) {
        for (const Birth birth : {Birth::all_free, Birth::all_used}) {
            std::vector<std::uint32_t> words((size + 31) / 32);
            BitmapAllocator allocator(words, size, birth);
            Model model(size, birth);
            const auto below = [&random](std::uint32_t limit) {
                return static_cast<std::uint32_t>(random() % limit);
            };
            for (int round = 0; round < 2000; ++round) {
                INFO("size ", size, " round ", round);
                const std::uint32_t first = below(size + 1);
                const std::uint32_t end = first + below(size + 1 - first);
                switch (below(8)) {
                case 0:
                    allocator.release({first, end});
                    model.release(first, end);
                    break;
                case 1:
                    allocator.claim({first, end});
                    model.claim(first, end);
                    break;
                case 2:
                case 3: {
                    const std::uint32_t count = 1 + below(size);
                    const std::uint32_t alignment = 1u << below(10);
                    REQUIRE(allocator.allocate_run(count, alignment) ==
                            model.allocate_run(count, alignment));
                    break;
                }
                default:
                    REQUIRE(allocator.allocate() == model.allocate());
                }
                REQUIRE(allocator.free_count() == model.free().size());
                REQUIRE(free_numbers(allocator) == model.free());
            }
        }
    }
}
