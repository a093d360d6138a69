"""What several scenarios begin with."""

from pathlib import Path

import pytest

from tests.bowl import bowl


@pytest.fixture
def bowl_task(tmp_path: Path) -> Path:
    """The folder of a task that takes a second."""
    return bowl(tmp_path / "bowl")
