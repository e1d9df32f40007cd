#include "core/program.hpp"

namespace core {

Program::Program(std::span<const std::byte> bytes) : m_bytes(bytes) {
    // What is too short for a header has no magic either: both are a defect at offset 0.
    if (m_bytes.size() >= sizeof(m_header))
        m_header = load<protocol::program_header>(m_bytes.data());
    m_defect = find_defect();
}

std::optional<std::uint32_t> Program::find_defect() const {
    if (m_header.magic != protocol::program_magic)
        return 0;
    if (m_header.operations > protocol::maximum_operations)
        return offsetof(protocol::program_header, operations);
    std::uint32_t offset = sizeof(m_header);
    for (std::uint32_t index = 0; index < m_header.operations; ++index) {
        const auto rest = m_bytes.subspan(offset);
        if (rest.size() < sizeof(protocol::operation_header))
            return offset;
        const auto header = load<protocol::operation_header>(rest.data());
        const std::uint16_t size = protocol::operation_size(header.code);
        if (size == 0 || header.size != size || rest.size() < size)
            return offset;
        offset += size;
    }
    if (m_header.stacks > protocol::maximum_stacks)
        return offsetof(protocol::program_header, stacks);
    return std::nullopt;
}

} // namespace core
