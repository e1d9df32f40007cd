#include "core/interpreter.hpp"

namespace core {

namespace event = protocol::event;
namespace operation = protocol::operation;

Progress Interpreter::run(Body list) {
    const Program& program = m_bodies.program();
    Program::Cursor cursor(program, list.offset);
    for (m_operation = list.operation; m_operation < program.operation_count(); ++m_operation) {
        if (cursor.code() == operation::body::code)
            return Progress::going;
        m_grants[m_operation] = {};
        m_parts.scheduler.operation_begins(m_operation);
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
    case operation::spawn::code:
        return perform(cursor.take<operation::spawn>());
    case operation::yield::code:
        return perform(cursor.take<operation::yield>());
    case operation::block::code:
        return perform(cursor.take<operation::block>());
    case operation::wake::code:
        return perform(cursor.take<operation::wake>());
    case operation::join::code:
        return perform(cursor.take<operation::join>());
    case operation::sleep::code:
        return perform(cursor.take<operation::sleep>());
    case operation::tick::code:
        return perform(cursor.take<operation::tick>());
    case operation::exit::code:
        return perform(cursor.take<operation::exit>());
    case operation::compute::code:
        return perform(cursor.take<operation::compute>());
    case operation::spin::code:
        return perform(cursor.take<operation::spin>());
    case operation::lock::code:
        return perform(cursor.take<operation::lock>());
    case operation::unlock::code:
        return perform(cursor.take<operation::unlock>());
    case operation::overflow_own::code:
        return perform(cursor.take<operation::overflow_own>());
    case operation::body::code:
        break; // ends a list: nobody performs it
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
