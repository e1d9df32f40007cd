#include "core/probe_arena.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

std::vector<unsigned char> filled(std::size_t frames) {
    std::vector<std::uint32_t> words(frames * 1024, 0xDEADBEEF);
    core::fill_arena(words);
    std::vector<unsigned char> bytes(frames * 4096);
    std::memcpy(bytes.data(), words.data(), bytes.size());
    return bytes;
}

bool is_prefix(unsigned char byte) {
    return byte == 0x26 || byte == 0x2E || byte == 0x36 || byte == 0x3E;
}

} // namespace

TEST_CASE("each byte of the arena is what the specification says") {
    const auto bytes = filled(8);
    const unsigned char numbers[8][4] = {{0x26, 0x26, 0x26, 0x26}, {0x2E, 0x26, 0x26, 0x26},
                                         {0x36, 0x26, 0x26, 0x26}, {0x3E, 0x26, 0x26, 0x26},
                                         {0x26, 0x2E, 0x26, 0x26}, {0x2E, 0x2E, 0x26, 0x26},
                                         {0x36, 0x2E, 0x26, 0x26}, {0x3E, 0x2E, 0x26, 0x26}};
    for (std::size_t frame = 0; frame < 8; ++frame) {
        for (std::size_t offset = 0; offset < 4096; ++offset) {
            INFO("frame ", frame, ", offset ", offset);
            const unsigned char byte = bytes[frame * 4096 + offset];
            if (offset >= 4 && offset < 8)
                REQUIRE(byte == numbers[frame][offset - 4]);
            else
                REQUIRE(byte == (offset < 4093 || frame == 7 ? 0xC3 : 0x2E));
        }
    }
}

TEST_CASE("execution that begins anywhere, but in the last three bytes of all, returns") {
    const auto bytes = filled(3);
    for (std::size_t start = 0; start < bytes.size() - 3; ++start) {
        std::size_t at = start;
        while (is_prefix(bytes[at]))
            ++at;
        REQUIRE(bytes[at] == 0xC3);
        // An instruction has 15 bytes at most.
        REQUIRE(at - start < 15);
    }
}
