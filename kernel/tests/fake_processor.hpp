// A processor that notes what it is asked to do, and faults when it is told to.
#pragma once

#include "core/processor.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace tests {

// The machine state of a fault, as far as most tests care.
[[nodiscard]] inline core::FaultRecord fault(protocol::exception vector, std::uint32_t eip,
                                             std::uint32_t esp) {
    core::FaultRecord record{};
    record.vector = vector;
    record.eip = eip;
    record.esp = esp;
    return record;
}

class FakeProcessor final : public core::Processor {
public:
    void listen(core::FaultListener& fault_listener) override { listener = &fault_listener; }
    [[nodiscard]] std::uint32_t features() const override { return has; }
    [[nodiscard]] core::ControlRegisters control_registers() const override { return registers; }

    void invalidate_page(core::LinearAddress address) override {
        note("invalidate_page", address);
        if (on_invalidate)
            on_invalidate(address);
    }
    core::Attempt access(core::LinearAddress address, core::Access access, std::uint32_t ring,
                         bool alignment_check) override {
        return attempt("access", address, number(access.kind), access.size, ring, alignment_check,
                       number(access.through));
    }
    core::Attempt access_segment(const core::SegmentDescription& segment, std::uint32_t offset,
                                 core::Access access) override {
        return attempt("access_segment", number(segment.target), segment.expand_down, segment.base,
                       segment.limit, offset, number(access.kind), access.size);
    }
    core::Attempt raise(protocol::raise_cause cause) override {
        return attempt("raise", number(cause));
    }
    core::Attempt interrupt(std::uint8_t vector) override { return attempt("interrupt", vector); }
    core::Attempt reload() override { return attempt("reload"); }
    core::Attempt write_control(protocol::control_bit bit, bool value) override {
        return attempt("write_control", number(bit), value);
    }
    core::Attempt overflow(core::LinearAddress bottom, protocol::overflow_kind how,
                           std::uint32_t size) override {
        return attempt("overflow", bottom, number(how), size);
    }
    void shut_down() override { note("shut_down"); }

    // What it is.
    std::uint32_t has = 0x1F;
    core::ControlRegisters registers{
        .cr0 = 0x80010011, .cr2 = 0xBAD, .cr3 = 0x10A000, .cr4 = 0, .efer = 0};
    // What the next attempt does: fault in one of these ways, or give this value.
    std::optional<core::FaultRecord> expected_fault;
    std::optional<core::FaultRecord> unexpected_fault;
    std::uint64_t read_value = 0;
    std::function<void(core::LinearAddress)> on_invalidate;

    // What happened to it. All numbers of a call are hexadecimal.
    std::vector<std::string> calls;
    std::optional<core::AfterFault> after_fault;
    core::FaultListener* listener = nullptr;

private:
    template <typename Enumeration> static std::uint32_t number(Enumeration name) {
        return static_cast<std::uint32_t>(name);
    }

    template <typename... Numbers> void note(const char* name, Numbers... numbers) {
        std::ostringstream call;
        call << name << std::hex;
        ((call << ' ' << std::uint64_t{numbers}), ...);
        calls.push_back(call.str());
    }

    template <typename... Numbers> core::Attempt attempt(const char* name, Numbers... numbers) {
        note(name, numbers...);
        const bool expected = expected_fault.has_value();
        const auto record = expected ? expected_fault : unexpected_fault;
        if (!record)
            return {protocol::attempt::done, read_value};
        expected_fault.reset();
        unexpected_fault.reset();
        after_fault = listener->on_fault(*record, expected);
        return {protocol::attempt::faulted, 0};
    }
};

} // namespace tests
