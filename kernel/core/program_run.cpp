#include "core/program_run.hpp"

#include <algorithm>

namespace core {

Progress ProgramRun::run() {
    // Operations are performed in any order: each may be asked for what it was given before it is.
    std::ranges::fill(m_grants.first(m_bodies.program().operation_count()), Grant{});
    m_parts.scheduler.start(*this);
    const Progress progress = run_main();
    m_parts.scheduler.stop();
    return progress;
}

Progress ProgramRun::run_main() {
    if (stopped(perform({.offset = 0, .operation = 0})))
        return Progress::stopped;
    m_parts.scheduler.operation_begins(m_bodies.program().operation_count());
    return m_parts.scheduler.wait_for_all();
}

Progress ProgramRun::perform(Body list) {
    return Interpreter(m_parts, m_reach, m_bodies, m_grants).run(list);
}

} // namespace core
