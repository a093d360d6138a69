"""The Slurm bed, up for all tests of this folder."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.bed import Bed, NotHere

FOLDER = Path(tempfile.gettempdir()) / "nightswarm-bed"  # kept: SkyPilot's own packages are cached in it


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    bed = Bed(folder=FOLDER)
    try:
        bed.up()
    except NotHere as error:
        pytest.skip(str(error))
    try:
        yield bed
    finally:
        bed.down()
