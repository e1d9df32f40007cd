// A value, or the reason why there is none.
#pragma once

#include <optional>

namespace core {

template <typename Value, typename Failure> class [[nodiscard]] Result {
public:
    constexpr Result(Value value) : m_value(value) {}
    constexpr Result(Failure failure) : m_failure(failure) {}

    [[nodiscard]] constexpr bool has_value() const { return m_value.has_value(); }
    [[nodiscard]] constexpr const Value& value() const { return *m_value; }
    [[nodiscard]] constexpr Failure failure() const { return m_failure; }

private:
    std::optional<Value> m_value;
    Failure m_failure{};
};

} // namespace core
