#include "core/bodies.hpp"
#include "tests/bytes.hpp"

#include <doctest/doctest.h>

#include <vector>

namespace {

namespace operation = protocol::operation;
using core::Bodies;
using core::Body;
using core::Program;

} // namespace

TEST_CASE("bodies begin after each `body`, also at the end of the program") {
    const tests::Bytes bytes =
        tests::program(operation::free{.operation = 0}, operation::body{}, operation::count{},
                       operation::free{.operation = 0}, operation::body{}, operation::body{});
    const Program program(bytes);
    std::vector<Body> places(6, {0xDEADBEEF, 0xDEADBEEF});
    const Bodies bodies(program, places);
    REQUIRE(bodies.count() == 3);
    CHECK(bodies[0].offset == 12);
    CHECK(bodies[0].operation == 2);
    CHECK(bodies[1].offset == 28);
    CHECK(bodies[1].operation == 5);
    CHECK(bodies[2].offset == 32);
    CHECK(bodies[2].operation == 6);
    CHECK(&bodies.program() == &program);
}

TEST_CASE("a program may have no bodies") {
    const tests::Bytes bytes = tests::program(operation::count{});
    const Program program(bytes);
    std::vector<Body> places(1);
    CHECK(Bodies(program, places).count() == 0);
}
