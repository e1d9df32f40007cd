"""Operations: strict about what they hold, and readable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

import conformance
from conformance.case import program
from conformance.case.operation import rights_names
from conformance.case.program import (
    OPERATIONS,
    AllocateRun,
    Compute,
    Control,
    Free,
    Map,
    Operation,
    Overflow,
    Probe,
    Program,
    Protect,
    Raise,
    ReadEntry,
    Rights,
    Segment,
    Spawn,
    WriteEntry,
)
from conformance.errors import InvalidArgument
from conformance.protocol import PROTOCOL


def test_every_operation_of_the_protocol_has_its_class() -> None:
    assert list(OPERATIONS) == list(PROTOCOL.operations)
    for name, kind in OPERATIONS.items():
        operands = [field.name for field in PROTOCOL.operations[name].operands.fields]
        assert sorted(field.name for field in fields(kind)) == sorted(operands)


def test_every_operation_can_be_imported_from_the_package() -> None:
    for kind in OPERATIONS.values():
        assert getattr(conformance, kind.__name__) is getattr(program, kind.__name__) is kind
        assert kind.__name__ in conformance.__all__
        assert kind.__name__ in program.__all__


def test_rights_are_the_protocols() -> None:
    assert {right.name.lower(): right.value for right in Rights if right.name} == (
        PROTOCOL.flags["rights"]
    )
    assert rights_names(Rights.USER | Rights.LARGE_PAGE) == ["user", "large_page"]


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (AllocateRun(3, 1 << 20), "allocate_run count=3 alignment=0x100000"),
        (
            Map(0x40001000, 2, Rights.WRITABLE | Rights.USER, invalidate=False),
            "map address=0x40001000 frame=2 rights=writable+user invalidate=false",
        ),
        (Protect(0x40000000, Rights(0)), "protect address=0x40000000 rights=none invalidate=true"),
        (Control("write_protect", value=True), "control bit=write_protect value=true"),
        (Spawn(2, 3), "spawn body=2 priority=3"),
        (Compute("string", 7), "compute kind=string iterations=7"),
        (
            Segment("fs", 5, limit=4, size=1),
            "segment target=fs expand_down=false base=0 limit=4 offset=5 access=read size=1",
        ),
    ],
)
def test_an_operation_reads_well(operation: Operation, text: str) -> None:
    assert str(operation) == text


def test_operands_are_numbers_for_the_wire() -> None:
    assert Map(0x40000000, 2, Rights.USER, invalidate=False).operands() == {
        "address": 0x40000000,
        "frame": 2,
        "rights": 2,
        "invalidate": 0,
    }
    assert Probe(0, "execute", 1, 3, alignment_check=True).operands() == {
        "address": 0,
        "access": 2,
        "size": 1,
        "ring": 3,
        "alignment_check": 1,
        "through": 0,
    }


def test_rights_that_come_as_a_number_are_held_as_rights() -> None:
    mapped = Map(0x40000000, rights=3)  # type: ignore[arg-type]
    assert isinstance(mapped.rights, Rights)
    assert mapped == Map(0x40000000, rights=Rights.WRITABLE | Rights.USER)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Free(-1), "free: operation=-0x1 does not fit in 32 bits"),
        (lambda: Free(True), "free: operation must be an integer, got True"),
        (lambda: Raise("debugg"), "raise: no cause 'debugg'; known: divide_error, .*'debug'[?]$"),
        (lambda: Raise(1), "raise: no cause 1; known: divide_error"),
        (lambda: ReadEntry(0, "page_tables"), "no level 'page_tables'; .* mean 'page_table'[?]$"),
        (lambda: Probe(0, "exec"), "probe: no access 'exec'; known: read, write, execute"),
        (lambda: Probe(0, size="4"), "probe: size must be an integer, got '4'"),
        (
            lambda: Probe(0, alignment_check=1),
            "probe: alignment_check must be True or False, got 1",
        ),
        (lambda: Overflow(0, None), "overflow: no how None; known: push"),
        (lambda: Map(0, rights=32), "map: rights=0x20 has bits 0x20, which mean nothing; known: w"),
        (lambda: Map(0, rights="user"), "map: rights must be an integer, got 'user'"),
        (lambda: Map(1 << 64), "map: address=0x10000000000000000 does not fit in 64 bits"),
        (lambda: WriteEntry(0, "page_table", set=1 << 64), "write_entry: set=0x1.* fit in 64 bits"),
        (lambda: Control("write_protect", 1), "control: value must be True or False, got 1"),
        (lambda: Program((), 1025), r"stacks=1025 is outside \[0, 1024\]"),
        (lambda: Program((), True), "stacks must be an integer, got True"),
        (lambda: Compute("strings", 1), "no kind 'strings'; .*; did you mean 'string'[?]$"),
        (lambda: Spawn(0, 256), "spawn: priority=0x100 does not fit in 8 bits"),
        (lambda: Program(schedule="timed"), "no schedule 'timed'; known: cooperative, stepped, ti"),
        (lambda: Program(schedule=1), "no schedule 1; known: "),
        (lambda: Program(quantum=0), r"quantum=0 is outside \[1, 65535\]"),
        (lambda: Program(quantum=65536), r"quantum=65536 is outside \[1, 65535\]"),
        (lambda: Program(quantum=1.5), "quantum must be an integer, got 1.5"),
        (lambda: Program(priorities=1), "priorities must be True or False, got 1"),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        make()
