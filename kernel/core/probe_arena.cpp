#include "core/probe_arena.hpp"

#include "protocol.hpp"

#include <cstddef>

namespace core {

namespace {

constexpr std::uint32_t frame_words = protocol::frame_size / sizeof(std::uint32_t);

constexpr std::uint32_t returns = 0xC3C3C3C3;
// RET, then three prefixes: execution that begins in them returns from the next frame.
constexpr std::uint32_t frame_end = 0x2E2E2EC3;

// Four segment prefixes, which change nothing about the RET that follows them.
std::uint32_t numbering_prefixes(std::uint32_t frame) {
    constexpr std::uint32_t prefixes[] = {0x26, 0x2E, 0x36, 0x3E};
    std::uint32_t word = 0;
    for (std::uint32_t digit = 0; digit < 4; ++digit)
        word |= prefixes[(frame >> (2 * digit)) & 3] << (8 * digit);
    return word;
}

} // namespace

void fill_arena(std::span<std::uint32_t> words) {
    for (std::uint32_t& word : words)
        word = returns;
    const auto frames = static_cast<std::uint32_t>(words.size() / frame_words);
    for (std::uint32_t frame = 0; frame < frames; ++frame) {
        const auto content = words.subspan(frame * frame_words, frame_words);
        content[1] = numbering_prefixes(frame);
        // What follows the last frame is not the arena's.
        if (frame + 1 < frames)
            content.back() = frame_end;
    }
}

} // namespace core
