#include "core/task_stack_pool.hpp"

namespace core {

namespace {

constexpr std::uint32_t object_pages = protocol::task_stack_size / protocol::frame_size;

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
    m_allocator.release({stack, stack + 1});
    return stack;
}

} // namespace core
