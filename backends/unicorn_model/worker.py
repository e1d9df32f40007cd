"""The process that the reference model runs in: `python -m backends.unicorn_model.worker`.

A guest can crash Unicorn, and with it the process; the harness then sees a closed connection, and
guest RAM, which is a memory file that both have mapped, as it was.

Arguments: the descriptor of the connection, the descriptor of guest RAM, Unicorn's number of the
processor model, the name of the CPU profile. Each message in is an Entry as JSON, each message out
a Stop.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
from multiprocessing.connection import Connection

from backends.unicorn_model.cpu_profile import PROFILES
from backends.unicorn_model.messages import Entry
from backends.unicorn_model.model import Model

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Serve until the other end is closed."""
    if len(arguments) != 4:
        sys.exit(f"worker: 4 arguments are needed, got {arguments}")
    connection, ram, cpu = (int(word) for word in arguments[:3])
    with Connection(connection) as channel:
        model = Model(mmap.mmap(ram, os.fstat(ram).st_size), cpu, PROFILES[arguments[3]])
        channel.send_bytes(b"ready")
        while True:
            try:
                message = channel.recv_bytes()
            except EOFError:
                return
            channel.send_bytes(model.run(Entry(**json.loads(message))).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
