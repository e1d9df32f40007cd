"""The generated headers say what conformance.protocol says, and compilers take them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from conformance.protocol import PROTOCOL, RecordLayout

_KERNEL = Path(__file__).resolve().parent.parent
_SCRIPT = _KERNEL / "generate_protocol.py"
_PROTOCOL = _KERNEL / "protocol.toml"

_FREESTANDING = ["-target", "x86-linux-musl", "-ffreestanding"]
_COMPILERS = {
    "g++": ["g++"],
    "clang++": ["clang++"],
    "zig, 32-bit": [sys.executable, "-m", "ziglang", "c++", *_FREESTANDING],
}


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_protocol", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generator = _generator()


def _script(*arguments: object) -> subprocess.CompletedProcess[str]:
    # -I: as the build runs it, with neither the environment nor the project on its path.
    command = [sys.executable, "-I", str(_SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(params=_COMPILERS)
def compiler(request: pytest.FixtureRequest) -> list[str]:
    """A command that compiles C++; the test is skipped where it is not installed."""
    name: str = request.param
    if name.startswith("zig"):
        pytest.importorskip("ziglang")
    elif shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return _COMPILERS[name]


def _compile(compiler: list[str], folder: Path, claims: list[str]) -> None:
    source = folder / "claims.cpp"
    lines = ["#include <cstddef>", '#include "protocol.hpp"', "using namespace protocol;", *claims]
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    flags = ["-std=c++20", "-Wall", "-Wextra", "-Wconversion", "-Werror", f"-I{folder}"]
    command = [*compiler, *flags, "-c", str(source), "-o", str(folder / "claims.o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _equal(expression: str, value: int) -> str:
    return f"static_assert(static_cast<std::uint64_t>({expression}) == {value}u);"


def _layout(structure: str, layout: RecordLayout, header: int = 0) -> Iterator[str]:
    """Size of a structure, and place and width of each of its fields."""
    yield _equal(f"sizeof({structure})", header + layout.size)
    offset = header
    for field in layout.fields:
        yield _equal(f"offsetof({structure}, {field.name})", offset)
        yield _equal(f"sizeof({structure}::{field.name})", field.bits // 8)
        offset += field.bits // 8


def _claims(image: str) -> Iterator[str]:
    """Everything that conformance.protocol knows, as assertions about an image's protocol.hpp."""
    yield _equal("version", PROTOCOL.version)
    values = PROTOCOL.images[image]
    for name, value in values.constants.items():
        yield _equal(name, value)
    for name, value in values.boot.items():
        yield _equal(f"boot::{name}", value)
    for name, value in values.area.items():
        yield _equal(f"area::{name}", value)
    magics = {
        "mailbox": PROTOCOL.mailbox_magic,
        "payload": PROTOCOL.payload_magic,
        "program": PROTOCOL.program_magic,
        "trace": PROTOCOL.trace_magic,
    }
    for name, value in magics.items():
        yield _equal(f"{name}_magic", value)
    yield from _layout("mailbox", PROTOCOL.mailbox)
    yield from _layout("payload_header", PROTOCOL.payload)
    yield from _layout("program_header", PROTOCOL.program)
    yield from _layout("trace_header", PROTOCOL.trace_header)
    yield from _layout("trace_record", PROTOCOL.trace_record)
    for kind in PROTOCOL.operations.values():
        yield _equal(f"operation_code::{kind.name}", kind.code)
        yield _equal(f"operation::{kind.name}::code", kind.code)
        yield _equal(f"operation::{kind.name}{{}}.header.size", 4 + kind.operands.size)
        yield _equal(f"operation_size(operation_code{{{kind.code}}})", 4 + kind.operands.size)
        yield from _layout(f"operation::{kind.name}", kind.operands, header=4)
    for event in PROTOCOL.events.values():
        size = PROTOCOL.trace_record.size
        yield _equal(f"event_kind::{event.name}", event.code)
        yield _equal(f"event::{event.name}{{}}.record.kind", event.code)
        yield _equal(f"event::{event.name}{{}}.record.size", size + event.layout.size)
        yield from _layout(f"event::{event.name}", event.layout, header=size)
    yield _equal("operation_size(operation_code{0xFFFF})", 0)
    for enum, values in _enumerations().items():
        for name, value in values.items():
            yield _equal(f"{enum}::{name}", value)
    for flags, values in _flags().items():
        every = sum(values.values())
        yield _equal(f"every_{flags}", every)
        for name, value in values.items():
            yield f"static_assert(has({value}, {flags}::{name}));"
            yield f"static_assert(!has({every - value}, {flags}::{name}));"
    for kind in PROTOCOL.operations.values():
        for field in kind.operands.fields:
            if field.enum is not None:
                yield from _operand_claims(f"operation::{kind.name}::{field.name}", field.enum)
    for region in PROTOCOL.state_regions.values():
        yield _equal(f"state_regions[{region.code}]", region.code)
        yield _equal(f"state_mask(state_region::{region.name})", region.mask)


def _operand_claims(operand: str, names: Mapping[int, str]) -> Iterator[str]:
    """An operand has its enumeration's type, and the values without a name are told apart."""
    for code in range(256):
        known = "" if code in names else "!"
        yield f"static_assert({known}is_known(decltype({operand}){{{code}}}));"
    for code, name in names.items():
        yield _equal(f"decltype({operand})::{name}", code)


