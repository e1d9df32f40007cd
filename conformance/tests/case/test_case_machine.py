"""Machines: what a backend provides, and what the payload decides."""

from __future__ import annotations

import pytest

from conformance.case.machine import CPU_PROFILES, PAGING_MODES, Machine
from conformance.case.processor import CPU_FEATURES, Feature
from conformance.errors import InvalidArgument


def test_one_engine_process_serves_both_paging_modes() -> None:
    for cpu_profile in CPU_PROFILES:
        machines = {Machine(64, cpu_profile, paging).hardware for paging in PAGING_MODES}
        assert machines == {Machine(64, cpu_profile)}


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
        ({"paging": "4-level"}, "no paging mode '4-level'; known: legacy, pae"),
    ],
)
def test_what_no_backend_has_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Machine(**values)  # type: ignore[arg-type]
