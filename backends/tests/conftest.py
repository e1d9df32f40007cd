"""What the backends' tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from backends.backend import Backend, InstanceConfig, create_backend
from conformance.case.image import Image, default_image

# What tests share and pytest does not find by itself.
sys.path.insert(0, str(Path(__file__).resolve().parent))

# A slow machine is not a failure.
settings.register_profile("no-clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no-clock")

pytest.register_assert_rewrite("backends.contract", "backends.contract_record")


@pytest.fixture(scope="session")
def image() -> Image:
    return default_image()


@pytest.fixture(scope="session")
def instance() -> Callable[..., Backend]:
    """A backend of a kind; without its engine, only a developer's machine passes over it."""

    def make(kind: str, **settings: object) -> Backend:
        availability = create_backend(InstanceConfig(kind, kind)).probe()
        if not availability.usable:
            message = f"{kind}: {availability.reason}; {availability.remedy}"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
        return create_backend(InstanceConfig(kind, kind, **settings))  # type: ignore[arg-type]

    return make
