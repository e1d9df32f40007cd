// Where the bodies of a program begin (TASKS.md, "Bodies and tasks").
#pragma once

#include "core/program.hpp"

#include <cstdint>
#include <span>

namespace core {

// Operations from one of them up to the next `body`, or to the end.
struct Body {
    std::uint32_t offset; // of the first operation, from the program's
    std::uint32_t operation;
};

class Bodies {
public:
    // The program has no defect. `places` are at least as many as its operations; what is in there
    // now is not read.
    Bodies(const Program& program, std::span<Body> places) : m_program(program), m_places(places) {
        Program::Cursor cursor(program);
        for (std::uint32_t number = 0; number < program.operation_count(); ++number) {
            const bool is_body = cursor.code() == protocol::operation_code::body;
            cursor.skip();
            if (is_body)
                m_places[m_count++] = {cursor.offset(), number + 1};
        }
    }

    [[nodiscard]] const Program& program() const { return m_program; }
    [[nodiscard]] std::uint32_t count() const { return m_count; }
    [[nodiscard]] const Body& operator[](std::uint32_t body) const { return m_places[body]; }

private:
    const Program& m_program;
    std::span<Body> m_places;
    std::uint32_t m_count = 0;
};

} // namespace core