def _flags() -> dict[str, dict[str, int]]:
    by_name = {f"{name}_flag": dict(values) for name, values in PROTOCOL.flags.items()}
    return by_name | {
        "payload_flag": dict(PROTOCOL.payload_flags),
        "program_flag": dict(PROTOCOL.program_flags),
    }


def _enumerations() -> dict[str, dict[str, int]]:
    by_name = {
        enum: {name: code for code, name in values.items()}
        for enum, values in PROTOCOL.enums.items()
    }
    return by_name | {
        "mailbox_state": dict(PROTOCOL.mailbox_states),
        "mailbox_refusal": {name: code for code, name in PROTOCOL.mailbox_refusals.items()},
        "mailbox_control": dict(PROTOCOL.mailbox_controls),
        "trace_status": dict(PROTOCOL.trace_status),
        **_flags(),
    }


@pytest.mark.parametrize("image", PROTOCOL.images)
def test_the_header_says_what_the_protocol_says(
    compiler: list[str], image: str, tmp_path: Path
) -> None:
    assert _script(_PROTOCOL, tmp_path / "protocol.hpp", "--image", image).returncode == 0
    _compile(compiler, tmp_path, list(_claims(image)))


def test_an_image_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    done = _script(_PROTOCOL, tmp_path / "protocol.hpp", "--image", "z80")
    assert done.returncode == 1
    assert "no image 'z80'; known: i686, x86_64" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_wrong_claim_does_not_compile(compiler: list[str], tmp_path: Path) -> None:
    _script(_PROTOCOL, tmp_path / "protocol.hpp")
    with pytest.raises(AssertionError, match="static"):
        _compile(compiler, tmp_path, [_equal("version", PROTOCOL.version + 1)])


@pytest.mark.parametrize("image", PROTOCOL.images)
def test_the_macros_say_what_the_protocol_says(image: str, tmp_path: Path) -> None:
    macros = tmp_path / "protocol.h"
    words = ("--macros", macros, "--image", image)
    assert _script(_PROTOCOL, tmp_path / "protocol.hpp", *words).returncode == 0
    found = {
        name: int(value, 0)
        for name, value in re.findall(r"^#define (\w+) (\w+)$", macros.read_text(), re.MULTILINE)
    }
    values = PROTOCOL.images[image]
    expected = dict(values.constants)
    expected |= {f"boot_{name}": value for name, value in values.boot.items()}
    expected |= {f"area_{name}": value for name, value in values.area.items()}
    expected |= {f"program_flag_{name}": value for name, value in PROTOCOL.program_flags.items()}
    expected["program_magic"] = PROTOCOL.program_magic
    expected["mailbox_magic"] = PROTOCOL.mailbox_magic
    offset = 0
    for field in PROTOCOL.mailbox.fields:
        expected[f"mailbox_offset_{field.name}"] = offset
        offset += field.bits // 8
    expected |= {f"mailbox_control_{name}": v for name, v in PROTOCOL.mailbox_controls.items()}
    assert found.items() >= {name.upper(): value for name, value in expected.items()}.items()


def test_state_regions_are_in_the_order_of_their_codes() -> None:
    text = _PROTOCOL.read_text("utf-8")
    assert "frame_bitmap = 0\n" in text
    header = generator.generate(text.replace("frame_bitmap = 0\n", "frame_bitmap = 9\n"))
    (listed,) = re.findall(r"state_regions\[\] = \{(.*)\};", header)
    assert listed.endswith("state_region::frame_bitmap")


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    outputs = []
    for seed in ("1", "2"):
        output = tmp_path / f"{seed}.hpp"
        subprocess.run(
            [sys.executable, str(_SCRIPT), str(_PROTOCOL), str(output)],
            env={"PYTHONHASHSEED": seed},
            check=True,
        )
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1] == generator.generate(_PROTOCOL.read_text("utf-8")).encode()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('type = "u16"', 'type = "i16"', "unknown type 'i16'"),
        ('enum = "map_problem"', 'enum = "problem"', "unknown enumeration 'problem'"),
        ("[state.page_tables]", "[state.tables]", "no section [state.page_tables]"),
        ('"pass", type = "u8"', '"pass", type = "u16"', "used with two widths"),
        ("[mailbox.states]", "[mailbox.others]", "'states' is missing"),
        ('enum = "access_kind"', 'enum = "access"', "operation 'probe': unknown enumeration"),
        ('"level", type = "u8"', '"level", type = "u16"', "'paging_level' is used with two widths"),
        ("[area]", "[areas]", "'area' is missing"),
        ("\nversion = ", "\nversion ", "Expected '=' after a key"),
    ],
)
def test_what_cannot_be_said_is_one_line(old: str, new: str, expected: str, tmp_path: Path) -> None:
    text = _PROTOCOL.read_text("utf-8")
    assert old in text
    broken = tmp_path / "broken.toml"
    broken.write_text(text.replace(old, new, 1), encoding="utf-8")
    done = _script(broken, tmp_path / "protocol.hpp")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{broken}: ")
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert not (tmp_path / "protocol.hpp").exists()


def test_a_missing_input_is_one_line(tmp_path: Path) -> None:
    done = _script(tmp_path / "none.toml", tmp_path / "protocol.hpp")
    assert done.returncode == 1
    assert "none.toml" in done.stderr
    assert done.stderr.count("\n") == 1
