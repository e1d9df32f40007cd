// The ROM's boot loader: takes a payload, and enters the kernel as a Multiboot loader would.
//
// It runs from ROM: nothing here may need a writable variable with static storage.

#include <cstddef>
#include <cstdint>

#include "boot/elf.hpp"
#include "boot/local_apic.hpp"
#include "boot/multiboot.hpp"
#include "boot/run_end.hpp"
#include "protocol.hpp"

extern "C" std::byte rom_image[];
extern "C" std::byte rom_payload[];
extern "C" [[noreturn]] void enter_kernel(std::uint32_t entry, std::uint32_t magic,
                                          std::uint32_t information);
extern "C" [[noreturn]] void rom_main();

namespace {

using protocol::mailbox_refusal;
using protocol::mailbox_state;

constexpr char loader_name[] = "conformance ROM";

template <typename T> T* at(std::uint32_t physical) {
    return reinterpret_cast<T*>(physical);
}

// By words first: emulators spend their time per iteration.
void copy(std::byte* to, const std::byte* from, std::uint32_t size) {
    std::uint32_t words = size / 4;
    std::uint32_t bytes = size % 4;
    asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

void clear(std::byte* to, std::uint32_t size) {
    std::uint32_t words = size / 4;
    std::uint32_t bytes = size % 4;
    asm volatile("rep stosl" : "+D"(to), "+c"(words) : "a"(0) : "memory");
    asm volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(0) : "memory");
}

bool inside(std::uint32_t offset, std::uint32_t size, std::uint32_t limit) {
    return offset <= limit && size <= limit - offset;
}

mailbox_refusal check(const protocol::payload_header* payload, std::uint32_t limit) {
    if (payload->magic != protocol::payload_magic) {
        return mailbox_refusal::bad_magic;
    }
    if (payload->version != protocol::version) {
        return mailbox_refusal::bad_version;
    }
    const std::uint32_t size = payload->size;
    if (size < sizeof *payload || size > limit || size % 4 != 0) {
        return mailbox_refusal::bad_size;
    }
    std::uint32_t sum = 0;
    // The payload lies on a word boundary, in RAM and in the ROM.
    const auto* words = at<const std::uint32_t>(reinterpret_cast<std::uint32_t>(payload));
    for (std::uint32_t index = 0; index < size / 4; ++index) {
        sum += words[index];
    }
    if (sum != 0) {
        return mailbox_refusal::bad_checksum;
    }
    if (!inside(payload->map_offset, payload->map_size, size) ||
        payload->map_size > protocol::boot::memory_map_limit) {
        return mailbox_refusal::bad_map;
    }
    if (!inside(payload->program_offset, payload->program_size, size) ||
        payload->program_size > protocol::boot::module_limit) {
        return mailbox_refusal::bad_program;
    }
    return mailbox_refusal::none;
}

// Builds the Multiboot information at protocol::boot::information, with the program as the only
// module (Multiboot 0.6.96, section 3.3).
void build_information(const protocol::payload_header* payload) {
    const auto* bytes = reinterpret_cast<const std::byte*>(payload);
    copy(at<std::byte>(protocol::boot::module), bytes + payload->program_offset,
         payload->program_size);
    copy(at<std::byte>(protocol::boot::loader_name),
         reinterpret_cast<const std::byte*>(loader_name), sizeof loader_name);

    auto* module = at<multiboot::Module>(protocol::boot::module_list);
    module->start = protocol::boot::module;
    module->end = protocol::boot::module + payload->program_size;
    module->text = 0;
    module->reserved = 0;

    auto* information = at<multiboot::Information>(protocol::boot::information);
    clear(reinterpret_cast<std::byte*>(information), sizeof *information);
    information->flags = multiboot::has_modules | multiboot::has_loader_name;
    information->module_count = 1;
    information->module_list = protocol::boot::module_list;
    information->loader_name = protocol::boot::loader_name;
    if (protocol::has(payload->flags, protocol::payload_flag::memory_map)) {
        copy(at<std::byte>(protocol::boot::memory_map), bytes + payload->map_offset,
             payload->map_size);
        information->flags |= multiboot::has_memory_map;
        information->memory_map = protocol::boot::memory_map;
        information->memory_map_size = payload->map_size;
    }
}

// Whatever a file says: all of it is below 4 GiB.
template <typename T> std::uint32_t low(T value) {
    return static_cast<std::uint32_t>(value);
}

// Loads the kernel's segments to their physical addresses; the entry point.
template <typename Header, typename Segment> std::uint32_t load_segments() {
    const auto* header = reinterpret_cast<const Header*>(rom_image);
    for (std::uint32_t index = 0; index < header->segment_count; ++index) {
        const auto* segment = reinterpret_cast<const Segment*>(
            rom_image + low(header->segment_table) + index * header->segment_entry_size);
        if (segment->type != elf::load) {
            continue;
        }
        auto* to = at<std::byte>(low(segment->physical_address));
        copy(to, rom_image + low(segment->offset), low(segment->file_size));
        clear(to + low(segment->file_size), low(segment->memory_size - segment->file_size));
    }
    return low(header->entry);
}

// The same; 0 where the ROM holds no kernel.
std::uint32_t load_kernel() {
    const auto* header = reinterpret_cast<const elf::Header32*>(rom_image);
    if (elf::is_executable(*header, elf::i386)) {
        return load_segments<elf::Header32, elf::Segment32>();
    }
    if (elf::is_executable(*header, elf::x86_64)) {
        return load_segments<elf::Header64, elf::Segment64>();
    }
    return 0;
}

[[noreturn]] void stop(protocol::mailbox* mailbox, mailbox_state state, mailbox_refusal detail) {
    mailbox->detail = detail;
    mailbox->state = state;
    end_run(protocol::boot::mailbox, 0);
}

} // namespace

extern "C" void rom_main() {
    auto* mailbox = at<protocol::mailbox>(protocol::boot::mailbox);
    const auto state = mailbox->magic == protocol::mailbox_magic ? mailbox_state{mailbox->state}
                                                                 : mailbox_state::empty;
    const protocol::payload_header* payload = nullptr;
    if (state == mailbox_state::ready) {
        payload = at<protocol::payload_header>(protocol::boot::payload);
    } else if (state == mailbox_state::taken) {
        // No reset was asked for: the run that had started ended in a triple fault.
        stop(mailbox, mailbox_state::interrupted, mailbox_refusal::none);
    } else {
        mailbox->magic = protocol::mailbox_magic;
        mailbox->control = protocol::mailbox_control::halt;
        payload = reinterpret_cast<const protocol::payload_header*>(rom_payload);
        if (payload->magic != protocol::payload_magic) {
            stop(mailbox, mailbox_state::empty, mailbox_refusal::none);
        }
    }
    mailbox->state = mailbox_state::taken;
    const auto refusal = check(payload, protocol::boot::payload_limit);
    if (refusal != mailbox_refusal::none) {
        stop(mailbox, mailbox_state::refused, refusal);
    }
    build_information(payload);
    const std::uint32_t entry = load_kernel();
    if (entry == 0) {
        stop(mailbox, mailbox_state::refused, mailbox_refusal::bad_kernel);
    }
    let_interrupts_through_local_apic();
    enter_kernel(entry, protocol::multiboot_bootloader_magic, protocol::boot::information);
}
