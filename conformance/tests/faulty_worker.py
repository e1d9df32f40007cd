"""The reference model's worker with a fault at its nth case; the backend starts it as its binary.

Arguments: those of backends.unicorn_model.worker, then the fault and the case's number in this
process.
"""

from __future__ import annotations

import base64
import json
import mmap
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Connection

from backends.unicorn_model.cpu_profile import PROFILES
from backends.unicorn_model.messages import Entry
from backends.unicorn_model.model import Model


def crash(channel: Connection) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(channel: Connection) -> None:
    signal.pause()


def garbage(channel: Connection) -> None:
    channel.send_bytes(b"\x1b[31m\x00\xff is no message")


FAULTS: dict[str, Callable[[Connection], None]] = {
    fault.__name__: fault for fault in (crash, hang, garbage)
}


def main() -> None:
    connection, ram, cpu, profile, fault, faulty_case = sys.argv[-6:]
    with Connection(int(connection)) as channel:
        model = Model(mmap.mmap(int(ram), os.fstat(int(ram)).st_size), int(cpu), PROFILES[profile])
        channel.send_bytes(b"ready")
        number = 0
        while True:
            try:
                message = channel.recv_bytes()
            except EOFError:
                return
            if number == int(faulty_case):
                FAULTS[fault](channel)
            stop = asdict(model.run(Entry(**json.loads(message))))
            stop["console"] = base64.b64encode(stop["console"]).decode()
            channel.send_bytes(json.dumps(stop).encode())
            number += 1


if __name__ == "__main__":
    main()
