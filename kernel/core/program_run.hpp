// One run of a program: the main task's operations on the kernel's stack, and those of the others
// on theirs.
#pragma once

#include "core/interpreter.hpp"

#include <cstdint>
#include <span>

namespace core {

class ProgramRun final : private TaskBodies {
public:
    // `grants` has a place for each operation of the program. What is in there now is not read.
    ProgramRun(const KernelParts& parts, const Reach& reach, const Bodies& bodies,
               std::span<Grant> grants)
        : m_parts(parts), m_reach(reach), m_bodies(bodies), m_grants(grants) {}

    // Until all tasks have come to their end.
    Progress run();

private:
    Progress run_body(std::uint32_t body) override { return perform(m_bodies[body]); }
    Progress run_main();
    Progress perform(Body list);

    KernelParts m_parts;
    Reach m_reach;
    const Bodies& m_bodies;
    std::span<Grant> m_grants;
};

} // namespace core
