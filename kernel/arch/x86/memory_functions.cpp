// What compilers call on their own, also in freestanding code.

#include <cstddef>

extern "C" {

// By words first: emulators spend their time per iteration.
void* memcpy(void* to, const void* from, std::size_t size) {
    void* const start = to;
    std::size_t words = size / 4;
    std::size_t bytes = size % 4;
    asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
    return start;
}

void* memset(void* to, int value, std::size_t size) {
    void* const start = to;
    const std::size_t pattern = static_cast<unsigned char>(value) * std::size_t{0x01010101};
    std::size_t words = size / 4;
    std::size_t bytes = size % 4;
    asm volatile("rep stosl" : "+D"(to), "+c"(words) : "a"(pattern) : "memory");
    asm volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
    return start;
}

void* memmove(void* to, const void* from, std::size_t size) {
    if (to <= from) {
        return memcpy(to, from, size);
    }
    void* last_to = static_cast<char*>(to) + size - 1;
    const void* last_from = static_cast<const char*>(from) + size - 1;
    asm volatile("std; rep movsb; cld" : "+D"(last_to), "+S"(last_from), "+c"(size) : : "memory");
    return to;
}
}
