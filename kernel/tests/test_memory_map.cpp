#include "core/memory_map.hpp"
#include "tests/bytes.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace {

using core::MemoryMapReader;
using core::MemoryRegion;
using protocol::map_problem;
using tests::Bytes;
using tests::joined;
using tests::map_entry;

struct Reading {
    std::vector<MemoryRegion> regions;
    map_problem problem;
};

Reading read(const Bytes& bytes) {
    MemoryMapReader reader{std::optional(std::span(bytes))};
    Reading reading{};
    while (const auto region = reader.next())
        reading.regions.push_back(*region);
    reading.problem = reader.problem();
    CHECK_FALSE(reader.next().has_value());
    return reading;
}

} // namespace

TEST_CASE("no map is not an empty map") {
    MemoryMapReader absent{std::nullopt};
    CHECK_FALSE(absent.next().has_value());
    CHECK(absent.problem() == map_problem::absent);
    CHECK(read({}).problem == map_problem::none);
}

TEST_CASE("entries are read in the map's order, whatever their sizes") {
    const auto [regions, problem] =
        read(joined({map_entry(0x1122334455667788, 0x99AABBCCDDEEFF00, 0xFEDCBA98),
                     map_entry(0x1000, 0x2000, 1, 23), map_entry(1, 2, 3, 24)}));
    CHECK(problem == map_problem::none);
    REQUIRE(regions.size() == 3);
    CHECK(regions[0].base.value() == 0x1122334455667788);
    CHECK(regions[0].length == 0x99AABBCCDDEEFF00);
    CHECK(regions[0].type == 0xFEDCBA98);
    CHECK(regions[0].entry_size == 20);
    CHECK(regions[1].base.value() == 0x1000);
    CHECK(regions[1].entry_size == 23);
    CHECK(regions[2].base.value() == 1);
    CHECK(regions[2].length == 2);
    CHECK(regions[2].type == 3);
}

TEST_CASE("an entry that says less than 20 bytes ends the reading") {
    for (std::uint32_t size = 0; size < 20; ++size) {
        INFO("size ", size);
        const auto reading = read(joined({map_entry(0, 1), map_entry(0, 1, 1, size)}));
        CHECK(reading.problem == map_problem::small_entry);
        CHECK(reading.regions.size() == 1);
    }
    // What it says is known before it is known whether it fits.
    CHECK(read(tests::bytes_of(std::uint32_t{19})).problem == map_problem::small_entry);
}

TEST_CASE("an entry that does not fit ends the reading, however large it says it is") {
    for (const std::uint32_t size :
         {21u, 0x7FFFFFFFu, 0xFFFFFFE8u, 0xFFFFFFFBu, 0xFFFFFFFCu, 0xFFFFFFFDu, 0xFFFFFFFFu}) {
        INFO("size ", size);
        auto last = map_entry(0, 1);
        last.erase(last.begin(), last.begin() + sizeof(size));
        const auto reading = read(joined({map_entry(0, 1), tests::bytes_of(size), last}));
        CHECK(reading.problem == map_problem::truncated_entry);
        CHECK(reading.regions.size() == 1);
    }
}

TEST_CASE("a map cut short anywhere") {
    const Bytes whole = joined({map_entry(0, 1), map_entry(0, 1, 1, 22)});
    for (std::size_t length = 0; length <= whole.size(); ++length) {
        INFO("length ", length);
        // A vector of its own, so that the address sanitizer sees what is beyond.
        const auto end = whole.begin() + static_cast<std::ptrdiff_t>(length);
        const auto reading = read(Bytes(whole.begin(), end));
        const bool at_an_entry = length == 0 || length == 24 || length == whole.size();
        CHECK(reading.problem == (at_an_entry ? map_problem::none : map_problem::truncated_entry));
        CHECK(reading.regions.size() == (length == whole.size() ? 2 : length >= 24 ? 1 : 0));
    }
}
