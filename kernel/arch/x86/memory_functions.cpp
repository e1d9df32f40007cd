// What compilers call on their own, also in freestanding code.

#include <cstddef>

namespace {

// What one step of a string instruction moves.
using Word = std::size_t;

void copy_words(void*& to, const void*& from, std::size_t words) {
#ifdef __x86_64__
    asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
#else
    asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
#endif
}

void set_words(void*& to, Word pattern, std::size_t words) {
#ifdef __x86_64__
    asm volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(pattern) : "memory");
#else
    asm volatile("rep stosl" : "+D"(to), "+c"(words) : "a"(pattern) : "memory");
#endif
}

} // namespace

extern "C" {

// By words first: emulators spend their time per iteration.
void* memcpy(void* to, const void* from, std::size_t size) {
    void* const start = to;
    std::size_t bytes = size % sizeof(Word);
    copy_words(to, from, size / sizeof(Word));
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
    return start;
}

void* memset(void* to, int value, std::size_t size) {
    void* const start = to;
    constexpr Word each_byte = ~Word{0} / 0xFF;
    std::size_t bytes = size % sizeof(Word);
    set_words(to, static_cast<unsigned char>(value) * each_byte, size / sizeof(Word));
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
