// The processor, as the hardware-free kernel knows it.
#pragma once

#include "core/processor.hpp"

namespace x86 {

class Processor final : public core::Processor {
public:
    void listen(core::FaultListener& listener) override;

    [[nodiscard]] std::uint32_t features() const override;
    [[nodiscard]] core::ControlRegisters control_registers() const override;
    void invalidate_page(core::LinearAddress address) override;

    core::Attempt access(core::LinearAddress address, core::Access access, std::uint32_t ring,
                         bool alignment_check) override;
    core::Attempt access_segment(const core::SegmentDescription& segment, std::uint32_t offset,
                                 core::Access access) override;
    core::Attempt raise(protocol::raise_cause cause) override;
    core::Attempt interrupt(std::uint8_t vector) override;
    core::Attempt reload() override;
    core::Attempt write_control(protocol::control_bit bit, bool value) override;
    core::Attempt overflow(core::LinearAddress bottom, protocol::overflow_kind how,
                           std::uint32_t size) override;
    void shut_down() override;
};

} // namespace x86
