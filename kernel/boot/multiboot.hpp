// The parts of the Multiboot information that the ROM fills in (Multiboot 0.6.96, section 3.3).
#pragma once

#include <cstddef>
#include <cstdint>

namespace multiboot {

constexpr std::uint32_t has_modules = 1U << 3;
constexpr std::uint32_t has_memory_map = 1U << 6;
constexpr std::uint32_t has_loader_name = 1U << 9;

struct Information {
    std::uint32_t flags;
    std::uint32_t memory_lower;
    std::uint32_t memory_upper;
    std::uint32_t boot_device;
    std::uint32_t command_line;
    std::uint32_t module_count;
    std::uint32_t module_list;
    std::uint32_t symbols[4];
    std::uint32_t memory_map_size;
    std::uint32_t memory_map;
    std::uint32_t drives_size;
    std::uint32_t drives;
    std::uint32_t configuration_table;
    std::uint32_t loader_name;
    std::uint32_t rest[12];
};
static_assert(offsetof(Information, memory_map) == 48);
static_assert(offsetof(Information, loader_name) == 64);
static_assert(sizeof(Information) == 116);

struct Module {
    std::uint32_t start;
    std::uint32_t end;
    std::uint32_t text;
    std::uint32_t reserved;
};
static_assert(sizeof(Module) == 16);

} // namespace multiboot
