// What CPUID may say that the processor has: the bits of event::paging.features.
#pragma once

#include <cstdint>

namespace core {

enum class Feature : std::uint32_t {
    page_size_extensions = 1,
    physical_address_extension = 2,
    no_execute = 4,
    supervisor_execution = 8,
    supervisor_access = 16,
    huge_pages = 32, // of 1 GiB
};

// IA32_EFER.NXE: whether the processor uses what Feature::no_execute says it has.
inline constexpr std::uint32_t efer_no_execute = 1 << 11;

[[nodiscard]] constexpr bool has(std::uint32_t features, Feature feature) {
    return (features & static_cast<std::uint32_t>(feature)) != 0;
}

} // namespace core
