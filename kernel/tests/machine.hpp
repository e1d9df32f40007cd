// A machine that is only memory, what a boot loader left there and the kernel's own, and a
// processor that does nothing.
#pragma once

#include "core/platform.hpp"
#include "protocol.hpp"
#include "tests/bytes.hpp"
#include "tests/fake_processor.hpp"
#include "tests/task_threads.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace tests {

// The fields of the Multiboot information that the kernel looks at.
struct InformationFields {
    std::uint32_t flags;
    std::uint32_t module_count;
    std::uint32_t module_list;
    std::uint32_t map_length;
    std::uint32_t map_address;
};

class Machine {
public:
    static constexpr std::uint32_t window_size = 0x80000;
    static constexpr std::uint32_t information = 0x1F80; // across two frames
    static constexpr std::uint32_t module_list = 0x4000;
    static constexpr std::uint32_t memory_map = 0x10003;
    static constexpr std::uint32_t module = 0x30001;

    static constexpr core::ImageLayout layout{
        .kernel_image = {core::PhysicalAddress(0x100000), core::PhysicalAddress(0x108010)},
        .page_tables = {core::PhysicalAddress(0x10A000), core::PhysicalAddress(0x120000)},
        .task_stacks = {core::PhysicalAddress(0x1000000), core::PhysicalAddress(0x1800000)},
        .probe_arena = {core::PhysicalAddress(0x400000), core::PhysicalAddress(0x408000)},
        .trace_buffer = {core::PhysicalAddress(0x121000), core::PhysicalAddress(0x122000)},
        .user_code = core::PhysicalAddress(0x106000),
        .user_stack = core::PhysicalAddress(0x107000)};
    static constexpr core::LinearRange probe_stack{0xC0103000, 0xC0104000};
    static constexpr core::LinearRange idle_stack{0xC0104000, 0xC0105000};
    // Of x86_64, or of i686.
    static constexpr std::size_t page_table_frames = protocol::frame_count > 1u << 20 ? 25 : 22;
    static constexpr std::size_t stack_area_size = 0x800000;

    // A loader that reports this map, if there is one, and this module, if there is one.
    explicit Machine(const std::optional<Bytes>& map = std::nullopt,
                     const std::optional<Bytes>& program = std::nullopt)
        : memory(window_size), trace_buffer(0x40000) {
        InformationFields fields{.flags = 0,
                                 .module_count = 0,
                                 .module_list = module_list,
                                 .map_length = 0,
                                 .map_address = memory_map};
        if (map) {
            fields.flags |= 1 << 6;
            fields.map_length = static_cast<std::uint32_t>(map->size());
            write(memory_map, *map);
        }
        if (program) {
            fields.flags |= 1 << 3;
            fields.module_count = 1;
            write_module(module_list, module, module + static_cast<std::uint32_t>(program->size()));
            write(module, *program);
        }
        write_information(fields);
    }

    void write(std::uint32_t address, const Bytes& bytes) {
        std::copy(bytes.begin(), bytes.end(), memory.begin() + address);
    }

    void write_information(const InformationFields& fields) {
        write(information, bytes_of(fields.flags));
        write(information + 20, bytes_of(fields.module_count, fields.module_list));
        write(information + 44, bytes_of(fields.map_length, fields.map_address));
    }

    void write_module(std::uint32_t address, std::uint32_t start, std::uint32_t end) {
        write(address, bytes_of(start, end, std::uint32_t{0}, std::uint32_t{0}));
    }

    [[nodiscard]] core::Platform platform() {
        return {.window = memory.data(),
                .window_size = window_size,
                .layout = layout,
                .memory = {.frame_bitmap = frame_bitmap,
                           .frame_owned = frame_owned,
                           .page_tables = page_tables,
                           .probe_arena = probe_arena,
                           .trace_buffer = trace_buffer,
                           .stack_area = stack_area.get()},
                .probe_stack = probe_stack,
                .idle_stack = idle_stack,
                .processor = processor,
                .task_processor = task_threads,
                .paging = pae ? core::PagingMode::pae : core::PagingMode::legacy};
    }

    core::EntryState entry{.magic = protocol::multiboot_bootloader_magic,
                           .information = information,
                           .cr0 = 0x11,
                           .eflags = 2,
                           .a20 = 1,
                           .code_limit = 0xFFFFFFFF,
                           .data_limit = 0xFFFFFFFE,
                           .stack_limit = 0xFFFFFFFD};
    Bytes memory;
    Bytes trace_buffer;
    // Filled with what must not survive the kernel's start.
    std::vector<std::uint32_t> frame_bitmap =
        std::vector<std::uint32_t>(protocol::frame_count / 32, 0xDEADBEEF);
    std::vector<std::uint32_t> frame_owned =
        std::vector<std::uint32_t>(protocol::frame_count / 32, 0xDEADBEEF);
    std::vector<std::uint32_t> page_tables =
        std::vector<std::uint32_t>(page_table_frames * 1024, 0x63);
    std::vector<std::uint32_t> probe_arena = std::vector<std::uint32_t>(8 * 1024, 0xDEADBEEF);
    // Too large to be filled for each machine.
    std::unique_ptr<std::byte[]> stack_area =
        std::make_unique_for_overwrite<std::byte[]>(stack_area_size);
    FakeProcessor processor;
    TaskThreads task_threads;
    bool pae = false;
};

} // namespace tests
