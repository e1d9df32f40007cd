#include "core/task_stack_pool.hpp"
#include "tests/machine.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace {

using core::PagingMode;
using core::TaskStackPool;
using protocol::paging_level;
using protocol::stack_failure;
using tests::Machine;

constexpr std::uint32_t base = 0xD0000000;

class Pool {
public:
    explicit Pool(std::uint32_t stacks) : pool(words, stacks) {}

    stack_failure failure_of(core::LinearAddress object) {
        const auto result = pool.free(object);
        REQUIRE_FALSE(result.has_value());
        return result.failure();
    }

    std::vector<std::uint32_t> words = std::vector<std::uint32_t>(32, 0xDEADBEEF);
    TaskStackPool pool;
};

} // namespace

TEST_CASE("every stack is handed out once, lowest first; then there is none") {
    Pool whole(1024);
    CHECK(whole.pool.free_count() == 1024);
    for (std::uint32_t number = 0; number < 1024; ++number)
        REQUIRE(whole.pool.allocate() == std::optional(number));
    CHECK(whole.pool.allocate() == std::nullopt);
    CHECK(whole.pool.free_count() == 0);
    REQUIRE(whole.pool.free(base + 700 * 8192).has_value());
    CHECK(whole.pool.allocate() == std::optional(700u));
    CHECK(whole.pool.allocate() == std::nullopt);
}

TEST_CASE("a pool has as many stacks as it was told, and may have none") {
    for (const std::uint32_t stacks : {0u, 1u, 31u, 32u, 33u, 1023u}) {
        Pool some(stacks);
        INFO(stacks, " stacks");
        CHECK(some.pool.stacks() == stacks);
        CHECK(some.pool.range().start == base);
        CHECK(some.pool.range().end == base + stacks * 8192);
        for (std::uint32_t number = 0; number < stacks; ++number)
            REQUIRE(some.pool.allocate() == std::optional(number));
        CHECK(some.pool.allocate() == std::nullopt);
        CHECK(some.failure_of(base + stacks * 8192) == stack_failure::outside);
    }
}

TEST_CASE("only the address of an object that is in use is taken back") {
    Pool some(3);
    REQUIRE(some.pool.allocate() == std::optional(0u));
    REQUIRE(some.pool.allocate() == std::optional(1u));
    CHECK(some.failure_of(base - 1) == stack_failure::outside);
    CHECK(some.failure_of(base - 8192) == stack_failure::outside);
    CHECK(some.failure_of(0) == stack_failure::outside);
    CHECK(some.failure_of(0xFFFFFFFF) == stack_failure::outside);
    CHECK(some.failure_of(base + (1ull << 32)) == stack_failure::outside);
    CHECK(some.failure_of(base + 3 * 8192) == stack_failure::outside);
    CHECK(some.failure_of(base + 3 * 8192 + 1) == stack_failure::outside);
    // Outside is said first, then misaligned, then not in use.
    CHECK(some.failure_of(base + 3 * 8192 - 1) == stack_failure::misaligned);
    CHECK(some.failure_of(base + 1) == stack_failure::misaligned);
    CHECK(some.failure_of(base + 4096) == stack_failure::misaligned);
    CHECK(some.failure_of(base + 2 * 8192 + 4) == stack_failure::misaligned);
    CHECK(some.failure_of(base + 2 * 8192) == stack_failure::not_in_use);
    CHECK(some.pool.free_count() == 1);

    const auto freed = some.pool.free(base + 8192);
    REQUIRE(freed.has_value());
    CHECK(freed.value() == 1);
    CHECK(some.failure_of(base + 8192) == stack_failure::not_in_use);
    CHECK(some.pool.free_count() == 2);
    CHECK(some.pool.allocate() == std::optional(1u));
}

TEST_CASE("random allocations and frees, against a set of numbers") {
    std::mt19937 random(7);
    for (int round = 0; round < 20; ++round) {
        const auto stacks = static_cast<std::uint32_t>(random() % 1025);
        Pool some(stacks);
        std::set<std::uint32_t> free;
        for (std::uint32_t number = 0; number < stacks; ++number)
            free.insert(number);
        for (int step = 0; step < 2000; ++step) {
            if (random() % 5 < 3) {
                const auto expected = free.empty() ? std::nullopt : std::optional(*free.begin());
                REQUIRE(some.pool.allocate() == expected);
                if (expected)
                    free.erase(*expected);
            } else {
                const auto number = static_cast<std::uint32_t>(random() % (stacks + 1));
                const bool in_use = number < stacks && !free.contains(number);
                REQUIRE(some.pool.free(base + number * 8192).has_value() == in_use);
                if (in_use)
                    free.insert(number);
            }
            REQUIRE(some.pool.free_count() == free.size());
        }
    }
}

TEST_CASE("where the stacks are") {
    CHECK(TaskStackPool::address(0) == 0xD0000000);
    CHECK(TaskStackPool::bottom(0) == 0xD0001000);
    CHECK(TaskStackPool::address(1023) == 0xD07FE000);
    CHECK(TaskStackPool::bottom(1023) == 0xD07FF000);
}

