// What firmware does so that a kernel which knows of no local APIC gets interrupts.
#pragma once

#include <cstdint>

// Interrupts of the 8259A come through LINT0 of the local APIC, if there is one. After a reset that
// is masked, and cannot be unmasked before the APIC is enabled (SDM vol. 3, 10.4.7.1 and 10.5.1).
// This is the virtual wire mode of the MultiProcessor Specification 1.4, section 3.6.2.2.
inline void let_interrupts_through_local_apic() {
    constexpr std::uint32_t has_apic = 1u << 9; // CPUID leaf 1, EDX
    std::uint32_t eax = 1;
    std::uint32_t ecx = 0;
    std::uint32_t edx = 0;
    asm volatile("cpuid" : "+a"(eax), "+c"(ecx), "=d"(edx) : : "ebx");
    if ((edx & has_apic) == 0)
        return;
    const auto write = [](std::uint32_t offset, std::uint32_t value) {
        *reinterpret_cast<volatile std::uint32_t*>(0xFEE00000 + offset) = value;
    };
    write(0x0F0, 0x1FF); // spurious-interrupt vector register: enabled
    write(0x350, 0x700); // LINT0: ExtINT, not masked
}
