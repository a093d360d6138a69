"""One slot, and a clock that moves only when told to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.leases.manager import LeaseManager
from tests.fakes import FakeClock
from tests.lease_lab import SCREEN, VALIDATE, cores


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leases.db"


@pytest.fixture
def manager(path: Path, clock: FakeClock) -> Iterator[LeaseManager]:
    manager = LeaseManager(path, clock)
    manager.register(cores(1), [SCREEN, VALIDATE])
    yield manager
    manager.close()
