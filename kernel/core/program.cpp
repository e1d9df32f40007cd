#include "core/program.hpp"

namespace core {

namespace {

bool is_schedule(std::uint32_t value) {
    switch (static_cast<protocol::schedule>(value)) {
    case protocol::schedule::cooperative:
    case protocol::schedule::stepped:
    case protocol::schedule::timer:
        return true;
    }
    return false;
}

} // namespace

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
    if (!is_schedule(m_header.schedule))
        return offsetof(protocol::program_header, schedule);
    if (m_header.quantum == 0)
        return offsetof(protocol::program_header, quantum);
    return std::nullopt;
}

} // namespace core
