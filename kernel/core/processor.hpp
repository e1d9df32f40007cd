// What the kernel asks of the processor that it runs on (TRACE.md, "Faults" and what follows). Arch
// code answers; on the host, tests do.
#pragma once

#include "core/linear_range.hpp"
#include "protocol.hpp"

#include <cstdint>

namespace core {

// The machine state that an exception interrupted.
struct FaultRecord {
    protocol::exception vector;
    std::uint32_t error_code; // 0 for vectors that have none
    LinearAddress cr2;        // untouched_cr2 when the attempt began
    LinearAddress eip;
    LinearAddress esp; // when the exception was raised
    std::uint8_t cpl;
    std::uint64_t eax, ecx, edx, ebx, ebp, esi, edi;
    std::uint32_t eflags, cs, cr0;
    std::uint64_t cr3;
    std::uint32_t cr4;
};

enum class AfterFault { resume, end_run };

// Is told of each exception, by its handler.
class FaultListener {
public:
    // `expected`: an attempt is in progress. Without one, or when the trace is full, the run is
    // over.
    virtual AfterFault on_fault(const FaultRecord& fault, bool expected) = 0;

protected:
    ~FaultListener() = default;
};

// How an attempt ended.
struct Attempt {
    protocol::attempt outcome;
    std::uint64_t value; // what a read that succeeded gave, else 0
};

struct ControlRegisters {
    std::uint32_t cr0;
    std::uint64_t cr2, cr3;
    std::uint32_t cr4, efer; // efer: 0 where the processor has no NX
};

struct Access {
    protocol::access_kind kind;
    std::uint32_t size; // bytes: 1, 2 or 4; in 64-bit mode, 8 too
    protocol::base_register through = protocol::base_register::plain;
};

struct SegmentDescription {
    protocol::segment_register target;
    bool expand_down;
    std::uint32_t base;
    std::uint32_t limit; // effective, in bytes
};

// An attempt tells the listener of each fault before it returns.
class Processor {
public:
    virtual void listen(FaultListener& listener) = 0;

    // Bits as in event::paging.features.
    [[nodiscard]] virtual std::uint32_t features() const = 0;
    [[nodiscard]] virtual ControlRegisters control_registers() const = 0;
    virtual void invalidate_page(LinearAddress address) = 0;

    virtual Attempt access(LinearAddress address, Access access, std::uint32_t ring,
                           bool alignment_check) = 0;
    virtual Attempt access_segment(const SegmentDescription& segment, std::uint32_t offset,
                                   Access access) = 0;
    virtual Attempt raise(protocol::raise_cause cause) = 0;
    virtual Attempt interrupt(std::uint8_t vector) = 0;
    virtual Attempt reload() = 0;
    // The bit, and if that did not fault, CR3.
    virtual Attempt write_control(protocol::control_bit bit, bool value) = 0;
    // `bottom` is the lowest byte of the stack proper; its top is one page above.
    virtual Attempt overflow(LinearAddress bottom, protocol::overflow_kind how,
                             std::uint32_t size) = 0;
    // A triple fault. Returns on a machine that survives it.
    virtual void shut_down() = 0;

protected:
    ~Processor() = default;
};

} // namespace core
