#include "core/multiboot.hpp"
#include "tests/machine.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>

namespace {

using core::MultibootInformation;
using core::PhysicalAddress;
using core::PhysicalWindow;
using tests::Machine;

MultibootInformation information(const Machine& machine,
                                 std::uint32_t address = Machine::information) {
    return {PhysicalWindow(machine.memory.data(), Machine::window_size), PhysicalAddress(address)};
}

std::optional<std::uint64_t> out_of_reach(const MultibootInformation& found) {
    const auto address = found.out_of_reach();
    return address ? std::optional(address->value()) : std::nullopt;
}

core::ByteRange range(std::uint32_t start, std::uint32_t end) {
    return {PhysicalAddress(start), PhysicalAddress(end)};
}

} // namespace

TEST_CASE("what the flags do not promise is not there") {
    Machine machine;
    machine.write_information({.flags = 0,
                               .module_count = 0xFFFFFFFF,
                               .module_list = 0xFFFFFFFF,
                               .map_length = 0xFFFFFFFF,
                               .map_address = 0xFFFFFFFF});
    const auto found = information(machine);
    CHECK(out_of_reach(found) == std::nullopt);
    CHECK(found.structure() == range(Machine::information, Machine::information + 116));
    CHECK_FALSE(found.memory_map().has_value());
    CHECK_FALSE(found.memory_map_bytes().has_value());
    CHECK_FALSE(found.module_list().has_value());
    CHECK(found.module_count() == 0);
}

TEST_CASE("an empty list of modules is none, wherever it is") {
    Machine machine;
    machine.write_information({.flags = 1 << 3,
                               .module_count = 0,
                               .module_list = 0xFFFFFFFF,
                               .map_length = 0,
                               .map_address = 0});
    CHECK(out_of_reach(information(machine)) == std::nullopt);
    CHECK_FALSE(information(machine).module_list().has_value());
}

TEST_CASE("a map and modules are found where they are") {
    Machine machine;
    machine.memory[0x5000] = std::byte{0x77};
    machine.write_information({.flags = 1 << 3 | 1 << 6,
                               .module_count = 2,
                               .module_list = 0x2001,
                               .map_length = 5,
                               .map_address = 0x5000});
    machine.write_module(0x2001, 0x3000, 0x3003);
    machine.write_module(0x2011, 0x4000, 0x4000);
    const auto found = information(machine);
    CHECK(out_of_reach(found) == std::nullopt);
    CHECK(found.memory_map() == std::optional(range(0x5000, 0x5005)));
    REQUIRE(found.memory_map_bytes().has_value());
    CHECK(found.memory_map_bytes()->size() == 5);
    CHECK((*found.memory_map_bytes())[0] == std::byte{0x77});
    CHECK(found.module_list() == std::optional(range(0x2001, 0x2021)));
    CHECK(found.module_count() == 2);
    CHECK(found.module(0) == range(0x3000, 0x3003));
    CHECK(found.module(1) == range(0x4000, 0x4000));
    CHECK(found.module_bytes(0).size() == 3);
    CHECK(found.module_bytes(1).empty());
}

TEST_CASE("the information may end with the window, and not after it") {
    const std::uint32_t last = Machine::window_size - 116;
    const Machine machine;
    CHECK(out_of_reach(information(machine, last)) == std::nullopt);
    CHECK(out_of_reach(information(machine, last + 1)) == std::optional<std::uint64_t>(last + 1));
    CHECK(out_of_reach(information(machine, 0xFFFFFFFF)) ==
          std::optional<std::uint64_t>(0xFFFFFFFF));
}

TEST_CASE("the first object out of reach is named: map, list, modules in their order") {
    Machine machine;
    tests::InformationFields fields{.flags = 1 << 3 | 1 << 6,
                                    .module_count = 0x10000001, // times 16, this is 2^32 + 16
                                    .module_list = 0x2000,
                                    .map_length = 0xFFFFFFFF,
                                    .map_address = 0x5000};
    machine.write_module(0x2000, Machine::window_size - 1, Machine::window_size + 1);
    machine.write_module(0x2010, 0x4000, 0x3FFF);

    machine.write_information(fields);
    CHECK(out_of_reach(information(machine)) == std::optional<std::uint64_t>(0x5000));
    fields.map_length = Machine::window_size - 0x5000;
    machine.write_information(fields);
    CHECK(out_of_reach(information(machine)) == std::optional<std::uint64_t>(0x2000));
    fields.module_count = 2;
    machine.write_information(fields);
    CHECK(out_of_reach(information(machine)) ==
          std::optional<std::uint64_t>(Machine::window_size - 1));
    machine.write_module(0x2000, Machine::window_size - 1, Machine::window_size);
    // A module that ends before it starts is nowhere.
    CHECK(out_of_reach(information(machine)) == std::optional<std::uint64_t>(0x4000));
    machine.write_module(0x2010, 0x4000, 0x4000);
    CHECK(out_of_reach(information(machine)) == std::nullopt);
}
