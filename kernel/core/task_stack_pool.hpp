// The pool of task stacks (TRACE.md, "The task stack pool"). An object is a guard page, then a page
// of stack; which objects are free is kept beside them, so that none has to be mapped to be free.
#pragma once

#include "core/address_space.hpp"
#include "core/bitmap_allocator.hpp"
#include "core/linear_range.hpp"
#include "core/processor.hpp"
#include "core/result.hpp"
#include "protocol.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace core {

class TaskStackPool {
public:
    static constexpr std::uint32_t bitmap_words = protocol::maximum_stacks / Bitmap::word_bits;

    // The words hold one bit a stack. All stacks are free at birth.
    TaskStackPool(std::span<std::uint32_t> words, std::uint32_t stacks)
        : m_allocator(words, stacks, BitmapAllocator::Birth::all_free) {}

    // Maps all stacks, and takes their guard pages away again. `memory` is where the stack area
    // appears.
    void build(AddressSpace& space, Processor& processor, std::byte* memory) const;

    [[nodiscard]] std::uint32_t stacks() const { return m_allocator.size(); }
    [[nodiscard]] std::uint32_t free_count() const { return m_allocator.free_count(); }

    // All objects, guard pages included.
    [[nodiscard]] LinearRange range() const {
        return {protocol::area::stacks,
                protocol::area::stacks + stacks() * protocol::task_stack_size};
    }
    // The address of an object: of its guard page.
    [[nodiscard]] static constexpr LinearAddress address(std::uint32_t stack) {
        return protocol::area::stacks + stack * protocol::task_stack_size;
    }
    // The lowest byte of the stack proper.
    [[nodiscard]] static constexpr LinearAddress bottom(std::uint32_t stack) {
        return address(stack) + protocol::frame_size;
    }

    // Where the stack pointer of an empty stack is.
    [[nodiscard]] static constexpr LinearAddress end(std::uint32_t stack) {
        return address(stack) + protocol::task_stack_size;
    }
    // The stack that this stack pointer is on.
    [[nodiscard]] std::optional<std::uint32_t> stack_at(LinearAddress stack_pointer) const;

    // Takes the lowest free stack.
    [[nodiscard]] std::optional<std::uint32_t> allocate() { return m_allocator.allocate(); }

    // The same for a task, whose own it is until it is reclaimed.
    [[nodiscard]] std::optional<std::uint32_t> allocate_for_task();
    void reclaim(std::uint32_t stack);
    [[nodiscard]] bool is_used_by_task(std::uint32_t stack) const {
        return (m_task_stacks[stack / Bitmap::word_bits] >> stack % Bitmap::word_bits & 1) != 0;
    }
    [[nodiscard]] bool are_any_used_by_tasks() const { return m_used_by_tasks != 0; }
    // Whether one of these bytes, which do not go past the end of the address space, is in an
    // object whose stack a task uses.
    [[nodiscard]] bool touches_task(LinearAddress first, std::uint32_t size) const;

    // Takes back the stack whose object is at an address, and says which that was.
    [[nodiscard]] Result<std::uint32_t, protocol::stack_failure> free(LinearAddress object);

private:
    [[nodiscard]] bool is_in_object_of_task(LinearAddress byte) const;

    BitmapAllocator m_allocator;
    std::uint32_t m_task_stacks[bitmap_words]{}; // one bit a stack: 1 is used by a task
    std::uint32_t m_used_by_tasks = 0;
};

} // namespace core
