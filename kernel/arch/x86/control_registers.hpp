// Control registers, CPUID and model-specific registers. The flags that the kernel knows are all in
// the lower halves.
#pragma once

#include <cstdint>

namespace x86 {

namespace cr0 {
inline constexpr std::uint32_t task_switched = 1u << 3;
inline constexpr std::uint32_t write_protect = 1u << 16;
inline constexpr std::uint32_t alignment_mask = 1u << 18;
} // namespace cr0

namespace cr4 {
inline constexpr std::uint32_t page_size_extensions = 1u << 4;
inline constexpr std::uint32_t physical_address_extension = 1u << 5;
inline constexpr std::uint32_t supervisor_execution = 1u << 20;
inline constexpr std::uint32_t supervisor_access = 1u << 21;
inline constexpr std::uint32_t reserved = 1u << 31;
} // namespace cr4

namespace efer {
inline constexpr std::uint32_t model_specific_register = 0xC0000080;
inline constexpr std::uint32_t no_execute = 1u << 11;
} // namespace efer

inline std::uintptr_t read_cr0() {
    std::uintptr_t value;
    asm volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}

inline void write_cr0(std::uintptr_t value) {
    asm volatile("mov %0, %%cr0" : : "r"(value) : "memory");
}

inline std::uintptr_t read_cr2() {
    std::uintptr_t value;
    asm volatile("mov %%cr2, %0" : "=r"(value));
    return value;
}

inline void write_cr2(std::uintptr_t value) {
    asm volatile("mov %0, %%cr2" : : "r"(value) : "memory");
}

inline std::uintptr_t read_cr3() {
    std::uintptr_t value;
    asm volatile("mov %%cr3, %0" : "=r"(value));
    return value;
}

inline std::uintptr_t read_cr4() {
    std::uintptr_t value;
    asm volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}

inline void write_cr4(std::uintptr_t value) {
    asm volatile("mov %0, %%cr4" : : "r"(value) : "memory");
}

inline std::uint32_t read_efer() {
    std::uint32_t value;
    asm volatile("rdmsr" : "=a"(value) : "c"(efer::model_specific_register) : "edx");
    return value;
}

inline void write_efer(std::uint32_t value) {
    asm volatile("wrmsr" : : "c"(efer::model_specific_register), "a"(value), "d"(0) : "memory");
}

struct ProcessorIdentification {
    std::uint32_t eax, ebx, ecx, edx;
};

inline ProcessorIdentification identify(std::uint32_t leaf) {
    ProcessorIdentification result;
    asm volatile("cpuid"
                 : "=a"(result.eax), "=b"(result.ebx), "=c"(result.ecx), "=d"(result.edx)
                 : "a"(leaf), "c"(0));
    return result;
}

} // namespace x86
