"""Which clusters a home started, on disk: written before one is started, removed once it is gone.

So a cluster is on record whenever it may exist, whatever killed the swarm in between.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from swarm.config import PoolSettings
from swarm.executors.sky.cloud import Cloud
from swarm.ports import Slot
from trainer.contract import write_atomically

PREFIX = "nightswarm-"  # of every cluster the swarm starts
LEAD_SECONDS = 30.0  # SkyPilot needs 10 to 20 s from the order to a job's start, more on a busy machine


@dataclass(frozen=True, kw_only=True)
class Berth:
    """Room for one cluster of a pool, and its slots."""

    name: str  # unique among homes
    pool: PoolSettings
    slots: tuple[Slot, ...]  # one an accelerator


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is on disk about one cluster."""

    cluster: str  # what SkyPilot calls it
    berth: str  # whose cluster it is
    session: str  # whose working folder it has
    ready: bool  # its setup and the task's data are done


def berths(home: Path, pools: Sequence[PoolSettings]) -> tuple[Berth, ...]:
    """Room for the clusters of these pools, with names that no other home gives."""
    mark = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:6]
    clusters: dict[str, int] = {}
    slots: dict[str, int] = {}
    made = []
    for pool in pools:
        kind = pool.kind.lower()
        for _ in range(pool.count):
            number, first = clusters.get(kind, 0), slots.get(kind, 0)
            clusters[kind], slots[kind] = number + 1, first + pool.each
            made.append(
                Berth(
                    name=f"{PREFIX}{mark}-{kind}-{number}",
                    pool=pool,
                    slots=tuple(
                        Slot(
                            name=f"{kind}-{slot}",
                            accelerator=pool.kind,
                            price_per_hour=pool.price_per_hour or 0.0,
                            lead_seconds=LEAD_SECONDS,
                        )
                        for slot in range(first, first + pool.each)
                    ),
                )
            )
    return tuple(made)


class Registry:
    """The records of a home, one file a cluster."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> list[Record]:
        """Every record, by name."""
        return [self._read(path) for path in sorted(self._folder.glob("*.json"))]

    def of(self, berth: str) -> Record | None:
        """The cluster of a berth; None where it has none."""
        return next((record for record in self.all() if record.berth == berth), None)

    def put(self, record: Record) -> None:
        """Write or replace a record."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._folder / f"{record.cluster}.json", json.dumps(asdict(record)) + "\n")

    def remove(self, cluster: str) -> None:
        """Forget a cluster that is gone."""
        (self._folder / f"{cluster}.json").unlink(missing_ok=True)

    def _read(self, path: Path) -> Record:
        return Record(**json.loads(path.read_text(encoding="utf-8")))


def tear_down(cloud: Cloud, registry: Registry, cluster: str) -> None:
    """Take a cluster down, then off the record. Blocks. Raises CloudError."""
    cloud.down(cluster)
    registry.remove(cluster)
