#include "core/linear_range.hpp"

#include <doctest/doctest.h>

TEST_CASE("bytes inside a range of linear addresses") {
    constexpr core::LinearRange range{0x1000, 0x2000};
    CHECK(range.contains(0x1000, 1));
    CHECK(range.contains(0x1FFF, 1));
    CHECK(range.contains(0x1000, 0x1000));
    CHECK_FALSE(range.contains(0x0FFF, 2));
    CHECK_FALSE(range.contains(0x1FFF, 2));
    CHECK_FALSE(range.contains(0x2000, 1));
    CHECK_FALSE(range.contains(0x1000, 0x1001));
    CHECK_FALSE(range.contains(0x1800, 0xFFFFFFFF));
    CHECK_FALSE(core::LinearRange{0x1000, 0x1000}.contains(0x1000, 1));
}

TEST_CASE("an access past the end of the address space is not inside") {
    constexpr std::uint64_t last = ~std::uint64_t{0};
    constexpr core::LinearRange top{last - 0xFFF, last};
    CHECK(top.contains(last - 1, 1));
    CHECK_FALSE(top.contains(last - 1, 4));
    CHECK_FALSE(top.contains(last, 4));
}

TEST_CASE("a stack pointer belongs to the stack below it") {
    constexpr core::LinearRange stack{0x1000, 0x2000};
    CHECK_FALSE(stack.is_stack_of(0x1000));
    CHECK(stack.is_stack_of(0x1001));
    CHECK(stack.is_stack_of(0x2000));
    CHECK_FALSE(stack.is_stack_of(0x2001));
}
