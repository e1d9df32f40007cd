"""The protocol: what it says, what it refuses to say, and the kernel's end of it."""

from __future__ import annotations

import dataclasses
import struct
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.case.program import OPERATIONS
from conformance.errors import ProtocolError
from conformance.protocol import PROTOCOL, Comparison, RecordLayout, load
from conformance.resources import resource

TEXT = resource("protocol.toml").read_text(encoding="utf-8")


def test_the_file_is_what_is_loaded() -> None:
    raw = tomllib.loads(TEXT)
    assert load(TEXT).version == raw["version"] == PROTOCOL.version
    assert set(PROTOCOL.events) == set(raw["event"])
    assert set(PROTOCOL.operations) == set(raw["operation"])


def test_codes_and_names_are_each_others_inverse() -> None:
    for event in PROTOCOL.events.values():
        assert PROTOCOL.events_by_code[event.code] is event
        assert event.code < 1 << 16
    for operation in PROTOCOL.operations.values():
        assert PROTOCOL.operations_by_code[operation.code] is operation
    for enum, values in PROTOCOL.enums.items():
        for code, name in values.items():
            assert PROTOCOL.code(enum, name) == code


def test_an_image_has_constants_of_its_own() -> None:
    i686, x86_64 = PROTOCOL.images["i686"], PROTOCOL.images["x86_64"]
    assert (i686.constants, i686.boot, i686.area) == (
        PROTOCOL.constants,
        PROTOCOL.boot,
        PROTOCOL.area,
    )
    # The same addresses, with the sign extended; whatever is not named is as for all.
    assert x86_64.boot["kernel_window"] == i686.boot["kernel_window"] | 0xFFFFFFFF_00000000
    assert x86_64.area["stacks"] == i686.area["stacks"] | 0xFFFFFFFF_00000000
    assert x86_64.boot["mailbox"] == i686.boot["mailbox"]
    assert x86_64.constants["frame_count"] == 16 * i686.constants["frame_count"]


def test_an_image_cannot_have_something_else_of_its_own() -> None:
    text = TEXT.replace("[image.x86_64.boot]", "[image.x86_64.event]")
    with pytest.raises(ProtocolError, match=r"\[image.x86_64\]: unknown sections \['event'\]"):
        load(text)


def test_every_operation_has_a_class() -> None:
    assert set(OPERATIONS) == set(PROTOCOL.operations)
    for name, kind in OPERATIONS.items():
        operands = PROTOCOL.operations[name].operands.fields
        # In any order: what has a default comes last in a class.
        assert {each.name for each in dataclasses.fields(kind)} == {each.name for each in operands}


def test_whatever_is_not_compared_has_a_reason() -> None:
    for event in PROTOCOL.events.values():
        for field in event.layout.fields:
            left_out = field.mask is not None or field.comparison is Comparison.IGNORED
            assert bool(field.reason) == left_out, f"{event.name}.{field.name}"
            assert field.mask is None or 0 < field.mask < (1 << field.bits) - 1
    for region in PROTOCOL.state_regions.values():
        assert bool(region.reason) == (region.mask != 0xFFFF_FFFF), region.name


def test_a_value_that_does_not_exist() -> None:
    with pytest.raises(KeyError, match=r"state_region\.nowhere"):
        PROTOCOL.code("state_region", "nowhere")


LAYOUTS = {
    "header": PROTOCOL.trace_header,
    "payload": PROTOCOL.payload,
    **{name: event.layout for name, event in PROTOCOL.events.items()},
}


@pytest.mark.parametrize("name", LAYOUTS)
@given(data=st.data())
def test_a_record_is_read_as_it_was_written(name: str, data: st.DataObject) -> None:
    layout = LAYOUTS[name]
    values = {
        field.name: data.draw(st.integers(0, (1 << field.bits) - 1)) for field in layout.fields
    }
    packed = layout.pack(**values)
    assert len(packed) == layout.size == sum(field.bits for field in layout.fields) // 8
    assert layout.unpack(b"\xee" * 3 + packed, 3) == values
    for field in layout.fields:
        at = layout.offset(field.name)
        assert int.from_bytes(packed[at : at + field.bits // 8], "little") == values[field.name]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"operation": 1}, "record of"),
        ({"operation": 1, "free_frames": 1, "more": 1}, "record of"),
        ({"operation": 1, "free_frames": 1 << 32}, "out of range"),
        ({"operation": -1, "free_frames": 1}, "out of range"),
    ],
)
def test_a_record_that_cannot_be_written(values: dict[str, int], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        PROTOCOL.events["counted"].layout.pack(**values)


def test_a_record_that_is_cut_short() -> None:
    layout: RecordLayout = PROTOCOL.events["counted"].layout
    with pytest.raises(struct.error):
        layout.unpack(bytes(layout.size - 1))


CONTRADICTIONS = [
    ("code = 20\n", "code = 19\n", r"\[event\].*one code"),
    ("code = 5\n", "code = 6\n", "one code"),
    ("zero_count = 2", "zero_count = 1", r"\[enum\.allocation_failure\].*one code"),
    ('name = "free_frames", type = "u32"', 'name = "operation", type = "u32"', "one name"),
    ('name = "free_frames", type = "u32"', 'name = "free_frames", type = "u24"', "type 'u24'"),
    (', reason = "Multiboot 0.6.96 §3.2 defines VM and IF only"', "", "without a reason"),
    ('name = "a20", type = "u8"', 'name = "a20", type = "u8", compare = "ignored"', "without a r"),
]


@pytest.mark.parametrize(("old", "new", "message"), CONTRADICTIONS)
def test_a_protocol_that_contradicts_itself(old: str, new: str, message: str) -> None:
    assert old in TEXT
    # After the last one there is no other entry with the old code.
    before, _, after = TEXT.rpartition(old)
    with pytest.raises(ProtocolError, match=message):
        load(before + new + after)
