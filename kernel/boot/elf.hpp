// The parts of the ELF format that a loader reads (System V ABI, chapters 4 and 5).
#pragma once

#include <cstdint>

namespace elf {

struct Header32 {
    std::uint8_t identification[16];
    std::uint16_t type;
    std::uint16_t machine;
    std::uint32_t version;
    std::uint32_t entry;
    std::uint32_t segment_table;
    std::uint32_t section_table;
    std::uint32_t flags;
    std::uint16_t header_size;
    std::uint16_t segment_entry_size;
    std::uint16_t segment_count;
    std::uint16_t section_entry_size;
    std::uint16_t section_count;
    std::uint16_t section_names;
};
static_assert(sizeof(Header32) == 52);

struct Segment32 {
    std::uint32_t type;
    std::uint32_t offset;
    std::uint32_t virtual_address;
    std::uint32_t physical_address;
    std::uint32_t file_size;
    std::uint32_t memory_size;
    std::uint32_t flags;
    std::uint32_t alignment;
};
static_assert(sizeof(Segment32) == 32);

struct [[gnu::packed]] Header64 {
    std::uint8_t identification[16];
    std::uint16_t type;
    std::uint16_t machine;
    std::uint32_t version;
    std::uint64_t entry;
    std::uint64_t segment_table;
    std::uint64_t section_table;
    std::uint32_t flags;
    std::uint16_t header_size;
    std::uint16_t segment_entry_size;
    std::uint16_t segment_count;
    std::uint16_t section_entry_size;
    std::uint16_t section_count;
    std::uint16_t section_names;
};
static_assert(sizeof(Header64) == 64);

struct [[gnu::packed]] Segment64 {
    std::uint32_t type;
    std::uint32_t flags;
    std::uint64_t offset;
    std::uint64_t virtual_address;
    std::uint64_t physical_address;
    std::uint64_t file_size;
    std::uint64_t memory_size;
    std::uint64_t alignment;
};
static_assert(sizeof(Segment64) == 56);

constexpr std::uint32_t load = 1;
constexpr std::uint16_t i386 = 3;
constexpr std::uint16_t x86_64 = 62;

// Whether a file is an executable for a machine. Both formats begin in the same way.
inline bool is_executable(const Header32& header, std::uint16_t machine) {
    constexpr std::uint16_t executable = 2;
    const auto& id = header.identification;
    return id[0] == 0x7F && id[1] == 'E' && id[2] == 'L' && id[3] == 'F' &&
           header.type == executable && header.machine == machine;
}

} // namespace elf