TEST_CASE("all stacks are mapped; guard pages are written to, unmapped and then invalidated") {
    for (const PagingMode mode : {PagingMode::legacy, PagingMode::pae}) {
        const bool pae = mode == PagingMode::pae;
        INFO("PAE: ", pae);
        Machine machine;
        core::AddressSpace space(machine.platform().memory, Machine::layout, mode, 0);
        space.build();
        constexpr std::uint32_t stacks = 1023;
        std::memset(machine.stack_area.get(), 0xEE, Machine::stack_area_size);

        const auto entry = [&](std::uint32_t page) {
            return space.read(paging_level::page_table, base + page * 4096);
        };
        std::uint32_t next = 0;
        machine.processor.on_invalidate = [&](std::uint32_t address) {
            REQUIRE(address == base + next * 8192);
            REQUIRE(entry(2 * next) == 0);
            std::uint32_t word = 0;
            std::memcpy(&word, machine.stack_area.get() + next * 8192, sizeof(word));
            REQUIRE(word == 0);
            ++next;
        };
        Pool some(stacks);
        some.pool.build(space, machine.processor, machine.stack_area.get());
        CHECK(next == stacks);
        for (std::uint32_t stack = 0; stack < stacks; ++stack) {
            REQUIRE(entry(2 * stack) == 0);
            REQUIRE(entry(2 * stack + 1) == 0x1000003 + (2 * stack + 1) * 4096);
        }
        CHECK(entry(2 * stacks) == 0);
        CHECK(entry(2 * stacks + 1) == 0);

        // Nothing else of an object was touched, and what is free is not said in there.
        const auto untouched =
            std::count(machine.stack_area.get(),
                       machine.stack_area.get() + Machine::stack_area_size, std::byte{0xEE});
        CHECK(static_cast<std::size_t>(untouched) == Machine::stack_area_size - 4 * stacks);
        REQUIRE(some.pool.allocate() == std::optional(0u));
        REQUIRE(some.pool.allocate() == std::optional(1u));
        REQUIRE(some.pool.free(base).has_value());
        CHECK(std::count(machine.stack_area.get(),
                         machine.stack_area.get() + Machine::stack_area_size,
                         std::byte{0xEE}) == untouched);
    }
}

TEST_CASE("a task's stack is its own until it is reclaimed") {
    Pool some(3);
    CHECK_FALSE(some.pool.are_any_used_by_tasks());
    CHECK(some.pool.allocate() == std::optional(0u));
    CHECK(some.pool.allocate_for_task() == std::optional(1u));
    CHECK(some.pool.allocate_for_task() == std::optional(2u));
    CHECK(some.pool.allocate_for_task() == std::nullopt);
    CHECK_FALSE(some.pool.is_used_by_task(0));
    CHECK(some.pool.is_used_by_task(1));
    CHECK(some.pool.is_used_by_task(2));
    CHECK(some.failure_of(base + 8192) == stack_failure::used_by_task);
    CHECK(some.failure_of(base + 8193) == stack_failure::misaligned);
    some.pool.reclaim(1);
    CHECK_FALSE(some.pool.is_used_by_task(1));
    CHECK(some.failure_of(base + 8192) == stack_failure::not_in_use);
    CHECK(some.pool.are_any_used_by_tasks());
    some.pool.reclaim(2);
    CHECK_FALSE(some.pool.are_any_used_by_tasks());
    CHECK(some.pool.free_count() == 2);
    CHECK(some.pool.allocate() == std::optional(1u));
    CHECK_FALSE(some.pool.is_used_by_task(1));
}

TEST_CASE("which bytes are in a task's object: the guard page is, what is beside it is not") {
    Pool some(40);
    for (std::uint32_t number = 0; number < 33; ++number)
        REQUIRE(some.pool.allocate() == std::optional(number));
    REQUIRE(some.pool.allocate_for_task() == std::optional(33u));
    const std::uint32_t object = base + 33 * 8192;
    CHECK(some.pool.touches_task(object, 1));
    CHECK(some.pool.touches_task(object + 8191, 1));
    CHECK_FALSE(some.pool.touches_task(object - 4, 4));
    CHECK(some.pool.touches_task(object - 3, 4));
    CHECK(some.pool.touches_task(object + 8191, 4));
    CHECK_FALSE(some.pool.touches_task(object + 8192, 4));
    CHECK_FALSE(some.pool.touches_task(base - 4, 4));
    CHECK_FALSE(some.pool.touches_task(base + 40 * 8192, 4));
    CHECK_FALSE(some.pool.touches_task(0, 4));
    CHECK_FALSE(some.pool.touches_task(0xFFFFFFFC, 4));
}

TEST_CASE("a stack pointer is on the stack whose object it has come down into") {
    Pool some(2);
    CHECK(some.pool.stack_at(base) == std::nullopt);
    CHECK(some.pool.stack_at(base + 1) == std::optional(0u));
    CHECK(some.pool.stack_at(base + 8192) == std::optional(0u));
    CHECK(some.pool.stack_at(base + 8193) == std::optional(1u));
    CHECK(some.pool.stack_at(base + 2 * 8192) == std::optional(1u));
    CHECK(some.pool.stack_at(base + 2 * 8192 + 1) == std::nullopt);
    CHECK(some.pool.stack_at(0xC0120000) == std::nullopt);
    CHECK(TaskStackPool::end(1) == base + 2 * 8192);
}
