// Building and taking apart the byte strings that go in and come out of the kernel.
#pragma once

#include "core/unaligned.hpp"
#include "protocol.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iomanip>
#include <ostream>
#include <span>
#include <stdexcept>
#include <vector>

namespace tests {

using Bytes = std::vector<std::byte>;

template <typename Value> Bytes& append(Bytes& bytes, const Value& value) {
    const auto* start = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), start, start + sizeof(value));
    return bytes;
}

template <typename... Values> [[nodiscard]] Bytes bytes_of(const Values&... values) {
    Bytes bytes;
    (append(bytes, values), ...);
    return bytes;
}

// A Multiboot map entry; what `size` claims beyond the 20 bytes that matter is filled up.
[[nodiscard]] inline Bytes map_entry(std::uint64_t base, std::uint64_t length,
                                     std::uint32_t type = 1, std::uint32_t size = 20) {
    Bytes bytes = bytes_of(size, base, length, type);
    if (size > 20)
        bytes.resize(size + sizeof(size), std::byte{0xA5});
    return bytes;
}

[[nodiscard]] inline Bytes joined(const std::vector<Bytes>& parts) {
    Bytes bytes;
    for (const Bytes& part : parts)
        bytes.insert(bytes.end(), part.begin(), part.end());
    return bytes;
}

// The module's bytes for a program of these operations, with what else a header says; the magic and
// how many operations there are is filled in.
template <typename... Operations>
[[nodiscard]] Bytes program_with_header(protocol::program_header header,
                                        const Operations&... operations) {
    header.magic = protocol::program_magic;
    header.operations = sizeof...(operations);
    return joined({bytes_of(header), bytes_of(operations...)});
}

template <typename... Operations>
[[nodiscard]] Bytes program_with_states(std::uint32_t state_regions,
                                        const Operations&... operations) {
    return program_with_header({.magic = 0,
                                .operations = 0,
                                .state_regions = state_regions,
                                .flags = 0,
                                .stacks = 0,
                                .schedule = 0,
                                .quantum = 1},
                               operations...);
}

template <typename... Operations> [[nodiscard]] Bytes program(const Operations&... operations) {
    return program_with_states(0, operations...);
}

// One record of a trace. Its size and sequence are checked where it is read, and not kept.
struct Record {
    protocol::event_kind kind;
    Bytes fields;

    bool operator==(const Record&) const = default;

    friend std::ostream& operator<<(std::ostream& stream, const Record& record) {
        stream << "event " << static_cast<unsigned>(record.kind) << std::hex << std::setfill('0');
        for (const std::byte byte : record.fields)
            stream << ' ' << std::setw(2) << static_cast<unsigned>(byte);
        return stream << std::dec;
    }
};

using Records = std::vector<Record>;

template <typename Event> [[nodiscard]] Record record_of(const Event& event) {
    Bytes fields = bytes_of(event);
    fields.erase(fields.begin(), fields.begin() + sizeof(protocol::trace_record));
    return {Event::kind, fields};
}

template <typename... Events> [[nodiscard]] Records records_of(const Events&... events) {
    return {record_of(events)...};
}

[[nodiscard]] inline protocol::trace_header header_of(std::span<const std::byte> trace) {
    return core::load<protocol::trace_header>(trace.data());
}

// The complete records of a trace buffer.
[[nodiscard]] inline Records read_trace(std::span<const std::byte> trace) {
    const auto header = header_of(trace);
    auto rest = trace.subspan(sizeof(header)).first(header.written);
    Records records;
    while (!rest.empty()) {
        const auto record = core::load<protocol::trace_record>(rest.data());
        if (record.size < sizeof(record) || record.size > rest.size())
            throw std::runtime_error("a record does not fit into what is written");
        if (record.sequence != records.size())
            throw std::runtime_error("a record is out of sequence");
        const auto fields = rest.first(record.size).subspan(sizeof(record));
        records.push_back({record.kind, Bytes(fields.begin(), fields.end())});
        rest = rest.subspan(record.size);
    }
    if (records.size() != header.records)
        throw std::runtime_error("the header counts other records than there are");
    return records;
}

// The records of one kind.
template <typename Event> [[nodiscard]] Records only(const Records& records) {
    Records found;
    for (const Record& record : records) {
        if (record.kind == Event::kind)
            found.push_back(record);
    }
    return found;
}

// What a record says, as the event that it is.
template <typename Event> [[nodiscard]] Event event_in(const Record& record) {
    Event event{};
    if (record.kind != Event::kind || record.fields.size() != sizeof(event) - sizeof(event.record))
        throw std::runtime_error("the record is of another kind");
    std::memcpy(reinterpret_cast<std::byte*>(&event) + sizeof(event.record), record.fields.data(),
                record.fields.size());
    return event;
}

// A packed field cannot be referred to: it is copied before doctest takes a reference.
template <typename Value> [[nodiscard]] constexpr Value copy(Value value) {
    return value;
}

} // namespace tests

// Where traces differ: at which record, and what both say there.
#define CHECK_RECORDS(actual_records, expected_records)                                            \
    do {                                                                                           \
        const ::tests::Records actual_ = (actual_records);                                         \
        const ::tests::Records expected_ = (expected_records);                                     \
        for (std::size_t index_ = 0; index_ < actual_.size() && index_ < expected_.size();         \
             ++index_) {                                                                           \
            INFO("record ", index_);                                                               \
            CHECK(actual_[index_] == expected_[index_]);                                           \
        }                                                                                          \
        CHECK(actual_.size() == expected_.size());                                                 \
    } while (false)
