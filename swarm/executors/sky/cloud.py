"""What the executor needs of SkyPilot: clusters, and jobs on them. All calls block; any thread may make them."""

from collections.abc import Callable, Collection
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from swarm.errors import SwarmError

Config = dict[str, Any]  # a SkyPilot task as its YAML gives it


class JobState(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"  # being set up, or in the cluster's queue
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self not in (JobState.WAITING, JobState.RUNNING)


class CloudError(SwarmError):
    """SkyPilot could not do what was asked; it may the next time."""


class NoAnswer(CloudError):
    """SkyPilot itself does not answer, which says nothing of any cluster."""


class NoCapacity(CloudError):
    """There is no machine to be had just now."""


class BadCloudConfig(CloudError):
    """What was asked for cannot be, now or later; the message says why."""


class ClusterGone(CloudError):
    """The cluster does not exist (any more)."""


class Cloud(Protocol):
    """The boundary to SkyPilot. Every method may raise CloudError."""

    def launch(self, cluster: str, config: Config, *, autostop_minutes: int) -> int:
        """Start the cluster, or take the one that is there, and run the config's job on it; the job's number.

        Returns once the job is queued. Raises NoCapacity, BadCloudConfig.
        """
        ...

    def submit(self, cluster: str, config: Config) -> int:
        """Queue one more job on the cluster; its number. Raises ClusterGone, BadCloudConfig."""
        ...

    def find(self, cluster: str, name: str) -> int | None:
        """The number of the newest job of that name; None when there is none. Raises ClusterGone."""
        ...

    def follow(self, cluster: str, job: int, hear: Callable[[str], None] = lambda _: None) -> str:
        """Wait for the job's end; all it printed. ``hear`` gets its lines as they come, in the calling thread.

        May return early: ask ``state``. Raises ClusterGone.
        """
        ...

    def state(self, cluster: str, job: int) -> JobState:
        """Where the job stands. Raises ClusterGone."""
        ...

    def cancel(self, cluster: str, job: int) -> None:
        """End the job. Raises ClusterGone."""
        ...

    def price(self, kind: str, count: int, *, infra: str | None, spot: bool) -> float | None:
        """Dollars an hour of one accelerator where ``count`` are rented at once, the cheapest offer there is.

        None: the catalogue has none. Raises CloudError where there is no catalogue.
        """
        ...

    def up(self, clusters: Collection[str]) -> set[str]:
        """Those of the clusters that are up, asked of the infrastructure itself."""
        ...

    def known(self) -> list[str]:
        """Names of all clusters on SkyPilot's books, in whatever state."""
        ...

    def down(self, cluster: str) -> None:
        """Tear the cluster down and return when it is gone; a no-op when it is."""
        ...


OpenCloud = Callable[[Path | None], Cloud]  # makes one; what it says itself goes to the end of a file, or nowhere
