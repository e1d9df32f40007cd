#include "core/task_stack_pool.hpp"

namespace core {

namespace {

constexpr std::uint32_t object_pages = protocol::task_stack_size / protocol::frame_size;

// Of which object of the pool an address in it is.
constexpr std::uint32_t object_of(LinearAddress address) {
    return static_cast<std::uint32_t>(address - protocol::area::stacks) / protocol::task_stack_size;
}

} // namespace

void TaskStackPool::build(AddressSpace& space, Processor& processor, std::byte* memory) const {
    for (std::uint32_t page = 0; page < stacks() * object_pages; ++page)
        space.map_stack_page(page);
    for (std::uint32_t stack = 0; stack < stacks(); ++stack) {
        // Through the guard page, while it is there: now the processor may have its translation.
        *reinterpret_cast<volatile std::uint32_t*>(memory + stack * protocol::task_stack_size) = 0;
        space.unmap_stack_page(stack * object_pages);
        processor.invalidate_page(address(stack));
    }
}

Result<std::uint32_t, protocol::stack_failure> TaskStackPool::free(LinearAddress object) {
    if (!range().contains(object, 1))
        return protocol::stack_failure::outside;
    const auto offset = static_cast<std::uint32_t>(object - protocol::area::stacks);
    if (offset % protocol::task_stack_size != 0)
        return protocol::stack_failure::misaligned;
    const std::uint32_t stack = offset / protocol::task_stack_size;
    if (m_allocator.is_free(stack))
        return protocol::stack_failure::not_in_use;
    if (is_used_by_task(stack))
        return protocol::stack_failure::used_by_task;
    m_allocator.release({stack, stack + 1});
    return stack;
}

std::optional<std::uint32_t> TaskStackPool::stack_at(LinearAddress stack_pointer) const {
    if (!range().is_stack_of(stack_pointer))
        return std::nullopt;
    // An empty stack's pointer is where the next object starts: it is not on that one.
    return object_of(stack_pointer - 1);
}

std::optional<std::uint32_t> TaskStackPool::allocate_for_task() {
    const auto stack = m_allocator.allocate();
    if (stack) {
        m_task_stacks[*stack / Bitmap::word_bits] |= 1u << *stack % Bitmap::word_bits;
        ++m_used_by_tasks;
    }
    return stack;
}

void TaskStackPool::reclaim(std::uint32_t stack) {
    m_task_stacks[stack / Bitmap::word_bits] &= ~(1u << stack % Bitmap::word_bits);
    --m_used_by_tasks;
    m_allocator.release({stack, stack + 1});
}

bool TaskStackPool::touches_task(LinearAddress first, std::uint32_t size) const {
    // No access is as large as an object: if it touches one, its first or its last byte does.
    return is_in_object_of_task(first) || is_in_object_of_task(first + size - 1);
}

bool TaskStackPool::is_in_object_of_task(LinearAddress byte) const {
    return range().contains(byte, 1) && is_used_by_task(object_of(byte));
}

} // namespace core
