"""Machines: what a backend provides, and what the payload decides."""

from __future__ import annotations

import pytest

from conformance.case.machine import CPU_PROFILES, Machine, every_machine
from conformance.case.processor import CPU_FEATURES, Feature
from conformance.errors import InvalidArgument


def test_one_engine_process_serves_both_paging_modes_of_i686() -> None:
    for cpu_profile in CPU_PROFILES:
        machines = {Machine(64, cpu_profile, paging).hardware for paging in ("legacy", "pae")}
        assert machines == {Machine(64, cpu_profile)}


def test_long_mode_has_an_engine_process_of_its_own() -> None:
    machine = Machine(64, "broadwell", "4-level")
    assert machine.hardware == machine


def test_each_paging_mode_is_of_one_architecture() -> None:
    assert {each.architecture for each in every_machine()} == {"i686", "x86_64"}
    for name in ("i686", "x86_64"):
        machines = every_machine(name)
        assert {each.architecture for each in machines} == {name}
        assert machines[0] == Machine.smallest(name)
    assert {each.paging for each in every_machine("i686")} == {"legacy", "pae"}
    assert [each.cpu_profile for each in every_machine("x86_64")] == ["core2duo", "broadwell"]


def test_profiles_differ_in_what_matters_to_paging() -> None:
    assert tuple(CPU_FEATURES) == CPU_PROFILES
    assert Machine(cpu_profile="pentium3").features == Feature.PSE | Feature.PAE
    assert Machine(cpu_profile="core2duo").features & Feature.NX
    assert not Machine(cpu_profile="core2duo").features & (Feature.SMEP | Feature.SMAP)
    assert Machine(cpu_profile="broadwell").features == ~Feature(0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ram_mib": 15}, r"ram_mib=15 is outside \[16, 2049\)"),
        ({"cpu_profile": "i386"}, "no cpu_profile 'i386'; known: pentium3, core2duo, broadwell"),
        ({"paging": "5-level"}, "no paging mode '5-level'; known: legacy, pae, 4-level"),
        ({"paging": "4-level"}, "'pentium3' has no 4-level paging; these have: core2duo, b"),
    ],
)
def test_what_no_backend_has_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Machine(**values)  # type: ignore[arg-type]
