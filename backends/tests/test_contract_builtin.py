"""The contract, for the backends that come with the harness."""

from __future__ import annotations

from backends.backend import InstanceConfig
from backends.contract import BackendContract


class TestQemu(BackendContract):
    config = InstanceConfig("qemu", "qemu")


class TestBochs(BackendContract):
    config = InstanceConfig("bochs", "bochs")


class TestUnicorn(BackendContract):
    config = InstanceConfig("unicorn", "unicorn")
