"""SkyPilot's Python SDK behind the Cloud port; the only import of sky. Each call starts a request and polls it.

Source of the calls' meaning: https://docs.skypilot.co/en/latest/reference/api.html (0.14).
"""

import io
import os
import re
import threading
import urllib.request
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from swarm.executors.sky.aside import printing_to
from swarm.executors.sky.cloud import (
    BadCloudConfig,
    CloudError,
    ClusterGone,
    Config,
    JobState,
    NoAnswer,
    NoCapacity,
)

T = TypeVar("T")

_STATES = {
    "INIT": JobState.WAITING,
    "PENDING": JobState.WAITING,
    "SETTING_UP": JobState.WAITING,
    "RUNNING": JobState.RUNNING,
    "SUCCEEDED": JobState.SUCCEEDED,
    "CANCELLED": JobState.CANCELLED,
}  # all others are ways to fail
_PORT = 46580  # of an API server on this machine
# Orders at once: one machine's API server keeps four processes for them and starts another for each beyond; and when
# they take all of its cores it answers nobody.
_ORDERS_AT_ONCE = min(4, os.cpu_count() or 1)
_OWN_LINE = re.compile(r"(?:\x1b\[\d*m)*\([^()]*\bpid=\d+[^()]*\)(?:\x1b\[\d*m)* (.*)")


class SkySdk:
    """SkyPilot as this machine's user has configured it. The API server starts with the first call."""

    def __init__(self, log: Path | None = None) -> None:
        """``log``: gets the lines that SkyPilot prints itself; None: nobody does."""
        self._log = log
        self._orders = threading.BoundedSemaphore(_ORDERS_AT_ONCE)

    def launch(self, cluster: str, config: Config, *, autostop_minutes: int) -> int:
        with self._told(bad=(ValueError, TypeError)):
            import sky

            job, _ = sky.get(
                sky.launch(
                    sky.Task.from_yaml_config(config),
                    cluster_name=cluster,
                    idle_minutes_to_autostop=autostop_minutes,
                    down=True,
                )
            )
            return _number(job)

    def submit(self, cluster: str, config: Config) -> int:
        with self._orders, self._told():
            import sky

            job, _ = sky.get(sky.exec(sky.Task.from_yaml_config(config), cluster_name=cluster))
            return _number(job)

    def find(self, cluster: str, name: str) -> int | None:
        with self._told():
            import sky

            jobs = [job["job_id"] for job in sky.get(sky.queue(cluster)) if job["job_name"] == name]
            return max(jobs, default=None)

    def follow(self, cluster: str, job: int, hear: Callable[[str], None] = lambda _: None) -> str:
        said = _Heard(hear)
        with self._told():
            import sky

            sky.tail_logs(cluster, job, follow=True, output_stream=said)
        return said.getvalue()

    def state(self, cluster: str, job: int) -> JobState:
        with self._told():
            import sky

            found = sky.get(sky.job_status(cluster, [job])).get(job)
        return JobState.FAILED if found is None else _STATES.get(found.value, JobState.FAILED)

    def cancel(self, cluster: str, job: int) -> None:
        with self._told():
            import sky

            sky.get(sky.cancel(cluster, job_ids=[job]))

    def price(self, kind: str, count: int, *, infra: str | None, spot: bool) -> float | None:
        cloud, region, *_ = [*(infra or "").split("/"), ""]
        with self._told():
            import sky

            # The catalogue lies on this machine: this is no request to the API server.
            found: dict[str, list[Any]] = sky.list_accelerators(
                name_filter=f"^{re.escape(kind)}$",
                region_filter=f"^{re.escape(region)}$" if region else None,
                quantity_filter=count,
                clouds=cloud or None,
                case_sensitive=False,
            )
        offers = [offer for some in found.values() for offer in some]
        prices = [float((offer.spot_price if spot else offer.price) or 0.0) / count for offer in offers]
        return min((price for price in prices if price > 0), default=None)

    def up(self, clusters: Collection[str]) -> set[str]:
        if not clusters:
            return set()
        with self._told():
            import sky

            found = sky.get(sky.status(cluster_names=list(clusters), refresh=sky.StatusRefreshMode.FORCE))
        return {one["name"] for one in found if one["status"] is sky.ClusterStatus.UP}

    def known(self) -> list[str]:
        with self._told():
            import sky

            return [one["name"] for one in sky.get(sky.status())]

    def infras(self) -> list[str]:
        """Where SkyPilot can start clusters, by name. Raises CloudError."""
        with self._told():
            from sky.client import sdk

            return sorted(str(name) for name in sdk.get(sdk.enabled_clouds()))

    def down(self, cluster: str) -> None:
        try:
            with self._told():
                import sky

                sky.get(sky.down(cluster))
        except ClusterGone:
            return

    @contextmanager
    def _told(self, bad: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """SkyPilot's errors in our words. It raises many kinds; each is a CloudError here, so that none ends a session.

        ``bad``: those that say the configuration is to blame. Of a running cluster a ValueError does not: an answer
        that a dying node cut short is one.
        """
        with printing_to(self._log):
            from sky import exceptions

            blamed: tuple[type[Exception], ...] = (
                exceptions.InvalidSkyPilotConfigError,
                exceptions.ResourcesMismatchError,
                *bad,
            )
            try:
                yield
            except exceptions.ClusterDoesNotExist as error:
                raise ClusterGone(_line(error)) from error
            except exceptions.ClusterNotUpError as error:
                raise ClusterGone(_line(error)) from error
            except exceptions.ResourcesUnavailableError as error:
                raise NoCapacity(_line(error)) from error
            except (exceptions.ApiServerConnectionError, OSError) as error:
                answered = getattr(error, "response", None) is not None  # the errors of requests are OSErrors
                raise (CloudError if answered else NoAnswer)(f"SkyPilot: {_line(error)}") from error
            except blamed as error:
                raise BadCloudConfig(_line(error)) from error
            except CloudError:
                raise
            except Exception as error:
                raise CloudError(f"SkyPilot: {_line(error)}") from error


def api_server_runs() -> bool:
    """Whether SkyPilot's API server answers; asks without starting it."""
    server = os.environ.get("SKYPILOT_API_SERVER_ENDPOINT") or f"http://127.0.0.1:{_PORT}"
    try:
        with urllib.request.urlopen(f"{server}/api/health", timeout=2) as answer:  # noqa: S310 - the user's own server
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


class _Heard(io.StringIO):
    """Keeps a log, and passes on each line of the job itself; SkyPilot puts "(name, pid=1) " before these."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__()
        self._hear = hear
        self._line = ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            if found := _OWN_LINE.match(line):
                self._hear(found[1])
        return super().write(text)


def _number(job: int | None) -> int:
    if job is None:
        raise CloudError("SkyPilot queued no job; see `sky api logs`")
    return job


def _line(error: BaseException) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
