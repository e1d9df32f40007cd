// The writer of the trace buffer. Somebody may look into the buffer from outside at any time, or
// after the machine died: what the header counts is always complete.
#pragma once

#include "core/progress.hpp"
#include "protocol.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace core {

class Trace {
public:
    // A buffer of this size has room for nothing but a panic.
    static constexpr std::size_t minimum_size =
        sizeof(protocol::trace_header) + sizeof(protocol::event::panic);

    // The buffer has `minimum_size` bytes at least. Begins an empty trace whose status is
    // `running`.
    explicit Trace(std::span<std::byte> buffer);

    // Appends an event; what its record header says about the sequence is filled in here. If only a
    // panic fits, that is what is written, and the run is over.
    template <typename Event> Progress write(Event event) {
        if (!has_room(sizeof(event)))
            return panic(protocol::panic_reason::trace_full, 0);
        append(event);
        return Progress::going;
    }

    // Ends the trace: the record first, then the status. A trace that has ended takes nothing more.
    Progress panic(protocol::panic_reason reason, std::uint64_t detail);
    Progress complete(std::uint32_t operations);

    [[nodiscard]] protocol::trace_status status() const { return m_status; }

private:
    // The compiler must neither move a store to what an outsider reads, nor leave one out.
    static void barrier() { asm volatile("" ::: "memory"); }

    [[nodiscard]] bool has_room(std::size_t size) const {
        return size + sizeof(protocol::event::panic) <= m_capacity - m_written;
    }
    [[nodiscard]] volatile protocol::trace_header& header() {
        return *reinterpret_cast<volatile protocol::trace_header*>(m_buffer.data());
    }

    template <typename Event> void append(Event event) {
        static_assert(sizeof(event.record) <= sizeof(event));
        event.record.sequence = m_records;
        __builtin_memcpy(m_buffer.data() + sizeof(protocol::trace_header) + m_written, &event,
                         sizeof(event));
        ++m_records;
        m_written += static_cast<std::uint32_t>(sizeof(event));
        barrier();
        header().records = m_records;
        header().written = m_written;
    }

    void end(protocol::trace_status status);

    std::span<std::byte> m_buffer;
    std::uint32_t m_capacity;
    std::uint32_t m_written = 0;
    std::uint32_t m_records = 0;
    protocol::trace_status m_status = protocol::trace_status::running;
};

} // namespace core
