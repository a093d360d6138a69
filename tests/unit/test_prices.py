"""What an accelerator-hour costs: as swarm.toml says, else as SkyPilot's catalogue does, else that is said."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.config import PoolSettings
from swarm.executors.sky.prices import priced
from tests.fake_cloud import FakeCloud

CATALOGUE = """\
InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice
one,H100,1.0,26.0,225.0,2.89,us-west-3,"{'Gpus': [{'MemoryInfo': {'SizeInMiB': 81920}}]}",1.25
other,H100,1.0,26.0,225.0,3.29,us-east-1,"{'Gpus': [{'MemoryInfo': {'SizeInMiB': 81920}}]}",
eight,H100,8.0,208.0,1800.0,23.92,us-east-1,"{'Gpus': [{'MemoryInfo': {'SizeInMiB': 81920}}]}",
"""
ASK = """
import sys
from pathlib import Path
from sky.skylet.constants import CATALOG_SCHEMA_VERSION
file = Path.home() / ".sky" / "catalogs" / CATALOG_SCHEMA_VERSION / "lambda" / "vms.csv"
file.parent.mkdir(parents=True)
file.write_text(sys.argv[1])
from swarm.executors.sky.cloud import CloudError
from swarm.executors.sky.sdk import SkySdk
ask = SkySdk().price
print(ask("h100", 1, infra="lambda", spot=False), ask("H100", 8, infra="lambda", spot=False))
print(ask("H100", 1, infra="lambda/us-east-1", spot=False), ask("H100", 1, infra="lambda", spot=True))
print(ask("H100", 1, infra="lambda/us-east-1", spot=True), ask("H300", 1, infra="lambda", spot=False))
"""


def test_pools_without_a_price_get_the_catalogues(tmp_path: Path) -> None:
    cloud = FakeCloud(tmp_path)
    cloud.prices = {"H100": 3.0}
    pools = [
        PoolSettings(accelerators="H100:8", spot=True),
        PoolSettings(accelerators="H100", price_per_hour=0.0),
        PoolSettings(accelerators="H200", infra="aws"),
        PoolSettings(accelerators="H100", infra="slurm/ours/h100"),
    ]
    said: list[str] = []
    assert [pool.price_per_hour for pool in priced(cloud, pools, said.append)] == pytest.approx([1.2, 0.0, 0.0, 0.0])
    assert said == [
        "H100 on any infrastructure counts as $1.20 an hour, as in SkyPilot's catalogue",
        "H200 on aws counts as free: SkyPilot's catalogue has no price for it; dollars need a price_per_hour in its "
        "[[pool]]",
        "H100 on slurm/ours/h100 counts as free: it is no cloud's; dollars need a price_per_hour in its [[pool]]",
    ]


def test_a_catalogue_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    cloud, said = FakeCloud(tmp_path), list[str]()
    cloud.prices = None
    (pool,) = priced(cloud, [PoolSettings(accelerators="H100")], said.append)
    assert pool.price_per_hour == 0.0
    assert "counts as free: SkyPilot's catalogue cannot be read (SkyPilot: no connection)" in said[0]


def test_skypilots_own_catalogue_is_asked(tmp_path: Path) -> None:
    """A catalogue file as SkyPilot keeps them, with the offers of one cloud."""
    asked = [sys.executable, "-c", ASK, CATALOGUE]
    told = subprocess.run(asked, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["2.89 2.99", "3.29 1.25", "None None"]
