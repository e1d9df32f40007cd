#include "core/interpreter.hpp"

namespace core {

namespace event = protocol::event;
namespace operation = protocol::operation;

Progress Interpreter::run(const Program& program) {
    Program::Cursor cursor(program);
    for (m_operation = 0; m_operation < program.operation_count(); ++m_operation) {
        m_grants[m_operation] = {};
        m_parts.faults.operation_begins(m_operation);
        if (stopped(perform_next(cursor)))
            return Progress::stopped;
    }
    return Progress::going;
}

Progress Interpreter::perform_next(Program::Cursor& cursor) {
    switch (cursor.code()) {
    case operation::allocate::code:
        return perform(cursor.take<operation::allocate>());
    case operation::allocate_run::code:
        return perform(cursor.take<operation::allocate_run>());
    case operation::free::code:
        return perform(cursor.take<operation::free>());
    case operation::free_address::code:
        return perform(cursor.take<operation::free_address>());
    case operation::count::code:
        return perform(cursor.take<operation::count>());
    case operation::exhaust::code:
        return perform(cursor.take<operation::exhaust>());
    case operation::dump::code:
        return perform(cursor.take<operation::dump>());
    case operation::map::code:
        return perform(cursor.take<operation::map>());
    case operation::unmap::code:
        return perform(cursor.take<operation::unmap>());
    case operation::protect::code:
        return perform(cursor.take<operation::protect>());
    case operation::invalidate::code:
        return perform(cursor.take<operation::invalidate>());
    case operation::write_entry::code:
        return perform(cursor.take<operation::write_entry>());
    case operation::read_entry::code:
        return perform(cursor.take<operation::read_entry>());
    case operation::reload::code:
        return perform(cursor.take<operation::reload>());
    case operation::control::code:
        return perform(cursor.take<operation::control>());
    case operation::probe::code:
        return perform(cursor.take<operation::probe>());
    case operation::segment::code:
        return perform(cursor.take<operation::segment>());
    case operation::raise::code:
        return perform(cursor.take<operation::raise>());
    case operation::interrupt::code:
        return perform(cursor.take<operation::interrupt>());
    case operation::triple_fault::code:
        return perform(cursor.take<operation::triple_fault>());
    case operation::stack_allocate::code:
        return perform(cursor.take<operation::stack_allocate>());
    case operation::stack_free::code:
        return perform(cursor.take<operation::stack_free>());
    case operation::stack_free_address::code:
        return perform(cursor.take<operation::stack_free_address>());
    case operation::overflow::code:
        return perform(cursor.take<operation::overflow>());
    }
    // The program was whole when it was checked: somebody wrote over it since.
    return m_parts.trace.panic(protocol::panic_reason::bad_program, 0);
}

Progress Interpreter::report_rejected(protocol::rejection reason) {
    return m_parts.trace.write(event::rejected{.operation = m_operation, .reason = reason});
}

Progress Interpreter::report_attempt(const Attempt& attempt) {
    return m_parts.trace.write(event::attempted{
        .operation = m_operation, .outcome = attempt.outcome, .value = attempt.value});
}

} // namespace core
