"""What the worker says is what the backend hears; and the record that it sends is bounded."""

from __future__ import annotations

import json

import pytest

from backends.unicorn_model.delivery.deliver import Outcome
from backends.unicorn_model.delivery.vectors import ProcessorException, SoftwareInterrupt
from backends.unicorn_model.fault_record import FaultRecord
from backends.unicorn_model.messages import End, Stop
from conformance.observe.observation import ControlRegisters, MachineFault

CONTROL = ControlRegisters(0x80000011, 0x1234, 0x5000, 0x20, 0x800)


@pytest.mark.parametrize(
    "faults", [None, (), (MachineFault(14, 2, 0x1234, 0x5678), MachineFault(6, None, None, 1))]
)
def test_a_stop_survives_the_wire(faults: tuple[MachineFault, ...] | None) -> None:
    stop = Stop(End.BELL, "detail", b"\x00\xff\x04", faults, CONTROL)
    assert Stop.decode(stop.encode()) == stop


@pytest.mark.parametrize(
    "message", [b"", b"[]", b"{}", b'{"end": "bell"}', b'{"end": 1}'], ids=repr
)
def test_nonsense_is_no_stop(message: bytes) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Stop.decode(message)
    values = json.loads(Stop(End.BELL, "", b"", (), CONTROL).encode())
    values["control"] = {"cr9": 1}
    with pytest.raises((KeyError, TypeError, ValueError)):
        Stop.decode(json.dumps(values).encode())


def test_the_last_event_of_a_delivery_is_recorded() -> None:
    record = FaultRecord()
    events = (ProcessorException(6), ProcessorException(14, 2, 0x40), ProcessorException(8, 0))
    record.add(Outcome(events, shutdown=False, return_address=0x99))
    record.add(Outcome((SoftwareInterrupt(3, 0x1001),), shutdown=False, return_address=0x1001))
    record.add(Outcome((SoftwareInterrupt(32, 0x1001),), shutdown=False, return_address=0x1001))
    assert record.faults == (MachineFault(8, 0, None, 0x99), MachineFault(3, None, None, 0x1001))


def test_the_record_is_bounded() -> None:
    record = FaultRecord()
    outcome = Outcome((ProcessorException(6),), shutdown=False, return_address=1)
    for _ in range(4096):
        record.add(outcome)
    assert record.faults is not None
    assert len(record.faults) == 4096
    record.add(outcome)
    record.add(outcome)
    assert record.faults is None
