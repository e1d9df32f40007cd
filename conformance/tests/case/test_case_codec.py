"""Case files: they say everything, exactly, and what is wrong with one is said in one line."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.case.case import Case
from conformance.case.codec import dump_case, load_case
from conformance.case.image import ImageId
from conformance.case.machine import Machine, every_machine
from conformance.case.memory_map import MemoryMap, Region
from conformance.case.operation import operand_type
from conformance.case.program import (
    OPERATIONS,
    SCHEDULES,
    Allocate,
    AllocateRun,
    Body,
    Compute,
    Exhaust,
    Free,
    FreeAddress,
    Join,
    Map,
    Operation,
    Overflow,
    Program,
    Rights,
    Spawn,
)
from conformance.case.strategies import cases, fault_cases, guard_page_cases
from conformance.case.wire import SIZE_LIMIT
from conformance.errors import InvalidInput
from conformance.protocol import PROTOCOL

IMAGE = ImageId("i686", "0123456789abcdef" * 4)

SAMPLE = Case(
    image=IMAGE,
    machine=Machine(ram_mib=32, cpu_profile="core2duo"),
    memory_map=MemoryMap(
        (
            Region(0, 0x9FC00),
            Region(0x100000000, 0x1000, type=20, entry_size=24),
        ),
        cut=4,
    ),
    program=Program(
        (
            Allocate(),
            AllocateRun(3, 8),
            Free(1),
            FreeAddress(0xFFFFFFFFFFFFF000),
            Exhaust(),
            Map(0x40001000, 3, Rights.WRITABLE | Rights.NO_EXECUTE, invalidate=False),
            Overflow(6, "recursion", 64),
        ),
        stacks=5,
    ),
    state_regions=("page_tables",),
)

SAMPLE_TEXT = """\
{
  "format": "conformance-case",
  "version": 3,
  "image": {
    "name": "i686",
    "sha256": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  },
  "machine": {
    "ram_mib": 32,
    "cpu_profile": "core2duo",
    "paging": "legacy"
  },
  "memory_map": {
    "regions": [
      {
        "base": "0x0",
        "length": "0x9fc00",
        "type": "available"
      },
      {
        "base": "0x100000000",
        "length": "0x1000",
        "type": 20,
        "entry_size": 24
      }
    ],
    "cut": 4
  },
  "program": [
    {
      "operation": "allocate"
    },
    {
      "operation": "allocate_run",
      "count": 3,
      "alignment": 8
    },
    {
      "operation": "free",
      "number": 1
    },
    {
      "operation": "free_address",
      "address": "0xfffffffffffff000"
    },
    {
      "operation": "exhaust"
    },
    {
      "operation": "map",
      "address": "0x40001000",
      "frame": 3,
      "rights": [
        "writable",
        "no_execute"
      ],
      "invalidate": false
    },
    {
      "operation": "overflow",
      "number": 6,
      "how": "recursion",
      "size": 64
    }
  ],
  "stacks": 5,
  "state_regions": [
    "page_tables"
  ]
}
"""

_machines = st.builds(
    lambda machine, ram_mib: replace(machine, ram_mib=ram_mib),
    st.sampled_from(every_machine()),
    st.integers(16, 2048),
)
_cases = st.one_of(cases(image=IMAGE), fault_cases(image=IMAGE), guard_page_cases(image=IMAGE))
_images = st.builds(ImageId, st.text(), st.text())
_state_regions = st.permutations(list(PROTOCOL.state_regions)).flatmap(
    lambda names: st.integers(0, len(names)).map(lambda count: tuple(names[:count]))
)


def test_the_text_of_a_case_is_the_documented_one() -> None:
    assert dump_case(SAMPLE) == SAMPLE_TEXT


@given(_cases, _machines, _images, _state_regions)
def test_every_case_survives_the_round_trip(
    case: Case, machine: Machine, image: ImageId, state_regions: tuple[str, ...]
) -> None:
    image = replace(image, architecture=machine.architecture)
    case = Case(image, machine, case.memory_map, case.program, state_regions)
    text = dump_case(case)
    loaded = load_case(text)
    assert loaded == case
    assert dump_case(loaded) == text
    assert load_case(text.encode()) == case


def _extreme(name: str, *, largest: bool) -> Operation:
    values: dict[str, Any] = {}
    for field in PROTOCOL.operations[name].operands.fields:
        kind = operand_type(OPERATIONS[name], field.name)
        if field.enum is not None:
            values[field.name] = [*field.enum.values()][-1 if largest else 0]
        elif kind is Rights:
            values[field.name] = ~Rights(0) if largest else Rights(0)
        else:
            values[field.name] = kind(((1 << field.bits) - 1) * largest)
    return OPERATIONS[name](**values)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_operation_survives_at_its_operands_limits(name: str, largest: bool) -> None:
    case = Case(IMAGE, program=Program((_extreme(name, largest=largest),)))
    loaded = load_case(dump_case(case))
    assert loaded == case
    assert repr(loaded) == repr(case)  # True is not 1 here, and rights are not a number


def test_what_has_a_default_may_be_left_out() -> None:
    raw = json.loads(SAMPLE_TEXT)
    raw["program"] = [{"operation": "map", "address": "0x40000000"}]
    assert load_case(json.dumps(raw)).program.operations == (Map(0x40000000),)


def test_rights_may_be_a_number() -> None:
    raw = json.loads(SAMPLE_TEXT)
    raw["program"][5]["rights"] = 5
    assert load_case(json.dumps(raw)) == SAMPLE


def test_a_file_of_version_1_has_no_stacks() -> None:
    raw = json.loads(SAMPLE_TEXT)
    raw["version"] = 1
    with pytest.raises(InvalidInput, match=r"^case: stacks: is a key of version 2, this is ver"):
        load_case(json.dumps(raw))
    del raw["stacks"]
    program = Program(SAMPLE.program.operations)
    assert load_case(json.dumps(raw)) == replace(SAMPLE, program=program)


SCHEDULED = replace(
    SAMPLE,
    program=Program(
        (Spawn(0, 2), Join(0), Body(), Compute("flags", 70000)), 1, "stepped", 7, priorities=True
    ),
)


def test_how_tasks_are_scheduled_is_written_where_it_is_not_the_default() -> None:
    raw = json.loads(dump_case(SCHEDULED))
    assert (raw["schedule"], raw["quantum"], raw["priorities"]) == ("stepped", 7, True)
    assert raw["program"] == [
        {"operation": "spawn", "body": 0, "priority": 2},
        {"operation": "join", "number": 0},
        {"operation": "body"},
        {"operation": "compute", "kind": "flags", "iterations": "0x11170"},
    ]
    assert load_case(json.dumps(raw)) == SCHEDULED
    raw["quantum"] = "0x7"
    assert load_case(json.dumps(raw)) == SCHEDULED
    assert not {"schedule", "quantum", "priorities"} & json.loads(dump_case(SAMPLE)).keys()


@given(st.sampled_from(SCHEDULES), st.integers(1, 65535), st.booleans())
def test_every_schedule_survives_the_round_trip(
    schedule: str, quantum: int, priorities: bool
) -> None:
    program = Program((), 0, schedule, quantum, priorities)
    case = Case(IMAGE, program=program)
    assert load_case(dump_case(case)) == case
    assert (case.digest == Case(IMAGE).digest) == (program == Program())


@pytest.mark.parametrize(("key", "value"), [("schedule", "timer"), ("quantum", 1)])
def test_a_file_of_version_2_is_scheduled_as_by_default(key: str, value: Any) -> None:
    raw = json.loads(SAMPLE_TEXT)
    raw["version"] = 2
    assert load_case(json.dumps(raw)) == SAMPLE
    raw[key] = value
    with pytest.raises(InvalidInput, match=f"^case: {key}: is a key of version 3, this is ver.* 2"):
        load_case(json.dumps(raw))


def test_a_map_that_is_empty_differs_from_none() -> None:
    empty, absent = Case(IMAGE, memory_map=MemoryMap()), Case(IMAGE)
    assert load_case(dump_case(empty)) == empty
    assert load_case(dump_case(absent)) == absent
    assert empty.digest != absent.digest


def test_a_field_that_the_writer_does_not_know_is_not_lost_silently() -> None:
    @dataclass(frozen=True, slots=True)
    class Extended(Case):
        hypervisor: str = "none"

    with pytest.raises(AssertionError, match="hypervisor"):
        dump_case(Extended(IMAGE))


def test_numbers_may_be_written_either_way() -> None:
    raw = json.loads(SAMPLE_TEXT)
    raw["machine"]["ram_mib"] = "0x20"
    raw["memory_map"]["regions"][0] = {"base": 0, "end": 0x9FC00, "type": "0X1"}
    raw["memory_map"]["regions"][1]["type"] = "type-20"
    raw["memory_map"]["cut"] = "4"
    raw["program"][1] = {"operation": "allocate_run", "count": "3", "alignment": "0x8"}
    assert load_case(json.dumps(raw)) == SAMPLE


def _broken(path: tuple[str | int, ...], value: Any) -> str:
    """The sample with one value replaced, or removed where the value is `...`."""
    raw: Any = json.loads(SAMPLE_TEXT)
    part = raw
    for step in path[:-1]:
        part = part[step]
    if value is ...:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return json.dumps(raw)


_REGION = ("memory_map", "regions", 1)
_KNOWN_OPERATIONS = ", ".join(OPERATIONS)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "case", "a.json: format: expected 'conformance-case', got 'case'"),
        (("version",), 4, "a.json: version: expected 1, 2 or 3, got 4"),
        (("version",), True, "a.json: version: expected 1, 2 or 3, got True"),
        (
            ("version",),
            ...,
            "a.json: key 'version' is missing; a case begins with version=3",
        ),
        (("image",), ..., "a.json: key 'image' is missing"),
        (("image", "sha256"), 5, "a.json: image.sha256: expected str, got 5"),
        (
            ("colour",),
            "red",
            "a.json: unknown key 'colour'; known: format, version, image, machine, memory_map, "
            "program, stacks, state_regions, schedule, quantum, priorities",
        ),
        (
            ("machine", "ram_mb"),
            1,
            "a.json: machine: unknown key 'ram_mb'; known: ram_mib, cpu_profile, paging",
        ),
        (("machine", "ram_mib"), 8, "a.json: machine: ram_mib=8 is outside [16, 2049)"),
        (("memory_map",), [], "a.json: memory_map: expected object | null, got an array"),
        (("memory_map", "cut"), 99, "a.json: memory_map: cut=99 is outside [0, 52], the bytes of"),
        (
            (*_REGION, "bse"),
            0,
            "a.json: memory_map.regions[1]: unknown key 'bse'; known: base, length, end, type,",
        ),
        ((*_REGION, "base"), ..., "a.json: memory_map.regions[1]: key 'base' is missing"),
        (
            (*_REGION, "base"),
            1.5,
            "a.json: memory_map.regions[1].base: expected int | str, got 1.5",
        ),
        (
            (*_REGION, "base"),
            "4k",
            'a.json: memory_map.regions[1].base: expected an integer or text like "0x1000", '
            "got '4k'",
        ),
        (
            (*_REGION, "base"),
            -1,
            "a.json: memory_map.regions[1].base: expected an unsigned 64-bit integer, got -1",
        ),
        (
            (*_REGION, "base"),
            "0x10000000000000000",
            "a.json: memory_map.regions[1]: base=0x10000000000000000 is outside [0, 0x10000000",
        ),
        ((*_REGION, "length"), ..., "a.json: memory_map.regions[1]: expected either length or end"),
        ((*_REGION, "end"), 1, "a.json: memory_map.regions[1]: expected either length or end"),
        (
            (*_REGION, "type"),
            "usable",
            "a.json: memory_map.regions[1].type: expected an integer or one of available, "
            "reserved, acpi-reclaimable, acpi-nvs, bad, disabled, persistent, got 'usable'",
        ),
        (
            (*_REGION, "type"),
            1 << 32,
            "a.json: memory_map.regions[1]: type=0x100000000 is outside [0, 0x100000000)",
        ),
        (
            ("program", 0, "operation"),
            "alocate",
            "a.json: program[0].operation: unknown operation 'alocate'; known: "
            f"{_KNOWN_OPERATIONS}; did you mean 'allocate'?",
        ),
        (
            ("program", 0, "operation"),
            ["x"],
            "a.json: program[0].operation: unknown operation an array; known: " + _KNOWN_OPERATIONS,
        ),
        (("program", 0), {}, "a.json: program[0]: key 'operation' is missing"),
        (("program", 0), "allocate", "a.json: program[0]: expected object, got 'allocate'"),
        (("program", 1, "count"), ..., "a.json: program[1]: allocate_run needs key 'count'"),
        (
            ("program", 1, "size"),
            1,
            "a.json: program[1]: unknown key 'size' of allocate_run; known: operation, count, "
            "alignment",
        ),
        (
            ("program", 1, "count"),
            None,
            'a.json: program[1].count: expected an integer or text like "0x1000", got None',
        ),
        (
            ("program", 1, "count"),
            1 << 32,
            "a.json: program[1]: allocate_run: count=0x100000000 does not fit in 32 bits",
        ),
        (("stacks",), ..., "a.json: key 'stacks' is missing"),
        (
            ("schedule",),
            "timed",
            "a.json: no schedule 'timed'; known: cooperative, stepped, ti",
        ),
        (("schedule",), 1, "a.json: schedule: expected str, got 1"),
        (("quantum",), 0, "a.json: quantum=0 is outside [1, 65535]"),
        (("priorities",), 1, "a.json: priorities: expected bool, got 1"),
        (("stacks",), 1025, "a.json: stacks=1025 is outside [0, 1024]"),
        (
            ("program", 5, "rights"),
            ["writeable"],
            "a.json: program[5].rights[0]: unknown right 'writeable'; known: writable, user, "
            "no_execute, large_page, huge_page; did you mean 'writable'?",
        ),
        (
            ("program", 5, "rights"),
            ["user", "user"],
            "a.json: program[5].rights: names 'user' twice",
        ),
        (
            ("program", 5, "rights"),
            32,
            "a.json: program[5]: map: rights=0x20 has bits 0x20, which mean nothing; known: wr",
        ),
        (
            ("program", 5, "rights"),
            "user",
            'a.json: program[5].rights: expected an integer or text like "0x1000", got',
        ),
        (("program", 5, "invalidate"), 1, "a.json: program[5].invalidate: expected true or false,"),
        (
            ("program", 6, "how"),
            "pushes",
            "a.json: program[6].how: unknown how 'pushes'; known: push, call, recursion, array, "
            "interrupt, exception, string, straddle; did you mean 'push'?",
        ),
        (("program", 6, "how"), 0, "a.json: program[6].how: unknown how 0; known: push, call,"),
        (("program", 6, "how"), [{}], "a.json: program[6].how: unknown how an array; known: p"),
        (("state_regions",), ["heap"], "a.json: no state region 'heap'; known: frame_bitmap,"),
        (("state_regions",), ["frame_owned"] * 2, "a.json: state_regions=('frame_owned', "),
        (
            ("program",),
            [{"operation": "count"}] * 1025,
            "a.json: a program has at most 1024 operations, got 1025",
        ),
        (
            ("memory_map", "regions"),
            [{"base": 0, "length": 0}] * 2561,
            "a.json: the memory map takes 61460 bytes, the loader has 61440",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    path: tuple[str | int, ...], value: Any, message: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_case(_broken(path, value), source="a.json")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "case: line 1 column 1: ends too early (truncated?): Expecting value"),
        (SAMPLE_TEXT[:150], "case: line 6 column 15: ends too early (truncated?): Unterminated"),
        (SAMPLE_TEXT[:-3], "case: line 69 column 4: ends too early (truncated?): Expecting ','"),
        (SAMPLE_TEXT + "x", "case: line 71 column 1: is not JSON: Extra data"),
        ("[1]", "case: expected a JSON object, got an array"),
        ('{"a": 1, "a": 2}', "case: is not JSON: key 'a' is given twice"),
        ('{"a": NaN}', "case: is not JSON: NaN is not a JSON value"),
        ('{"a": ' + "1" * 5000 + "}", "case: is not JSON: Exceeds the limit"),
        ("[" * 100_000, "case: is nested too deeply"),
        (b'{"a": "\xff"}', "case: is not UTF-8 text: byte 7 is 0xff"),
        (" " * (SIZE_LIMIT + 1), "case: is larger than 16 MiB, the limit"),
        ('{"format": "a\\nb"}', "case: format: expected 'conformance-case', got 'a\\nb'"),
    ],
)
def test_what_is_not_even_json_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_case(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_file_name_cannot_break_the_line() -> None:
    with pytest.raises(InvalidInput, match=r"^a\\nb: expected a JSON object, got an array$"):
        load_case("[]", source="a\nb")


@given(st.data())
def test_no_truncation_of_a_case_is_taken_for_a_case(data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(SAMPLE_TEXT.rstrip()) - 1))
    with pytest.raises(InvalidInput, match="ends too early"):
        load_case(SAMPLE_TEXT[:length])


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.data(), _json)
def test_any_value_anywhere_is_either_read_or_refused(data: st.DataObject, value: Any) -> None:
    raw: Any = json.loads(SAMPLE_TEXT)
    part = raw
    while True:
        steps = list(part) if isinstance(part, dict) else list(range(len(part)))
        step = data.draw(st.sampled_from(steps))
        if not isinstance(part[step], dict | list) or not part[step] or data.draw(st.booleans()):
            break
        part = part[step]
    part[step] = value
    message = ""
    try:
        load_case(json.dumps(raw))
    except InvalidInput as error:
        message = str(error)
    assert message.isprintable()
