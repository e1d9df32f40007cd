"""The contract's part about what an engine records by itself: exceptions and control registers.

A backend may leave both out (None). What it does say has to be what happened: the kernel that these
tests run is sound, and its own record of the same exceptions is in the trace.
"""

# ruff: noqa: D102 - a test is what its name says

from __future__ import annotations

import contextlib

import pytest

from backends.backend import Backend, Session
from backends.contract_cases import (
    FAULTS,
    ends_in_shutdown_request,
    faulting_request,
    machine_name,
    request_of,
    small_request,
)
from backends.vectors import error_code_of
from conformance.case.image import default_image
from conformance.case.machine import PAGING_MODES, Machine, every_machine
from conformance.observe.observation import Observation, Outcome
from conformance.observe.trace import Event, decode

__all__ = ["RecordContract"]


def _events(observation: Observation, kind: str) -> list[Event]:
    return [event for event in decode(observation.trace) if event.kind == kind]


def _check_faults(observation: Observation) -> None:
    """The engine's record is the kernel's, in all that the engine says."""
    if observation.faults is None:
        return
    inside = [event.fields for event in _events(observation, "fault")]
    for kernel, machine in zip(inside, observation.faults, strict=True):
        assert machine.vector == kernel["vector"]
        if error_code_of(machine.vector, 0) is None:
            assert machine.error_code is None
        assert machine.error_code in (None, kernel["error_code"])
        assert machine.cr2 in (None, kernel["cr2"])
        assert machine.eip in (None, kernel["eip"])


def _check_control(observation: Observation) -> None:
    """The control registers are what the kernel says, in all that the engine says."""
    (kernel,) = (event.fields for event in _events(observation, "control"))
    control = observation.control
    if control is not None:
        for name in ("cr0", "cr2", "cr3", "cr4"):
            assert (name, getattr(control, name)) == (name, kernel[name])
        assert control.efer in (None, kernel["efer"])


class RecordContract:
    """Part of `backends.contract.BackendContract`, which has the fixtures."""

    @pytest.mark.parametrize("machine", every_machine(), ids=machine_name)
    def test_the_record_is_the_kernels(self, backend: Backend, machine: Machine) -> None:
        image = default_image(machine.architecture)
        with contextlib.closing(backend.open(image, machine)) as session:
            observation = session.run(faulting_request(machine.paging))
        assert (observation.outcome, observation.detail) == (Outcome.COMPLETED, "")
        # Not each of them faults everywhere: engines differ.
        assert len(_events(observation, "fault")) > FAULTS // 2
        _check_faults(observation)

    @pytest.mark.parametrize("machine", every_machine(), ids=machine_name)
    def test_the_processors_features(self, backend: Backend, machine: Machine) -> None:
        image = default_image(machine.architecture)
        with contextlib.closing(backend.open(image, machine)) as session:
            (paging,) = _events(session.run(request_of(paging=machine.paging)), "paging")
        assert paging.fields["features"] == machine.features

    @pytest.mark.parametrize("paging", PAGING_MODES)
    def test_the_control_registers_are_the_kernels(self, backend: Backend, paging: str) -> None:
        machine = next(machine for machine in every_machine() if machine.paging == paging)
        image = default_image(machine.architecture)
        with contextlib.closing(backend.open(image, machine)) as session:
            _check_control(session.run(faulting_request(paging)))

    def test_each_case_gets_its_own_record(self, session: Session) -> None:
        empty = session.run(small_request())
        assert empty.faults in (None, ())
        _check_control(empty)
        faulting = session.run(faulting_request("legacy"))
        _check_control(faulting)
        again = session.run(small_request())
        assert (again.faults, again.control) == (empty.faults, empty.control)
        assert session.run(faulting_request("legacy")).faults == faulting.faults
        assert (faulting.faults is None) == (empty.faults is None)

    def test_a_shutdown_enters_no_handler(self, session: Session) -> None:
        """One handler is entered; the exceptions that shut the processor down have none."""
        for _ in range(2):
            observation = session.run(ends_in_shutdown_request())
            assert observation.outcome is Outcome.TRIPLE_FAULT
            assert len(_events(observation, "fault")) == 1
            _check_faults(observation)
