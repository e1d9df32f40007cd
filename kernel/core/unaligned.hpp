// Reading structures from where a boot loader happened to put them.
#pragma once

#include <cstddef>
#include <type_traits>

namespace core {

template <typename Value>
    requires std::is_trivially_copyable_v<Value>
[[nodiscard]] inline Value load(const std::byte* from) {
    Value value;
    __builtin_memcpy(&value, from, sizeof(Value));
    return value;
}

} // namespace core
