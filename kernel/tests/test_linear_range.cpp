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
    constexpr core::LinearRange top{0xFFFFF000, 0xFFFFFFFF};
    CHECK(top.contains(0xFFFFFFFE, 1));
    CHECK_FALSE(top.contains(0xFFFFFFFE, 4));
    CHECK_FALSE(top.contains(0xFFFFFFFF, 4));
}

TEST_CASE("a stack pointer belongs to the stack below it") {
    constexpr core::LinearRange stack{0x1000, 0x2000};
    CHECK_FALSE(stack.is_stack_of(0x1000));
    CHECK(stack.is_stack_of(0x1001));
    CHECK(stack.is_stack_of(0x2000));
    CHECK_FALSE(stack.is_stack_of(0x2001));
}
