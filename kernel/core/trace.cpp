#include "core/trace.hpp"

namespace core {

Trace::Trace(std::span<std::byte> buffer)
    : m_buffer(buffer),
      m_capacity(static_cast<std::uint32_t>(buffer.size() - sizeof(protocol::trace_header))) {
    header().status = protocol::trace_status::none;
    header().written = 0;
    header().records = 0;
    header().magic = protocol::trace_magic;
    header().version = protocol::version;
    header().capacity = m_capacity;
    header().status = m_status;
}

Progress Trace::panic(protocol::panic_reason reason, std::uint64_t detail) {
    if (m_status == protocol::trace_status::running) {
        append(protocol::event::panic{.reason = reason, .detail = detail});
        end(protocol::trace_status::panicked);
    }
    return Progress::stopped;
}

Progress Trace::complete(std::uint32_t operations) {
    const auto progress = write(protocol::event::completed{.operations = operations});
    if (!stopped(progress))
        end(protocol::trace_status::completed);
    return Progress::stopped;
}

void Trace::end(protocol::trace_status status) {
    barrier();
    header().status = status;
    m_status = status;
    // Whatever is still written finds no room, and its panic comes too late.
    m_capacity = m_written;
}

} // namespace core
