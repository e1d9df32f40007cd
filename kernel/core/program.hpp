// A program as the boot loader delivered it, and whether it is one.
#pragma once

#include "core/unaligned.hpp"
#include "protocol.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace core {

class Program {
public:
    // The first module's bytes; none where there is no module.
    explicit Program(std::span<const std::byte> bytes);

    // The offset of the first thing that is wrong. If there is one, nothing else here may be asked.
    [[nodiscard]] std::optional<std::uint32_t> defect() const { return m_defect; }

    [[nodiscard]] std::uint32_t operation_count() const { return m_header.operations; }
    [[nodiscard]] std::uint32_t stack_count() const { return m_header.stacks; }
    [[nodiscard]] protocol::schedule schedule() const {
        return static_cast<protocol::schedule>(m_header.schedule);
    }
    [[nodiscard]] std::uint32_t quantum() const { return m_header.quantum; }
    [[nodiscard]] bool has_priorities() const {
        return protocol::has(m_header.flags, protocol::program_flag::priorities);
    }
    [[nodiscard]] bool asks_for(protocol::state_region region) const {
        return (m_header.state_regions & (1u << static_cast<std::uint32_t>(region))) != 0;
    }

    [[nodiscard]] bool wants_echo() const {
        return protocol::has(m_header.flags, protocol::program_flag::echo);
    }

    // The operations in their order. Each is loaded as what its code says it is.
    class Cursor {
    public:
        // At an operation that begins so many bytes after the first one.
        explicit Cursor(const Program& program, std::uint32_t offset = 0)
            : m_operations(program.m_bytes.subspan(sizeof(protocol::program_header))),
              m_offset(offset) {}

        [[nodiscard]] std::uint32_t offset() const { return m_offset; }

        [[nodiscard]] protocol::operation_code code() const {
            return load<protocol::operation_header>(m_operations.data() + m_offset).code;
        }
        template <typename Operation> [[nodiscard]] Operation take() {
            const auto operation = load<Operation>(m_operations.data() + m_offset);
            m_offset += sizeof(Operation);
            return operation;
        }
        void skip() { m_offset += protocol::operation_size(code()); }

    private:
        std::span<const std::byte> m_operations;
        std::uint32_t m_offset;
    };

private:
    [[nodiscard]] std::optional<std::uint32_t> find_defect() const;

    std::span<const std::byte> m_bytes;
    protocol::program_header m_header{};
    std::optional<std::uint32_t> m_defect;
};

} // namespace core
