// Port input and output.
#pragma once

#include <cstdint>

inline void write_port(std::uint16_t port, std::uint8_t value) {
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
