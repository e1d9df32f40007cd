#include "arch/x86/interrupt_timer.hpp"

#include "arch/x86/ports.hpp"

namespace x86 {

namespace {

constinit bool is_running = false;

struct Controller {
    std::uint16_t command;
    std::uint16_t data;
};

constexpr Controller first{0x20, 0x21};
constexpr Controller second{0xA0, 0xA1};

constexpr std::uint8_t all_interrupts = 0xFF;
constexpr std::uint8_t end_of_interrupt = 0x20; // OCW2, not specific: of the highest in service

// The four initialisation command words (8259A data sheet). The first one unmasks everything.
void initialise(Controller controller, std::uint8_t vector, std::uint8_t cascade,
                std::uint8_t mask) {
    write_port(controller.command, 0x11); // edge triggered, cascaded, ICW4 follows
    write_port(controller.data, vector);
    write_port(controller.data, cascade);
    write_port(controller.data, 0x01); // 8086 mode, no automatic end of interrupt
    write_port(controller.data, mask);
}

void start_channel_0() {
    write_port(0x43, 0x34); // channel 0, low byte then high byte, mode 2, binary
    write_port(0x40, protocol::timer_divisor & 0xFF);
    write_port(0x40, protocol::timer_divisor >> 8);
}

} // namespace

void start_interrupt_timer() {
    is_running = true;
    constexpr std::uint8_t vector = protocol::timer_vector;
    initialise(first, vector, 1 << 2, static_cast<std::uint8_t>(~(1 << 0)));
    initialise(second, vector + 8, 2, all_interrupts);
    start_channel_0();
}

void stop_interrupt_timer() {
    if (!is_running)
        return;
    is_running = false;
    write_port(first.data, all_interrupts);
    write_port(second.data, all_interrupts);
}

void acknowledge_timer_interrupt() {
    write_port(first.command, end_of_interrupt);
}

} // namespace x86
